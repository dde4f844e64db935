"""The client against the service's own OpenAPI document: neither can move without the other."""

import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import BaseModel

from app.main import create_app
from gendistil import AsyncClient, Client, calls
from gendistil.client import AsyncBulk, AsyncKeys, AsyncProjects, AsyncWebhooks, Bulk, Keys, Projects, Webhooks
from gendistil.steps import Call, Save
from gendistil.transport import awaited, blocking

LEFT_OUT = {"GET /healthz", "GET /metrics"}
OTHER_PROTOCOLS = ("/v1/", "/v2", "/hf/")
"""These have clients of their own."""
ROWS = [{"text": "my card was stolen", "label": "lost"}]
FILE, TEXTS = Path(__file__), Path("texts.jsonl")
SPEC = {"distil": {"student": "bag"}}
THRESHOLDS = {"min_precision": 0.9, "min_score": 0.5, "out_of_scope": True}
OF_JOB = {"text_column": "mail", "label_column": "team", "preset": "fast", "spec": SPEC, "replace_dataset": True}
OF_TEXTS = {"verdict": "kept", "label": "a", "search": "b", "min_confidence": 0.1, "max_confidence": 0.9, "order": "confidence"}
GATE = {"promote": "always", "promote_reason": "a trial", "idempotency_key": "k"}
MOMENT = datetime(2026, 1, 31, tzinfo=UTC)
QUOTAS = {"jobs_running": 2, "jobs_open": 20, "rows": 10**5, "bytes": 10**10, "minutes_per_month": 99.5, "texts_per_second": 0.5}
d, j, s, p, b, w, a = calls.datasets, calls.jobs, calls.students, calls.texts, calls.predictions, calls.webhooks, calls.access
o = calls.projects

