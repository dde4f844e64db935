"""POST /predictions and what follows, over HTTP; the work itself as a worker does it."""

import csv
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Settings, get_settings
from app.database import transaction
from app.storage import get_storage
from app.tables import BulkPrediction
from tests.app.bulk.conftest import TEXTS, csv_of, read, send
from tests.app.predictions.conftest import Publish
from workers import bulk
from workers.bulk import run_bulk_prediction


def result(api: TestClient, id: str) -> list[dict[str, Any]]:
    answer = api.get(f"/predictions/{id}/result")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert int(answer.headers["content-length"]) == len(answer.content)
    return [json.loads(line) for line in answer.text.splitlines()]


def stored(service_env: Settings) -> set[str]:
    folder = Path(service_env.resolved_storage_url().removeprefix("file://")) / "bulk"
    return {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}


def test_a_file_gets_the_answers_of_predict_in_its_order(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PART_ROWS", 4)
    monkeypatch.setattr(bulk, "_AT_ONCE", 3)
    texts = [f"{text} {number}" for number in range(3) for text in TEXTS]
    sent = send(api, csv_of(texts), top_k=2, out_of_scope=True, min_score=0.5)
    assert (sent["status"], sent["student"], sent["version"], sent["threshold"]) == ("queued", "triage", 1, 0.5)
    assert sent["progress"] == {"done": 0, "total": len(texts), "unit": "rows"}
    run_bulk_prediction(sent["id"])

    ended = read(api, sent["id"])
    assert (ended["status"], ended["error"], ended["attempt"]) == ("succeeded", None, 1)
    assert ended["progress"]["done"] == len(texts)
    body = {"student": "triage", "inputs": texts, "top_k": 2, "out_of_scope": True, "min_score": 0.5}
    predictions = api.post("/predict", json=body).json()["predictions"]
    assert {prediction["abstained"] for prediction in predictions} == {True, False}
    columns = ["text", "label", "score", "abstained", "scores", "out_of_scope"]
    lines = result(api, sent["id"])
    # Bit for bit: a float that is written as JSON and read again is the same.
    assert lines == [{"text": text, **{name: found[name] for name in columns[1:]}} for text, found in zip(texts, predictions, strict=True)]
    assert list(lines[0]) == ended["columns"] == columns


def test_all_columns_of_a_csv_are_kept_and_a_taken_name_gets_a_prefix(api: TestClient) -> None:
    content = '\ufeffid;Frage;label\n1;"card; and\n""pin""";x\n\n2;  money ;=1+1\n'
    sent = send(api, content, text_column="Frage")
    assert sent["columns"] == ["id", "Frage", "label", "predicted_label", "predicted_score", "predicted_abstained"]
    run_bulk_prediction(sent["id"])
    lines = result(api, sent["id"])
    assert [line["Frage"] for line in lines] == ['card; and\n"pin"', "  money "]
    assert [(line["id"], line["label"], line["predicted_label"]) for line in lines] == [("1", "x", "card"), ("2", "=1+1", "money")]

    answer = api.get(f"/predictions/{sent['id']}/result", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="triage-1-{sent["id"]}.csv"'
    table = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert table[0] == sent["columns"]
    assert [row[:4] for row in table[1:]] == [["1", 'card; and\n"pin"', "x", "card"], ["2", "  money ", "'=1+1", "money"]]
    assert float(table[1][4]) == lines[0]["predicted_score"]
    assert table[1][5] == "false"
    # No spreadsheet is to run what a caller wrote; a program can have it as it came.
    as_it_came = api.get(f"/predictions/{sent['id']}/result?formulas=true", headers={"Accept": "text/csv"})
    assert as_it_came.text == answer.text.replace("'=1+1", "=1+1")


def test_objects_keep_their_spelling(api: TestClient) -> None:
    lines = ['{"n": 1.50, "text": "card\u2028card" }  ', "", ' {"text":"\\u006doney","id":12345678901234567890123, "more": {"a": [1]}}\r']
    sent = send(api, "\n".join(lines), "application/x-ndjson")
    assert sent["columns"] == ["n", "text", "id", "more", "label", "score", "abstained"]
    run_bulk_prediction(sent["id"])
    text = api.get(f"/predictions/{sent['id']}/result").text
    first, second = text.split("\n")[:-1]
    assert first.startswith('{"n": 1.50, "text": "card\u2028card", "label": "card", "score": 0.')
    assert second.startswith('{"text":"\\u006doney","id":12345678901234567890123, "more": {"a": [1]}, "label": "money"')
    table = list(csv.reader(io.StringIO(api.get(f"/predictions/{sent['id']}/result", headers={"Accept": "text/csv"}).text, newline="")))
    assert table[1][:5] == ["1.5", "card\u2028card", "", "", "card"]
    assert table[2][:5] == ["", "money", "12345678901234567890123", '{"a": [1]}', "money"]


def test_a_form_is_a_file_and_its_options(api: TestClient) -> None:
    files = {"file": ("texts.jsonl", '{"q": "pin"}\n')}
    answer = api.post("/predictions", files=files, data={"student": "triage:1", "text_column": "q", "top_k": "3"})
    assert answer.status_code == 202, answer.text
    run_bulk_prediction(answer.json()["id"])
    assert [len(line["scores"]) for line in result(api, answer.json()["id"])] == [3]
    assert api.post("/predictions", data={"student": "triage"}, files={"other": ("a", "b")}).json()["errors"][0]["column"] == "other"
    unknown = api.post("/predictions", files=files, data={"student": "triage", "colour": "red"})
    assert (unknown.status_code, unknown.json()["errors"][0]["column"]) == (422, "colour")


def test_nothing_is_kept_of_a_file_that_is_refused(api: TestClient, service_env: Settings) -> None:
    problem = send(api, "text,id\ncard,1\n  ,2\npin,3\n,4\n", status=422)
    assert problem["type"] == "urn:gendistil:invalid-rows"
    assert [(error["row"], error["column"]) for error in problem["errors"]] == [(2, "text"), (4, "text")]
    assert send(api, "a=b", "application/x-www-form-urlencoded", 415)["type"] == "urn:gendistil:unsupported-format"
    cut_off = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\ntext\r\n'
    assert send(api, cut_off, "multipart/form-data; boundary=x", 400)["type"] == "urn:gendistil:malformed-multipart"
    assert api.get("/predictions").json()["items"] == []
    assert stored(service_env) == set()
    assert list((service_env.data_dir.resolve() / "uploads").glob("*")) == []


def test_limits_name_their_setting(api: TestClient, service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_env.limits, "bulk_max_rows", 3)
    assert send(api, csv_of(["a"] * 3))["progress"]["total"] == 3
    assert "GENDISTIL_LIMITS__BULK_MAX_ROWS" in send(api, csv_of(["a"] * 4), status=422)["detail"]
    monkeypatch.setattr(service_env.limits, "bulk_max_bytes", 10)
    assert "GENDISTIL_LIMITS__BULK_MAX_BYTES" in send(api, csv_of(["card"] * 2), status=413)["detail"]


@pytest.mark.parametrize(
    ("params", "status", "type"),
    [
        ({"student": "nobody"}, 404, "student-not-found"),
        ({"student": "triage:7"}, 404, "student-not-found"),
        ({"student": "a:b:c"}, 422, "invalid-request"),
        ({"top_k": 0}, 422, "invalid-request"),
        ({"min_score": 0.5, "min_precision": 0.9}, 422, "invalid-request"),
        ({"min_precision": 0.9}, 422, "no-threshold"),
        ({"colour": "red"}, 422, "invalid-request"),
    ],
)
def test_options_are_checked_before_the_file_is_read(api: TestClient, params: dict[str, object], status: int, type: str) -> None:
    assert send(api, b"PK\x03\x04", status=status, **params)["type"] == f"urn:gendistil:{type}"
    form = api.post("/predictions", files={"file": ("a.csv", "text\ncard\n")}, data={"student": "triage", **params})
    assert (form.status_code, form.json()["type"]) == (status, f"urn:gendistil:{type}")


def test_the_version_is_settled_when_the_file_is_sent(api: TestClient, publish: Publish) -> None:
    first = send(api, csv_of(TEXTS))
    publish(labels=["a", "b", "c"])
    second = send(api, csv_of(TEXTS))
    # Deleted, it is still there for what was sent before.
    assert api.delete("/students/triage/versions/1").status_code == 204
    assert api.post("/maintenance/gc").status_code == 200
    for sent, version, labels in ((first, 1, {"card", "money", "pin"}), (second, 2, {"a", "b", "c"})):
        run_bulk_prediction(sent["id"])
        assert read(api, sent["id"])["version"] == version
        assert {line["label"] for line in result(api, sent["id"])} <= labels


def test_an_idempotency_key_sends_a_file_once(api: TestClient, service_env: Settings) -> None:
    headers = {"Content-Type": "text/csv", "Idempotency-Key": "k1"}
    answers = [api.post("/predictions?student=triage", content=csv_of(TEXTS), headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert "idempotency-replayed" in answers[1].headers
    assert stored(service_env) == {answers[0].json()["id"]}
    other = api.post("/predictions?student=triage&top_k=2", content=csv_of(TEXTS), headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:gendistil:idempotency-key-reused")


def test_what_has_ended_can_be_deleted_and_gc_finds_what_is_left(api: TestClient, service_env: Settings) -> None:
    sent = [send(api, csv_of(TEXTS))["id"] for _ in range(3)]
    assert api.get("/predictions", params={"limit": 2}).json()["next_after"] == sent[1]
    assert [item["id"] for item in api.get("/predictions", params={"after": sent[1]}).json()["items"]] == [sent[0]]
    assert api.get("/predictions", params={"after": "x\0"}).status_code == 422
    assert api.get(f"/predictions/{sent[0]}/result").json()["type"] == "urn:gendistil:no-result"
    assert api.delete(f"/predictions/{sent[0]}").json()["type"] == "urn:gendistil:prediction-not-ended"
    for id in sent:
        run_bulk_prediction(id)
    assert api.post(f"/predictions/{sent[0]}/cancel").json()["type"] == "urn:gendistil:prediction-ended"
    assert api.delete(f"/predictions/{sent[0]}").status_code == 204
    for path in ("", "/result"):
        assert api.get(f"/predictions/{sent[0]}{path}").json()["type"] == "urn:gendistil:prediction-not-found"
    assert stored(service_env) == set(sent[1:])

    with transaction() as session:
        session.delete(session.get_one(BulkPrediction, sent[1]))
    then = time.time() - 2 * get_settings().gc_grace_seconds
    for path in Path(get_storage().root).rglob("*"):
        os.utime(path, (then, then))
    found = api.post("/maintenance/gc").json()
    assert found["bulk_predictions"]["names"] == [sent[1]]
    assert stored(service_env) == {sent[2]}


def test_a_damaged_result_is_told(api: TestClient) -> None:
    id = send(api, csv_of(TEXTS))["id"]
    run_bulk_prediction(id)
    part = get_storage().bulk_parts(id)[0].name
    get_storage().write_bulk_part(id, part, b"{}\n")
    answer = api.get(f"/predictions/{id}/result")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:gendistil:result-damaged")
