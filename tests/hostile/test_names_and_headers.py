"""Names that lie about themselves, headers that are no headers, and methods that nobody knows."""

import json

import pytest

from tests.hostile.attacks import CSV, JSON, ROWS, Attack, attack, check, on, table
from tests.hostile.conftest import Service

OVERRIDE, ISOLATE, NUL, ESCAPE = "\u202e", "\u2066", "\0", "\x1b[2J"
NAMES = {
    "with an override": f"tri{OVERRIDE}ega",
    "with an isolate": f"{ISOLATE}triage",
    "with a NUL": "tri\0age",
    "with a line's end": "triage\n",
    "with an escape": f"{ESCAPE}triage",
    "in Cyrillic letters": "tri\u0430ge",
    "in full-width letters": "\uff54riage",
    "that is a path": "../triage",
    "that is a Windows path": "..\\triage",
    "that is code": "<script>alert(1)</script>",
    "that is a template": "{{7*7}}",
    "that is SQL": "triage'; DROP TABLE jobs; --",
    "that is a format": "%s%n{0.__class__}",
    "of 10^6 letters": "a" * 1_000_000,
    "that is empty": "",
}
JOB, HOOK, HEADER = on("POST /jobs"), on("POST /webhooks"), on("POST /datasets", content=json.dumps(ROWS))
HOOK_URL = "https://93.184.216.34/hook"


def body(**changes: object) -> dict[str, object]:
    return {"name": "odd", "dataset": {"rows": ROWS}, **changes}


def labelled(label: str) -> list[dict[str, str]]:
    return [*ROWS, *({"text": f"a text {number}", "label": label} for number in range(6))]


