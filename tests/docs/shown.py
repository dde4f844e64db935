"""Answers as the documentation shows them, with `...` for what is left out, beside what the service answered."""

import json
import re
from dataclasses import dataclass
from typing import Any

REST = "\u2026"
"""Stands for `...` of a shown object or list."""
EXACT = {"version", "name", "type", "student", "model_name", "status_code"}
"""Keys whose values must be as shown; of others the kind must be."""
_STATUS = re.compile(r"(\d{3})\s+")
_HEADER = re.compile(r"([A-Z][A-Za-z-]+): (.*)")
_OPENING = re.compile(r"[\[{]")
_ID = re.compile(r"[A-Za-z]+[_-][\w-]{6,}")


@dataclass(frozen=True)
class Shown:
    """`status` and `headers` where the block begins with them."""

    status: int | None
    headers: dict[str, str]
    value: Any


def read_shown(text: str) -> Shown:
    """Raises `ValueError` unless it is JSON but for `...`, after a status and headers perhaps."""
    status, headers, rest = None, {}, text
    if found := _STATUS.match(rest):
        status, rest = int(found[1]), rest[found.end() :]
        while found := _HEADER.match(rest.lstrip()):
            headers[found[1]] = found[2].strip()
            rest = rest.lstrip()[found.end() :]
    return Shown(status, headers, json.loads(_filled(rest)) if rest.strip() else None)


def _filled(text: str) -> str:
    """The same with a string or a member in the place of each `...` outside of strings."""
    parts: list[str] = []
    open_brackets: list[str] = []
    position = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|\.\.\.|[\[\]{}]', text):
        parts.append(text[position : token.start()])
        position = token.end()
        found = token[0]
        if found == "...":
            before = "".join(parts).rstrip()[-1:]
            is_member = bool(open_brackets) and open_brackets[-1] == "{" and before != ":"
            found = f'"{REST}": 0' if is_member else f'"{REST}"'
        elif found in "[{":
            open_brackets.append(found)
        elif found in "]}" and open_brackets:
            open_brackets.pop()
        parts.append(found)
    return "".join([*parts, text[position:]])


class Names:
    """Ids that the documentation made up, each with the service's own that was met in its place."""

    def __init__(self) -> None:
        self.actual: dict[str, str] = {}

    def replaced(self, text: str) -> str:
        for shown, actual in self.actual.items():
            text = text.replace(shown, actual)
        return text

    def meet(self, shown: str, actual: str) -> bool:
        return self.actual.setdefault(shown, actual) == actual


def differences(shown: Any, actual: Any, names: Names, path: str = "") -> list[str]:
    """What is not as shown, by its path. Notes the ids that are met."""
    # Null is what is not known yet, as `eta_seconds`.
    key = path.rpartition(".")[2]
    kinds = f"{path or 'the answer'}: shown {json.dumps(shown)[:80]}, answered {json.dumps(actual)[:80]}"
    match shown:
        case None:
            return []
        case dict():
            return _object_differences(shown, actual, names, path) if isinstance(actual, dict) else [kinds]
        case list():
            return _list_differences(shown, actual, names, path) if isinstance(actual, list) else [kinds]
        case bool():
            return [] if actual is None or isinstance(actual, bool) else [kinds]
        case int() | float():
            if key in EXACT:
                return [] if shown == actual else [kinds]
            return [] if actual is None or (isinstance(actual, int | float) and not isinstance(actual, bool)) else [kinds]
        case _:
            return _text_differences(shown, actual, names, key, kinds)


def _object_differences(shown: dict[str, Any], actual: dict[str, Any], names: Names, path: str) -> list[str]:
    missing = [f"{path}.{key}: shown, and not answered" for key in shown if key not in actual and key != REST]
    left_out = [] if REST in shown else [f"{path}.{key}: answered, and not shown" for key in actual if key not in shown]
    inner = [difference for key in shown if key in actual for difference in differences(shown[key], actual[key], names, f"{path}.{key}")]
    return missing + left_out + inner


def _list_differences(shown: list[Any], actual: list[Any], names: Names, path: str) -> list[str]:
    listed = [item for item in shown if item != REST]
    if len(actual) < len(listed) or (REST not in shown and len(actual) != len(listed)):
        return [f"{path}: {len(listed)} are shown, {len(actual)} answered"]
    pairs = zip(listed, actual, strict=False)
    return [difference for number, pair in enumerate(pairs) for difference in differences(*pair, names, f"{path}[{number}]")]


def _text_differences(shown: str, actual: Any, names: Names, key: str, kinds: str) -> list[str]:
    if shown == REST:
        return []
    if not isinstance(actual, str):
        return [kinds]
    if (key == "id" or key.endswith("_id") or key == "Location") and (found := _ID.search(shown)) and (met := _ID.search(actual)):
        return [] if names.meet(found[0], met[0]) else [f"{kinds}; before, {found[0]} was {names.actual[found[0]]}"]
    if shown != "..." and (key in EXACT or shown.startswith("urn:")):
        return [] if shown == actual else [kinds]
    return []


def last_json(output: str) -> Any:
    """The last JSON value in what commands have written, one after the other. Raises `ValueError` if there is none."""
    decoder, found, position = json.JSONDecoder(), [], 0
    while (start := _OPENING.search(output, position)) is not None:
        try:
            value, position = decoder.raw_decode(output, start.start())
            found.append(value)
        except ValueError:
            position = start.end()
    if not found:
        raise ValueError(f"no JSON in {output[-300:]!r}")
    return found[-1]
