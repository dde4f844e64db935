"""Files of texts, predicted by a worker: `client.bulk`, and `client.predict_file` for all of it in one call."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack
from urllib.parse import quote

import httpx

from gendistil.errors import GendistilError, JobFailed
from gendistil.models import BulkPrediction

if TYPE_CHECKING:
    from gendistil.client import Client

CSV, JSONL = "text/csv", "application/x-ndjson"
_CONTENT_TYPES = {".csv": CSV, ".tsv": CSV, ".jsonl": JSONL, ".ndjson": JSONL}
_UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=5.0)
"""The service answers once it has checked every row."""


class BulkOptions(TypedDict, total=False):
    """As of `predict`; above 1, `top_k` adds a column `scores`. `text_column`: of the file, else `text`."""

    text_column: str | None
    top_k: int | None
    min_score: float | None
    min_precision: float | None
    out_of_scope: bool | None


class Bulk:
    """Calls of `/predictions`. Every method raises `GendistilError`."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def send(self, student: str, file: Path, *, idempotency_key: str | None = None, **options: Unpack[BulkOptions]) -> BulkPrediction:
        """Sends a CSV or JSON Lines file; the version that `student` means now predicts its rows."""
        headers = {"Content-Type": _CONTENT_TYPES.get(file.suffix.lower(), "application/octet-stream")}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        params = {"student": student, **{name: value for name, value in options.items() if value is not None}}
        try:
            with file.open("rb") as content:
                return self._client.call(
                    BulkPrediction, "POST", "/predictions", content=content, params=params, headers=headers, timeout=_UPLOAD_TIMEOUT
                )
        except OSError as error:
            raise GendistilError(
                f"{file} cannot be read: {error.strerror}.", remedy="Check the file's name and its permissions."
            ) from error

    def get(self, id: str) -> BulkPrediction:
        return self._client.call(BulkPrediction, "GET", _path(id))

    def list(self, limit: int = 20) -> list[BulkPrediction]:
        """The newest first."""
        return self._client.listed(BulkPrediction, "predictions", limit)

    def wait(self, id: str, *, on_update: Callable[[BulkPrediction], None] | None = None, poll_seconds: float = 0.5) -> BulkPrediction:
        """Returns it once it has succeeded; `on_update` gets every state on the way. Raises `JobFailed` if it ends otherwise."""
        while True:
            found = self.get(id)
            if on_update:
                on_update(found)
            if found.status == "succeeded":
                return found
            if found.ended:
                fault = found.error if found.status == "failed" else None
                what = f"The prediction {id} {'failed: ' + fault.detail if fault else 'was ' + found.status + '.'}"
                kind = (fault.type if fault else "") or "urn:gendistil:prediction-failed"
                raise JobFailed(what, type=kind, remedy=fault.remedy if fault else "Send the file again.")
            time.sleep(poll_seconds)

    def save(self, id: str, to: Path) -> Path:
        """Writes the result into the file `to`: as CSV if that is called so, else as JSON Lines. Returns the file."""
        accept = CSV if to.suffix.lower() == ".csv" else JSONL
        return self._client.saved(f"{_path(id)}/result", to, {"Accept": accept})

    def cancel(self, id: str) -> BulkPrediction:
        return self._client.call(BulkPrediction, "POST", f"{_path(id)}/cancel")

    def delete(self, id: str) -> None:
        """Removes an ended one with its file and its result."""
        self._client.request("DELETE", _path(id))


def _path(id: str) -> str:
    return f"/predictions/{quote(id, safe='')}"
