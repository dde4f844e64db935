"""A checked row, as it lies in `datasets/<hash>/rows.jsonl`: one JSON object a line."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from app.contracts.projects import DEFAULT_PROJECT


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


def content_hash(rows: bytes, test: bytes, project: str = DEFAULT_PROJECT) -> str:
    """The name of a dataset: of its rows and its own test rows, as `dump_rows` gives them.

    Another project's name for the same rows is another one. What stages make is named after the dataset, so that projects share nothing.
    """
    owner = b"" if project == DEFAULT_PROJECT else project.encode() + b"\0"
    return hashlib.sha256(owner + rows + b"\0" + test).hexdigest()