@table(
    *(JOB(f"job: a name {what}", 422, "invalid-request", json=body(name=name)) for what, name in NAMES.items()),
    *(HOOK(f"webhook: a student {what}", 422, "invalid-request", json={"url": HOOK_URL, "student": name}) for what, name in NAMES.items()),
    *(
        attack(f"rows: a label {what}", "POST /datasets", 422, "invalid-rows", json=labelled(label))
        for what, label in {
            "with an override": f"lost{OVERRIDE}drac",
            "with an isolate": f"lost {ISOLATE}card",
            "with a C1 control": "lost\x9bcard",
            "with an escape": f"{ESCAPE}lost",
            "of two lines": "lost\nERROR root: all is lost",
            "of two lines, by U+2028": "lost\u2028card",
            "with a NUL": "lost\0card",
            "of nothing that is seen": "\u200b\u2060",
        }.items()
    ),
    attack("rows: a label in full-width letters", "POST /datasets", 422, "similar-labels", json=labelled("\uff54op up")),
    attack("rows: a label from right to left is a label", "POST /datasets", 201, json=labelled("\u0628\u0637\u0627\u0642\u0629\u200f")),
    attack("rows: a label of markup is a label", "POST /datasets", 201, json=labelled("<img src=x onerror=alert(1)>")),
    attack("rows: a text with an override is a text", "POST /datasets", 201, json=[*ROWS, {"text": f"a{OVERRIDE}b", "label": "top up"}]),
    attack("rows: a text with an escape", "POST /datasets", 422, "invalid-rows", json=[*ROWS, {"text": ESCAPE, "label": "top up"}]),
    attack("rows: a text with a NUL", "POST /datasets", 422, "invalid-rows", json=[*ROWS, {"text": "a\0b", "label": "top up"}]),
    JOB("job: a reason with an override", 422, "invalid-request", json=body(promote="always", promote_reason=f"a{OVERRIDE}b")),
    JOB("job: a reason with an escape", 422, "invalid-request", json=body(promote="always", promote_reason=ESCAPE)),
    JOB("job: a preset that is a path", 422, "unknown-preset", json=body(preset="../../etc/passwd")),
    JOB("job: a preset with an escape", 422, "unknown-preset", json=body(preset=ESCAPE), hides="\x1b"),
    JOB("job: a field with an override", 422, "invalid-request", json=body(**{f"{OVERRIDE}x": 1})),
    HOOK("webhook: a description with an override", 422, "invalid-request", json={"url": HOOK_URL, "description": f"a{OVERRIDE}b"}),
    HOOK("webhook: a description with an escape", 422, "invalid-request", json={"url": HOOK_URL, "description": ESCAPE}),
    HOOK("webhook: a description with a NUL", 422, "invalid-request", json={"url": HOOK_URL, "description": NUL}),
    HOOK("webhook: a description of lines is one", 201, json={"url": HOOK_URL, "description": "the team's\n\tchat"}),
    attack("alias: with an override", f"PUT /students/triage/aliases/{OVERRIDE}a", 422, "invalid-request", json={"version": 1}),
    attack("alias: with a NUL", "PUT /students/triage/aliases/a%00", 422, "invalid-request", json={"version": 1}),
    attack("alias: that is a path", "PUT /students/triage/aliases/..%2flatest", 404, "route-not-found", json={"version": 1}),
    attack(
        "alias: a reason with an override",
        "PUT /students/triage/aliases/a",
        422,
        "invalid-request",
        json={"version": 1, "reason": OVERRIDE},
    ),
    attack(
        "file: a name that is a path keeps its letters alone",
        "POST /v1/files",
        200,
        data={"purpose": "fine-tune"},
        files={"file": ("../../\x1b\u202eevil\n.jsonl", json.dumps(ROWS[0]) + "\n")},
        hides="\\u202e",
    ),
    attack(
        "file: a name of 10^4 letters is cut",
        "POST /v1/files",
        400,
        "malformed_multipart",
        data={"purpose": "fine-tune"},
        files={"file": ("a" * 10_000, json.dumps(ROWS[0]))},
    ),
    HEADER("Idempotency-Key: of 10^5 letters", 400, "invalid-idempotency-key", headers={**JSON, "Idempotency-Key": "k" * 100_000}),
    HEADER("Idempotency-Key: empty", 400, "invalid-idempotency-key", headers={**JSON, "Idempotency-Key": ""}),
    HEADER("Idempotency-Key: not ASCII", 400, "invalid-idempotency-key", headers={**JSON, "Idempotency-Key": b"\xe2\x80\xae"}),
    HEADER("Idempotency-Key: a control", 400, "invalid-idempotency-key", headers={**JSON, "Idempotency-Key": b"a\x01b"}),
    HEADER(
        "Content-Type: of 10^5 letters",
        400,
        "malformed-multipart",
        headers={"content-type": "multipart/form-data; boundary=" + "b" * 100_000},
    ),
    HEADER("Content-Type: none", 201, None, headers={"content-type": ""}),
    HEADER("Content-Encoding: gzip", 201, None, headers={**JSON, "Content-Encoding": "gzip"}),
    attack("Last-Event-ID: beyond 64 bits", "GET /jobs/{job}/events", 422, "invalid-request", headers={"Last-Event-ID": f"{2**64}"}),
    attack("Last-Event-ID: no number", "GET /jobs/{job}/events", 422, "invalid-request", headers={"Last-Event-ID": "1; DROP TABLE jobs"}),
    attack("Last-Event-ID: of 10^5 digits", "GET /jobs/{job}/events", 422, "invalid-request", headers={"Last-Event-ID": "1" * 100_000}),
    attack("Last-Event-ID: negative", "GET /jobs/{job}/events", 422, "invalid-request", headers={"Last-Event-ID": "-1"}),
    attack("If-None-Match: of 10^5 tags", "GET /students/triage/download", 200, headers={"If-None-Match": '"a",' * 100_000}),
    attack("Accept: of 10^5 types", "GET /jobs/{job}/events", 200, headers={"Accept": "a/b," * 100_000}),
    attack("Range: of 10^4 parts", "GET /students/triage/download", 200, headers={"Range": "bytes=" + "0-1," * 10_000}),
    attack("method: one that nobody knows", "BREW /jobs", 405, "method-not-allowed"),
    attack("method: TRACE", "TRACE /jobs", 405, "method-not-allowed"),
    attack("method: PATCH of a job", "PATCH /jobs/{job}", 405, "method-not-allowed", json={"status": "succeeded"}),
    attack(
        "method: another one in a header",
        "POST /jobs",
        422,
        "invalid-request",
        headers={**JSON, "X-HTTP-Method-Override": "DELETE"},
        content="{}",
    ),
    attack("method: another one in the query", "GET /jobs/{job}?_method=DELETE", 200),
    attack(
        "path: another one in a header", "GET /healthz", 200, headers={"X-Original-URL": "/jobs", "X-Rewrite-URL": "/jobs"}, hides="items"
    ),
    attack(
        "bulk: a column with an override is a column",
        "POST /predictions?student=triage",
        202,
        content=f"text,a{OVERRIDE}\ncard,1\n",
        headers=CSV,
    ),
)
def test_names_and_headers(service: Service, attack: Attack) -> None:
    check(service.api, attack, service.known)


@pytest.mark.parametrize("given", ["a\r\nSet-Cookie: x=1", "a b", "\u202e".encode(), "<script>", "x" * 10_000, "", "a\tb", "../../etc"])
def test_a_request_id_that_is_no_plain_one_is_replaced(service: Service, given: str | bytes) -> None:
    answer = service.api.get("/healthz", headers={"X-Request-ID": given})
    assert answer.status_code == 200
    assert len(answer.headers["x-request-id"]) == 32
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1:80@evil.test", "evil.test/\\"])
def test_no_answer_leads_to_the_host_that_a_request_names(service: Service, host: str) -> None:
    for path in ("/jobs/", "/students/", "//evil.test/jobs", "/ui/"):
        answer = service.api.get(path, headers={"Host": host}, follow_redirects=False)
        assert answer.status_code < 500
        assert "evil" not in answer.headers.get("location", "")
