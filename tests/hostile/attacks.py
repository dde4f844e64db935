"""A row of the table: what is sent, and the answer that is promised."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from starlette.testclient import TestClient

PROBLEM = "application/problem+json"
ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("lost card", "top up") for number in range(6)]
CSV = {"content-type": "text/csv"}
JSON = {"content-type": "application/json"}
JSONL = {"content-type": "application/x-ndjson"}
ZIP = {"content-type": "application/zip"}


@dataclass(frozen=True)
class Attack:
    """`type`: of the problem that is answered, or the `code` of OpenAI's API; None where the answer is none or of another shape.

    `sent`: what httpx's `request` takes. `says`, `hides`: what the answer's text holds, and what it must not hold.
    """

    name: str
    method: str
    path: str
    status: int
    type: str | None = None
    sent: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    hides: str = ""


def attack(name: str, call: str, status: int, type: str | None = None, *, says: str = "", hides: str = "", **sent: Any) -> Attack:
    """`call`: method and path, as in `POST /jobs`."""
    method, path = call.split(" ", 1)
    return Attack(name, method, path, status, type, sent, says, hides)


class Row(Protocol):
    """Makes rows that share call and headers: `content` is the body, `sent` whatever else is."""

    def __call__(self, name: str, status: int, type: str | None = None, content: Any = None, **sent: Any) -> Attack: ...


def on(call: str, **common: Any) -> Row:
    """Rows of one call, with what all of them send."""

    def row(name: str, status: int, type: str | None = None, content: Any = None, **sent: Any) -> Attack:
        body = {} if content is None else {"content": content}
        return attack(name, call, status, type, **body, **{**common, **sent})

    return row


def table(*attacks: Attack) -> pytest.MarkDecorator:
    """One test for each row, by its name. Two rows of one name would hide each other in a report."""
    names = [row.name for row in attacks]
    assert len(set(names)) == len(names)
    return pytest.mark.parametrize("attack", attacks, ids=names)


def check(api: TestClient, attack: Attack, known: dict[str, str]) -> Any:
    """Sends the row, and compares the answer with what it promises. Whatever is asked, the service neither fails nor says how it is made.

    `known`: ids for the path, where it names them: `/jobs/{job}`.
    """
    path = re.sub(r"\{(\w+)\}", lambda found: known[found[1]], attack.path)
    answer = api.request(attack.method, path, follow_redirects=False, **attack.sent)
    text = answer.text
    assert answer.status_code == attack.status, f"{answer.status_code}: {text[:500]}"
    assert kind_of(answer) == attack.type, text[:500]
    assert "Traceback" not in text
    assert "site-packages" not in text
    assert attack.says in text
    assert not attack.hides or attack.hides not in text
    return answer


def kind_of(answer: Any) -> str | None:
    """The stable name of an error: the problem's type, or the code in OpenAI's shape. None for any other answer."""
    if answer.headers.get("content-type", "").startswith(PROBLEM):
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["request_id"] == answer.headers["x-request-id"]
        return str(problem["type"]).removeprefix("urn:gendistil:")
    error = _json(answer.text).get("error") if answer.status_code >= 400 else None
    return str(error["code"]) if isinstance(error, dict) and "code" in error else None


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
