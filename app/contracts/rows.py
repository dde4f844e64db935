"""A checked row, as it lies in `datasets/<hash>/rows.jsonl`: one JSON object a line."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    label: str


def parse_rows(content: bytes) -> list[Row]:
    # Split at line feeds alone: a text may hold other characters that end a line, U+2028 for one.
    return [Row(**json.loads(line)) for line in content.decode().split("\n") if line]


def dump_rows(rows: Iterable[Row]) -> bytes:
    lines = (json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def content_hash(rows: bytes, test: bytes) -> str:
    """The name of a dataset: of its rows and its own test rows, as `dump_rows` gives them."""
    return hashlib.sha256(rows + b"\0" + test).hexdigest()
