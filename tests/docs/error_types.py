"""Every type of error that the code can name, read from the code: literals, and parameters that callers fill with literals."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.blocks import ROOT

PREFIX = "urn:gendistil:"
_ENDING = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# What makes an error, and where in the call its type stands: by position, or by the keyword `type`.
_MAKERS = {"ServiceError": 1, "Refused": 1, "GendistilError": None, "JobFailed": None, "_problem": 2}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def error_types(root: Path = ROOT) -> dict[str, str]:
    """Endings of `urn:gendistil:...`, each with a place that raises it."""
    found: dict[str, str] = {}
    for path in sorted(path for package in ("app", "workers", "gendistil") for path in (root / package).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for ending, line in (*_of_module(tree), *(_of_failures(tree) if path.name == "failures.py" else ())):
            found.setdefault(ending, f"{path.relative_to(root)}:{line}")
    return found | _named_by_helpers(root)


def _of_module(tree: ast.Module) -> Iterator[tuple[str, int]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        maker = _name(call.func)
        if maker in _MAKERS:
            yield from ((ending, call.lineno) for ending in _endings(_argument(call, _MAKERS[maker], "type")))
        for function in functions:
            # A helper of this module that hands its parameter `type` or `kind` on.
            names = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
            for parameter in {"type", "kind"} & set(names):
                if maker == function.name and _raises(function):
                    place = [name for name in names if name != "self"].index(parameter)
                    yield from ((ending, call.lineno) for ending in _endings(_argument(call, place, parameter)))
    for node in ast.walk(tree):
        yield from ((ending, node.lineno) for value in _elsewhere(node) for ending in _endings(value))


def _of_failures(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Of `workers/failures.py`."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "Failure"):
        yield from ((ending, call.lineno) for ending in _endings(_argument(call, 0, "type")))


def _elsewhere(node: ast.AST) -> list[ast.expr | None]:
    """Of errors that are put together otherwise: a class of its own, a row's `{"type": ...}`, a list or a table of types."""
    match node:
        case ast.Constant(value=str(text)) if text.startswith(PREFIX):
            return [node]
        case ast.ClassDef(bases=[ast.Name(id="ServiceError" | "Refused")]):
            return [_argument(call, 1, "type") for call in ast.walk(node) if isinstance(call, ast.Call) and _name(call.func) == "__init__"]
        case ast.Dict():
            return [_error_row(node)]
        case ast.Assign(targets=[ast.Name(id="kinds")], value=ast.Dict(values=values)):
            return list(values)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="types"), attr="append"), args=[value]):
            return [value]
    return []


def _named_by_helpers(root: Path) -> dict[str, str]:
    """Of the helpers that are called from other modules: `not_found("job", ...)`, `faults.raise_any(422, "similar-labels", ...)`."""
    found: dict[str, str] = {}
    for path in sorted((root / "app").rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            where = f"{path.relative_to(root)}:{call.lineno}"
            if _name(call.func) == "not_found" and call.args and isinstance(call.args[0], ast.Constant):
                found.setdefault(f"{call.args[0].value}-not-found", where)
            if _name(call.func) == "raise_any":
                found.update(dict.fromkeys(_endings(_argument(call, 1, "type")), where))
    return found


def _error_row(node: ast.Dict) -> ast.expr | None:
    """The type in `{"type": ..., "detail": ...}`, as rows keep their errors; schemas have types too, and no details."""
    values = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)}
    return values.get("type") if "detail" in values else None


def _raises(function: Function) -> bool:
    """Or returns a row's error."""
    return any(
        (isinstance(node, ast.Call) and _name(node.func) in _MAKERS) or (isinstance(node, ast.Dict) and _error_row(node) is not None)
        for node in ast.walk(function)
    )


def _argument(call: ast.Call, position: int | None, keyword: str) -> ast.expr | None:
    named = next((item.value for item in call.keywords if item.arg == keyword), None)
    if named is None and position is not None and len(call.args) > position:
        return call.args[position]
    return named


def _endings(value: ast.expr | None) -> list[str]:
    """Of a literal, or of each that a choice may come to."""
    match value:
        case ast.Constant(value=str(text)):
            return _plain(text.removeprefix(PREFIX))
        case ast.IfExp(body=body, orelse=other):
            return _endings(body) + _endings(other)
        case ast.BoolOp(values=values):
            return [ending for part in values for ending in _endings(part)]
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            return _endings(default)
    return []


def _plain(text: str) -> list[str]:
    return [text] if _ENDING.fullmatch(text) else []


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
