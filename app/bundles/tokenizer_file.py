"""What a tokenizer file from elsewhere may hold, told before it is loaded.

A trial with a few texts does not show what a file can do with another one: a rule that doubles a rare character forty times takes a
terabyte for it, a regular expression takes a year, and a model that looks through a word's every part takes hours for a long one.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

LONGEST_PIECE = 256
LONGEST_WORD = 1000
MOST_PARTS = 100
_LONGEST_REPLACEMENT = 8
_LONGEST_FORM = 64
"""Bytes that a normalisation writes for one character; NFKC's longest has 33 (U+FDFA)."""
_DEPTH = 20
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_KNOWN_REGEXES = {" {2,}", r"\s+"}


class ForbiddenTokenizer(ValueError):
    """The file is no tokenizer, or one that could take hours or gigabytes for one text."""


def check_tokenizer(content: bytes) -> None:
    """Raises `ForbiddenTokenizer`."""
    try:
        tokenizer = json.loads(content)
    except (ValueError, RecursionError):
        raise ForbiddenTokenizer("it is no JSON") from None
    if not isinstance(tokenizer, dict):
        raise ForbiddenTokenizer("it is no object")
    parts = [part for name in _PARTS for part in _objects(tokenizer.get(name))]
    if len(parts) > MOST_PARTS:
        raise ForbiddenTokenizer(f"it has more than {MOST_PARTS} parts")
    for part in parts:
        _check_part(part)
    if sum(part.get("type") == "Replace" and _grows(part) for part in parts) > 1:
        raise ForbiddenTokenizer("it makes a text longer again and again")
    if isinstance(model := tokenizer.get("model"), dict):
        _check_model(model)


def _objects(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > _DEPTH:
        raise ForbiddenTokenizer("it is nested too deeply")
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner, depth + 1)


def _check_part(part: dict[str, Any]) -> None:
    if "Regex" in part and part["Regex"] not in _KNOWN_REGEXES:
        raise ForbiddenTokenizer("it has a regular expression of its own")
    if len(str(part.get("content", ""))) > _LONGEST_REPLACEMENT:
        raise ForbiddenTokenizer("it replaces a part of a text by a long one")
    if part.get("type") in {"Prepend", "Append"} and len(str(part.get("prepend", part.get("append", "")))) > _LONGEST_REPLACEMENT:
        raise ForbiddenTokenizer("it adds a long text to each")
    if "precompiled_charsmap" in part:
        _check_charsmap(part["precompiled_charsmap"])


def _grows(part: dict[str, Any]) -> bool:
    pattern = part.get("pattern")
    replaced = pattern.get("String", "") if isinstance(pattern, dict) else ""
    return len(str(part.get("content", ""))) > max(1, len(str(replaced)))


def _check_charsmap(encoded: Any) -> None:
    """sentencepiece's: the size of a trie, the trie, and what it stands for, each ended by a NUL."""
    try:
        content = base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ForbiddenTokenizer("its normalisation is damaged") from None
    forms = content[4 + int.from_bytes(content[:4], "little") :]
    if max(map(len, forms.split(b"\0"))) > _LONGEST_FORM:
        raise ForbiddenTokenizer("its normalisation makes a long text of one character")


def _check_model(model: dict[str, Any]) -> None:
    vocabulary = model.get("vocab")
    pieces = vocabulary if isinstance(vocabulary, dict) else [item[0] for item in vocabulary or () if isinstance(item, list) and item]
    if any(len(str(piece)) > LONGEST_PIECE for piece in pieces):
        raise ForbiddenTokenizer(f"a piece has more than {LONGEST_PIECE} characters")
    longest = model.get("max_input_chars_per_word", 0)
    if not isinstance(longest, int) or longest > LONGEST_WORD:
        raise ForbiddenTokenizer(f"it reads words of more than {LONGEST_WORD} characters")