CALLS: dict[Callable[..., Any], list[Callable[[], Any]]] = {
    d.create_dataset: [
        lambda: d.create_dataset(rows=ROWS, test=ROWS, text_column="mail", label_column="team", idempotency_key="k"),
        lambda: d.create_dataset(file=FILE, test_file=FILE, text_column="mail", label_column="team"),
    ],
    d.dataset: [lambda: d.dataset("ds_1")],
    d.datasets: [lambda: d.datasets(5)],
    d.delete_dataset: [lambda: d.delete_dataset("ds_1")],
    j.create_job: [
        lambda: j.create_job("triage", rows=ROWS, test=ROWS, **OF_JOB, **GATE),
        lambda: j.create_job("triage", file=FILE, test_file=FILE, **OF_JOB, **GATE),
        lambda: j.create_job("triage", dataset="ds_1"),
    ],
    j.estimate: [lambda: j.estimate("triage", rows=ROWS, **OF_JOB)],
    j.job: [lambda: j.job("job_1")],
    j.jobs: [lambda: j.jobs(5, status="running", name="triage")],
    j.events: [lambda: j.events("job_1", after=3)],
    j.wait: [lambda: j.wait("job_1")],
    j.cancel: [lambda: j.cancel("job_1")],
    j.resume: [lambda: j.resume("job_1")],
    j.report: [lambda: j.report("job_1")],
    j.report_html: [lambda: j.report_html("job_1")],
    j.delete_job: [lambda: j.delete_job("job_1")],
    p.synthetic: [lambda: p.synthetic("job_1", **OF_TEXTS)],
    p.save_synthetic: [lambda: p.save_synthetic("job_1", FILE, **OF_TEXTS)],
    p.distil_again: [lambda: p.distil_again("job_1", [3, 14], replace_dataset=True, **GATE)],
    b.predict: [lambda: b.predict("triage", ["a", "b"], 3, escalate=True, **THRESHOLDS), lambda: b.predict("triage", "a")],
    b.predict_file: [lambda: b.predict_file("triage", TEXTS, FILE, text_column="mail", top_k=3, **THRESHOLDS)],
    b.send: [lambda: b.send("triage", TEXTS, idempotency_key="k")],
    b.get: [lambda: b.get("bp_1")],
    b.all_sent: [lambda: b.all_sent()],
    b.wait: [lambda: b.wait("bp_1")],
    b.save: [lambda: b.save("bp_1", FILE)],
    b.cancel: [lambda: b.cancel("bp_1")],
    b.delete: [lambda: b.delete("bp_1")],
    s.students: [lambda: s.students()],
    s.student: [lambda: s.student("triage")],
    s.point_alias: [lambda: s.point_alias("triage", "production", 3, "checked")],
    s.roll_back: [lambda: s.roll_back("triage", reason="worse")],
    s.alias_history: [lambda: s.alias_history("triage")],
    s.delete_alias: [lambda: s.delete_alias("triage", "production")],
    s.set_shadow: [lambda: s.set_shadow("triage", 2, 0.5)],
    s.shadow: [lambda: s.shadow("triage")],
    s.delete_shadow: [lambda: s.delete_shadow("triage")],
    s.drift: [lambda: s.drift("triage", 1, 30)],
    s.download: [lambda: s.download("triage")],
    s.import_student: [lambda: s.import_student(FILE, name="triage", promote=True)],
    s.delete_student: [lambda: s.delete_student("triage"), lambda: s.delete_student("triage", 2)],
    w.create: [lambda: w.create("https://example.com/", events=["job.failed"], student="triage", description="chat", enabled=True)],
    w.get: [lambda: w.get("wh_1")],
    w.all_webhooks: [lambda: w.all_webhooks()],
    w.change: [lambda: w.change("wh_1", url="https://example.com/", events=["job.failed"], student=None, description="", enabled=False)],
    w.delete: [lambda: w.delete("wh_1")],
    w.rotate: [lambda: w.rotate("wh_1")],
    w.test: [lambda: w.test("wh_1")],
    w.deliveries: [lambda: w.deliveries("wh_1", status="failed")],
    w.retry: [lambda: w.retry("wh_1", "msg_1")],
    a.create: [
        lambda: a.create("bot", ["predict", "read"], expires_at=MOMENT, texts_per_second=50, project="support"),
        lambda: a.create("bot", ["operator"]),
    ],
    a.all_keys: [lambda: a.all_keys(project="support")],
    a.revoke: [lambda: a.revoke("key_1")],
    a.audit: [lambda: a.audit(subject="triage", since=MOMENT, project="support")],
    o.create: [lambda: o.create("support", **QUOTAS), lambda: o.create("support")],
    o.get: [lambda: o.get("support")],
    o.all_projects: [lambda: o.all_projects()],
    o.change: [lambda: o.change("support", **QUOTAS), lambda: o.change("support", rows=None)],
    o.delete: [lambda: o.delete("support")],
    calls.service.ready: [calls.service.ready],
    calls.service.catalogue: [calls.service.catalogue],
    calls.service.presets: [calls.service.presets],
    calls.service.collect_garbage: [lambda: calls.service.collect_garbage(dry_run=True)],
}
"""Every method of the client, with all of its arguments; what it asks first is looked at."""


@functools.lru_cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(create_app().openapi()))
    return found


def asked(make: Callable[[], Any]) -> Call:
    step = next(make())
    call = step.call if isinstance(step, Save) else step
    assert isinstance(call, Call)
    return call


