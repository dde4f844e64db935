"""References that lead somewhere else: up the tree, to another machine, to a folder of the worker's, past the end of a number."""

from urllib.parse import quote

import pytest

from app.storage import get_storage
from tests.hostile.attacks import CSV, ROWS, Attack, attack, check, on, table
from tests.hostile.conftest import Service

UP = "../../../etc/passwd"
ENCODED = {
    "encoded": quote(UP, safe=""),
    "encoded twice": quote(quote(UP, safe=""), safe=""),
    "on Windows": "..%5c..%5cetc",
    "in UTF-8 that is none": "%c0%ae%c0%ae%2f",
}
PLACES = {
    "a job": ("/jobs/{}", "job-not-found"),
    "a dataset": ("/datasets/{}", "dataset-not-found"),
    "a student": ("/students/{}", "student-not-found"),
    "a bulk prediction": ("/predictions/{}", "prediction-not-found"),
    "a webhook": ("/webhooks/{}", "webhook-not-found"),
    "a file": ("/v1/files/{}", "file_not_found"),
    "a tuned job": ("/v1/fine_tuning/jobs/{}", "job_not_found"),
    "a model": ("/v1/models/{}", "model_not_found"),
}
ODD = {
    "with a NUL": "a%00b",
    "with a line's end": "a%0d%0aSet-Cookie:%20x",
    "with an override": quote("\u202ea"),
    "with half a character": "a%ff",
    "of 5,000 letters": "a" * 5000,
    "that is SQL": quote("' OR 1=1 --"),
    "that is a wildcard": "%25",
    "of another alphabet": quote("\u0661\u0662"),
    "in full-width letters": quote("\uff4aob"),
}
ADDRESSES = {
    "of the cloud": "http://169.254.169.254/latest/meta-data/",
    "of this machine": "http://127.0.0.1:6379/",
    "of a file": "file:///etc/passwd",
    "of a bucket": "s3://bucket/rows.csv",
    "of gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "of a host by number": "http://2130706433/",
}
MODELS = {
    "a folder": ("/etc", "model-not-allowed"),
    "a folder upwards": ("../../models", "model-not-allowed"),
    "a folder of the user": ("~/.ssh", "model-not-allowed"),
    "a folder beside": ("./models", "model-not-allowed"),
    "a hub id": ("owner/name", "model-not-allowed"),
    "a hub id without an owner": ("workers", "model-not-allowed"),
    "a preset's at another revision": ("openai-community/gpt2@refs/pr/1", "model-not-allowed"),
    "a preset's at a commit": (f"openai-community/gpt2@{'a' * 40}", "model-not-allowed"),
    "an embedded one of a path": ("embedded:../../etc", "unknown-model"),
    "with a NUL": ("/models\0", "unknown-model"),
    "with an override": ("owner/\u202ename", "unknown-model"),
    "with a query": ("owner/name?revision=x", "unknown-model"),
    "of 10^5 letters": ("a/" * 50_000, "invalid-spec"),
    "a share of a network": ("//host/share", "model-not-allowed"),
    "a process's own": ("/proc/self/environ", "model-not-allowed"),
}
HOOK, JOB = on("POST /webhooks"), on("POST /jobs")


def job(reference: object, part: str = "teacher") -> dict[str, object]:
    return {"name": "odd", "dataset": {"rows": ROWS}, "spec": {part: {"model": reference}}}


