"""Datasets, and how rows are sent."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gendistil.errors import GendistilError, unreadable
from gendistil.models import Dataset
from gendistil.steps import UPLOAD_TIMEOUT, Flow, done, fetched, given, listed

Row = Mapping[str, str]
"""`{"text": ..., "label": ...}`"""


def create_dataset(
    *,
    rows: Sequence[Row] | None = None,
    file: Path | None = None,
    test: Sequence[Row] | None = None,
    test_file: Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Dataset]:
    """Uploads rows, or a CSV, JSONL or JSON file, with test rows of its own if there are any."""
    source = one_of(rows=rows, file=file)
    columns = given(text_column=text_column, label_column=label_column)
    options = keyed(idempotency_key)
    if source == "file" or test_file:
        form: dict[str, Any] = {"files": form_files(rows, file, test, test_file), "data": columns, "timeout": UPLOAD_TIMEOUT}
        return fetched(Dataset, "POST", "/datasets", **form, **options)
    body = {"rows": plain(rows), **given(test=plain(test)), **columns}
    return fetched(Dataset, "POST", "/datasets", json=body, **options)


def dataset(id: str) -> Flow[Dataset]:
    return fetched(Dataset, "GET", "/datasets/{dataset_id}", id)


def datasets(limit: int = 20) -> Flow[list[Dataset]]:
    """The newest first."""
    return listed(Dataset, "/datasets", limit=limit)


def delete_dataset(id: str) -> Flow[None]:
    """Removes a dataset whose jobs were deleted."""
    return done("DELETE", "/datasets/{dataset_id}", id)


def one_of(**sources: object) -> str:
    """The name of the only one that is given. Raises `GendistilError` if there are none or several."""
    found = [name for name, value in sources.items() if value is not None]
    if len(found) != 1:
        raise GendistilError(f"Exactly one of {', '.join(sources)} must be given.", remedy=f"Given: {', '.join(found) or 'none'}.")
    return found[0]


def plain(rows: Sequence[Row] | None) -> list[dict[str, str]] | None:
    return None if rows is None else [dict(row) for row in rows]


def keyed(idempotency_key: str | None) -> dict[str, Any]:
    """Options of a call that is done once, however often it is sent."""
    return {} if idempotency_key is None else {"headers": {"Idempotency-Key": idempotency_key}}


def form_files(
    rows: Sequence[Row] | None, file: Path | None, test: Sequence[Row] | None, test_file: Path | None
) -> dict[str, tuple[str, bytes]]:
    """Parts of a form. Raises `GendistilError` if a file cannot be read."""
    parts = {}
    for part, part_rows, part_file in (("file", rows, file), ("test_file", test, test_file)):
        if part_file is not None:
            parts[part] = (part_file.name, read(part_file))
        elif part_rows is not None:
            parts[part] = (f"{part}.jsonl", "\n".join(json.dumps(dict(row)) for row in part_rows).encode())
    return parts


def read(path: Path) -> bytes:
    """Raises `GendistilError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