def operation(call: Call) -> dict[str, Any]:
    path = document()["paths"].get(call.route)
    assert path, f"there is no {call.route}"
    found: dict[str, Any] = path[call.method.lower()]
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def valid(value: object, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": document()["components"]}
    jsonschema_rs.validator_for(whole).validate(value)


ALL = [(method.__module__.rpartition(".")[2], method.__name__, make) for method, makes in CALLS.items() for make in makes]


@pytest.mark.parametrize("make", [pytest.param(make, id=f"{module}.{name}") for module, name, make in ALL])
def test_what_is_asked_is_what_the_service_takes(make: Callable[[], Any]) -> None:
    call = asked(make)
    found = operation(call)
    assert len(call.names) == call.route.count("{")
    parameters = {(parameter["in"], parameter["name"].lower()): parameter for parameter in found.get("parameters", [])}
    for name, value in (call.params or {}).items():
        valid(value, parameters["query", name]["schema"])
    for name in call.headers or {}:
        assert name.lower() in {"content-type", "accept"} or ("header", name.lower()) in parameters
    needed = {name for (place, name), parameter in parameters.items() if place == "query" and parameter.get("required")}
    assert needed <= set(call.params or ())
    body = found.get("requestBody", {}).get("content", {})
    if call.json is not None:
        valid(call.json, body["application/json"]["schema"])
    elif call.files is not None:
        form = body["multipart/form-data"]["schema"]
        sent = {*call.files, *(call.data or ())}
        assert {*form.get("required", ())} <= sent <= {*form["properties"]}
    elif call.content is not None or call.upload is not None:
        assert (call.headers or {})["Content-Type"] in body
    else:
        assert not found.get("requestBody", {}).get("required")


@pytest.mark.parametrize("make", [pytest.param(make, id=f"{module}.{name}") for module, name, make in ALL])
def test_what_is_read_is_what_the_service_answers(make: Callable[[], Any]) -> None:
    call = asked(make)
    if call.answer is None:
        return
    dry = "200" if (call.params or {}).get("dry_run") else ""
    answers = [answer for status, answer in operation(call)["responses"].items() if (status == dry if dry else status.startswith("2"))]
    schemas = [answer["content"]["application/json"]["schema"] for answer in answers]
    schema = resolved(next(schema for schema in schemas if dry or len(schemas) == 1 or "JobEstimate" not in schema["$ref"]))
    if call.many:
        assert {"items", "has_more", "next_after"} <= {*schema["properties"]}
        schema = resolved(schema["properties"]["items"]["items"])
    assert list(differences(call.answer, schema, call.answer.__name__)) == []


def differences(model: type[BaseModel], schema: dict[str, Any], where: str) -> Iterator[str]:
    """Fields that the service does not have, may leave out although the client needs them, or may send as null unforeseen."""
    for name, field in model.model_fields.items():
        there = schema["properties"].get(name)
        if there is None:
            yield f"{where}.{name} is not in the document"
            continue
        if field.is_required() and name not in schema.get("required", ()):
            yield f"{where}.{name} may be left out"
        kinds = [resolved(kind) for kind in resolved(there).get("anyOf", [there])]
        nullable = any(kind.get("type") == "null" for kind in kinds)
        if nullable and type(None) not in typing.get_args(field.annotation):
            yield f"{where}.{name} may be null"
        for inner in models(field.annotation):
            for kind in kinds:
                part = resolved(kind.get("items", kind.get("additionalProperties", kind)) or kind)
                if "properties" in part:
                    yield from differences(inner, part, f"{where}.{name}")


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and not isinstance(annotation, types.GenericAlias) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models(argument)


def test_every_route_is_in_the_client_or_left_out_on_purpose() -> None:
    reached = {f"{call.method} {call.route}" for call in (asked(make) for _, _, make in ALL)}
    there = {
        f"{method.upper()} {path}"
        for path, operations in document()["paths"].items()
        for method in operations
        if not path.startswith(OTHER_PROTOCOLS)
    }
    assert there - reached == LEFT_OUT
    assert reached <= there


def test_both_clients_have_every_method() -> None:
    for kind, other in ((Client, AsyncClient), (Bulk, AsyncBulk), (Webhooks, AsyncWebhooks), (Keys, AsyncKeys), (Projects, AsyncProjects)):
        flows = {name: method.flow for name, method in vars(kind).items() if isinstance(method, blocking)}
        assert flows == {name: method.flow for name, method in vars(other).items() if isinstance(method, awaited)}
        assert {*flows.values()} <= {*CALLS}
    given = {method for kind in (Client, Bulk, Webhooks, Keys, Projects) for method in vars(kind).values() if isinstance(method, blocking)}
    assert {method.flow for method in given} == {*CALLS}


def test_a_method_keeps_its_signature_and_its_description() -> None:
    with Client() as client:
        assert [*inspect.signature(client.predict).parameters][:3] == ["student", "inputs", "top_k"]
        assert "in the order of `inputs`" in (client.predict.__doc__ or "")