@table(
    *(
        attack(f"{what}, a path {how}", f"GET {place.format(path)}", 404, "route-not-found" if "%2f" in path.lower() else type)
        for what, (place, type) in PLACES.items()
        for how, path in ENCODED.items()
        if how != "encoded twice"
    ),
    *(
        attack(f"{what}, an id {how}", f"GET {place.format(path)}", 404, type, hides="Set-Cookie:\r")
        for what, (place, type) in PLACES.items()
        for how, path in ODD.items()
    ),
    *(attack(f"static file, a path {how}", f"GET /ui/static/abc/{path}", 404) for how, path in ENCODED.items() if "%2f" in path.lower()),
    attack("static file, a path on Windows", "GET /ui/static/abc/..%5c..%5cetc", 404, "route-not-found"),
    attack("static file, a template", "GET /ui/static/abc/..%2ftemplates%2fbase.html", 404, hides="{%"),
    attack("static file, a path as it is", "GET /ui/static/../../../../etc/passwd", 404, "route-not-found"),
    attack("download: a path as a version", "GET /students/triage:..%5c1/download", 422, "invalid-request"),
    attack("download: a version beyond 64 bits", f"GET /students/triage:{2**64}/download", 422, "invalid-request"),
    attack("download: digits of another alphabet", f"GET /students/triage:{quote(chr(0x661))}/download", 422, "invalid-request"),
    attack("drift: a version beyond 64 bits", f"GET /students/triage/versions/{2**64}/drift", 422, "invalid-request"),
    attack("v2: a version that is no digit", f"GET /v2/models/triage/versions/{quote(chr(0xB2))}", 400),
    attack("v2: a version beyond 64 bits", f"GET /v2/models/triage/versions/{2**64}", 400),
    attack("checkpoint: a path", "GET /v1/files/file-results-..%5cetc", 404, "file_not_found"),
    *(
        attack(f"job: a dataset {how}", "POST /jobs", 404, "dataset-not-found", json={"name": "odd", "dataset": where})
        for how, where in ADDRESSES.items()
    ),
    *(JOB(f"job: a teacher {how}", 422, "unknown-model", json=job(where)) for how, where in ADDRESSES.items()),
    *(JOB(f"job: a teacher, {what}", 422, type, json=job(reference)) for what, (reference, type) in MODELS.items()),
    *(JOB(f"job: a generator, {what}", 422, type, json=job(reference, "generator")) for what, (reference, type) in MODELS.items()),
    attack(
        "tune: a teacher of one's own",
        "POST /v1/fine_tuning/jobs",
        400,
        "model_not_allowed",
        json={"model": "fast", "training_file": "file-1", "spec": {"teacher": {"model": "/etc"}}},
    ),
    attack(
        "tune: a training file that is an address",
        "POST /v1/fine_tuning/jobs",
        400,
        "file_not_found",
        json={"model": "fast", "training_file": ADDRESSES["of the cloud"]},
    ),
    attack(
        "bulk: a student that is a path", "POST /predictions?student=..%2fx", 404, "student-not-found", content="text\ncard\n", headers=CSV
    ),
    attack(
        "predict: a student that is an address",
        "POST /predict",
        422,
        "invalid-request",
        json={"student": ADDRESSES["of the cloud"], "inputs": "card"},
    ),
    *(
        HOOK(
            f"webhook: an address {how}",
            422,
            "webhook-address-refused" if where.startswith("http") else "invalid-request",
            json={"url": where},
        )
        for how, where in ADDRESSES.items()
    ),
    *(
        HOOK(f"webhook: {what}", 422, "webhook-address-refused", json={"url": f"https://{host}/hook"})
        for what, host in {
            "a private network": "10.1.2.3",
            "this machine by IPv6": "[::1]",
            "this machine by name": "localhost",
            "this machine in hex": "0x7f000001",
            "this machine in octal": "0177.0.0.1",
            "this machine in short": "127.1",
            "this machine in IPv6": "[::ffff:127.0.0.1]",
            "a private network through NAT64": "[64:ff9b::a00:1]",
            "a private network through 6to4": "[2002:a00:1::1]",
            "a private network through SIIT": "[::ffff:0:10.0.0.1]",
            "a link's own network": "[fe80::1]",
            "a password": "user:word@93.184.216.34",
            "a name that is none": "nowhere.invalid",
            "full-width digits": "\uff11\uff12\uff17.0.0.1",
            "dots of another alphabet": "127\u30020\u30020\u30021",
        }.items()
    ),
    HOOK("webhook: no TLS", 422, "webhook-address-refused", json={"url": "http://93.184.216.34/hook"}),
    HOOK("webhook: port 0", 422, "webhook-address-refused", json={"url": "https://93.184.216.34:0/hook"}),
    HOOK("webhook: a line's end", 422, "invalid-request", json={"url": "https://93.184.216.34/\r\nHost: evil"}),
    HOOK("webhook: 10^5 letters", 422, "invalid-request", json={"url": f"https://93.184.216.34/{'a' * 100_000}"}),
    attack("list: limit 0", "GET /jobs?limit=0", 422, "invalid-request"),
    attack("list: limit beyond 64 bits", f"GET /jobs?limit={2**64}", 422, "invalid-request"),
    attack("list: limit of 10^4 digits", f"GET /jobs?limit={'9' * 10_000}", 422, "invalid-request"),
    attack("list: limit 1e3", "GET /jobs?limit=1e3", 422, "invalid-request"),
    attack("list: limit in digits of another alphabet", f"GET /jobs?limit={quote(chr(0x665))}", 422, "invalid-request"),
    attack("list: limit twice, the last one counts", "GET /jobs?limit=0&limit=2", 200),
    attack("list: after a NUL", "GET /jobs?after=a%00", 422, "unknown-cursor"),
    attack("list: after half a character", "GET /jobs?after=%ff", 422, "unknown-cursor"),
    attack("list: after another's table", "GET /jobs?after={dataset}", 422, "unknown-cursor"),
    attack("list: a name with a NUL", "GET /jobs?name=%00", 200),
    attack("list: a status of no job", "GET /jobs?status=%00", 422, "invalid-request"),
    attack("events: after beyond 64 bits", f"GET /jobs/{{job}}/events?after={2**64}", 422, "invalid-request"),
    attack("events: after of 10^4 digits", f"GET /jobs/{{job}}/events?after={'9' * 10_000}", 422, "invalid-request"),
    attack("texts: a share that is nan", "GET /jobs/{job}/synthetic?min_confidence=nan", 422, "invalid-request"),
    attack("texts: a share that is inf", "GET /jobs/{job}/synthetic?max_confidence=inf", 422, "invalid-request"),
    attack("texts: a search of 10^4 letters", f"GET /jobs/{{job}}/synthetic?search={'a' * 10_000}", 422, "invalid-request"),
    attack("texts: a NUL as a label", "GET /jobs/{job}/synthetic?label=%00", 409, "synthetic-not-ready"),
    attack("drift: days beyond 64 bits", f"GET /students/triage/versions/1/drift?days={2**64}", 422, "invalid-request"),
    attack("history: after beyond 64 bits", f"GET /students/triage/aliases/latest/history?after={2**63}", 422, "invalid-request"),
    attack("tuned: a metadata name of SQL", "GET /v1/fine_tuning/jobs?metadata[a')%20OR%201%3D1]=b", 200, hides="ftjob-"),
    attack("tuned: a metadata name with a NUL", "GET /v1/fine_tuning/jobs?metadata[%00]=b", 400, "invalid_value"),
    attack("query: 5,000 parameters", "GET /jobs?" + "&".join(f"p{number}=1" for number in range(5000)), 200),
)
def test_paths_and_references(service: Service, attack: Attack, asked_for: set[str]) -> None:
    check(service.api, attack, service.known)
    # Nothing is fetched by an address that a caller names; a webhook's name is resolved, and that is all.
    assert asked_for <= {"127.0.0.1", "localhost", *resolved(attack)}


def resolved(attack: Attack) -> set[str]:
    """What the resolver is asked for a webhook's address: its host, also one that it can only read as a number."""
    from httpx import URL, InvalidURL

    if attack.path != "/webhooks":
        return set()
    try:
        return {URL(attack.sent["json"]["url"]).raw_host.decode()}
    except (InvalidURL, UnicodeError):
        return set()


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "", "a\0b"])
def test_a_key_of_the_store_that_leads_elsewhere_finds_nothing(service: Service, key: str) -> None:
    """Keys are hashes that the service makes; even one from a damaged row would be no way out of the store."""
    with pytest.raises((FileNotFoundError, ValueError, OSError)):
        get_storage().fetch_file(key, "passwd")
