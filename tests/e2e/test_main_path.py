"""From rows to predictions as a user goes: `gendistil up`, real rows of the bundled example, the real embedded weights, tiny numbers."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import BIN, STAGES, Json, Stream, all_events, banking, client, follow, ok, process, ready, stage_of, succeeded
from tests.servers import free_port
from tests.waiting import wait_for

LABELS = ["card_arrival", "card_payment_fee_charged", "transfer_timing"]
UNITS = dict(zip(STAGES, ["epochs", "epochs", "texts", "texts", "epochs", "rows"], strict=True))
SPEC: Json = {
    "teacher": {"epochs": 2, "batch_size": 8},
    "generator": {"epochs": 1},
    "generate": {"texts": 12, "batch_size": 12, "max_new_tokens": 24},
    "distil": {"student": "cnn", "epochs": 3, "min_steps": 40},
    "publish": {"bootstrap_samples": 100},
}
INPUTS = ["When will my new card arrive?", "Why was I charged a fee for paying by card?", "How long does a transfer take?", "card"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200), pytest.mark.usefixtures("clean_settings")]


@contextmanager
def up(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [str(BIN / "gendistil"), "up", "--port", str(port), "--data-dir", str(tmp_path / "data")]
    with process(command, tmp_path / "up.log") as running, client(url) as api:
        wait_for(lambda: ready(url) or running.poll() is not None, 120, "ready")
        assert running.poll() is None, (tmp_path / "up.log").read_text()
        yield running, api


def test_rows_become_a_student_that_a_restart_leaves_as_it_was(tmp_path: Path) -> None:
    with up(tmp_path) as (service, api):
        first = check_first_job(api)
        check_outputs(api, first)
        before = check_predictions(api)

        second = post(api, student="bag")
        stream = Stream(api, second["id"])
        follow(api, second["id"], lambda job: stage_of(job, "distil")["status"] == "running", 120)
        asked = time.monotonic()
        service.send_signal(signal.SIGINT)
        assert service.wait(60) == 0, (tmp_path / "up.log").read_text()
        # An open stream must not hold the service: it ends at once, and its reader comes again.
        assert time.monotonic() - asked < 20
        assert "killed" not in (tmp_path / "up.log").read_text()
        last_seen = stream.read()[-1]

    with up(tmp_path) as (_service, api):
        assert predict(api, "tiny:1", INPUTS) == before
        # It goes on as soon as the worker is there, though its message was lost with the embedded Redis.
        follow(api, second["id"], lambda job: stage_of(job, "distil")["status"] == "running", 45)
        rest = Stream(api, second["id"], str(last_seen["id"]))
        second = follow(api, second["id"], succeeded, 400)[-1]
        assert {stage["name"]: stage["reused"] for stage in second["stages"]} == {name: name in STAGES[:4] for name in STAGES}
        assert stage_of(second, "distil")["attempt"] == 1  # to stop a worker counts for no failed attempt
        types = [event["type"] for event in rest.read()]
        assert types[0] == "stage_released"
        assert types[-1] == "job_succeeded"
        assert second["student"] == {"name": "tiny", "version": 2}
        assert predict(api, "tiny", INPUTS)["version"] == 2
        assert predict(api, "tiny:1", INPUTS) == before


def post(api: httpx.Client, **distil: object) -> Json:
    body = {"name": "tiny", "dataset": banking(LABELS, 12, 4), "spec": {**SPEC, "distil": {**SPEC["distil"], **distil}}}
    answer = api.post("/jobs", json=body)
    job = ok(answer, 202)
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) > 0
    return job


def check_first_job(api: httpx.Client) -> Json:
    job = post(api)
    assert job["status"] in {"queued", "running"}
    assert [stage["name"] for stage in job["stages"]] == STAGES
    assert (job["student"], job["error"], job["warnings"]) == (None, None, [])
    stream = Stream(api, job["id"])
    seen = follow(api, job["id"], succeeded, 600)
    assert "running" in {state["status"] for state in seen}
    for state in seen:
        for stage in state["stages"]:
            assert 0 <= stage["progress"]["done"] <= stage["progress"]["total"]
            assert stage["progress"]["unit"] == UNITS[stage["name"]]
            assert (stage["seconds"] is None) == (stage["status"] in {"pending", "queued"})
        # Honest once a stage has shown how fast this machine is.
        assert state["eta_seconds"] is not None or state["stages"][0]["status"] != "succeeded"
    done = seen[-1]
    assert all(stage["status"] == "succeeded" and not stage["reused"] and stage["attempt"] == 1 for stage in done["stages"])
    assert all(stage["progress"]["done"] == stage["progress"]["total"] > 0 for stage in done["stages"])
    assert done["student"] == {"name": "tiny", "version": 1}
    assert done["eta_seconds"] == 0

    events = all_events(api, job["id"])
    assert stream.read() == events
    assert [event["type"] for event in events][-2:] == ["stage_succeeded", "job_succeeded"]
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)
    assert [event["stage"] for event in events if event["type"] == "stage_succeeded"] == sorted(
        STAGES, key=[event["stage"] for event in events if event["type"] == "stage_started"].index
    )
    return done


def check_outputs(api: httpx.Client, job: Json) -> None:
    report = ok(api.get(f"/jobs/{job['id']}/report"))
    assert report["labels"] == LABELS
    assert (report["holdout_rows"], report["holdout_source"]) == (12, "test")
    entries = {entry["name"]: entry for entry in report["entries"]}
    assert list(entries) == ["teacher", "student", "seed_only", "no_generation", "tfidf"]
    for entry in entries.values():
        assert [sum(row) for row in entry["confusion_matrix"]] == [4, 4, 4]
        assert 0 <= entry["accuracy"]["low"] <= entry["accuracy"]["value"] <= entry["accuracy"]["high"] <= 1
    assert entries["student"]["parameters"] <= 1_120_000 < entries["teacher"]["parameters"]
    assert entries["student"]["bytes"] < 5_000_000
    assert re.search(r"points of accuracy", report["verdict"])

    texts = [json.loads(line) for line in api.get(f"/jobs/{job['id']}/synthetic", headers={"Accept": "application/x-ndjson"}).iter_lines()]
    assert len(texts) == sum(report["generated"].values()) >= 12
    kept = ok(api.get(f"/jobs/{job['id']}/synthetic", params={"verdict": "kept"}))["items"]
    assert len(kept) == report["generated"]["kept"] > 0
    for text in kept:
        assert set(text["probabilities"]) == set(LABELS)
        assert sum(text["probabilities"].values()) == pytest.approx(1, abs=1e-3)

    (version,) = ok(api.get("/students/tiny"))["versions"]
    assert (version["version"], version["kind"], version["labels"], version["job_id"]) == (1, "cnn", LABELS, job["id"])
    assert version["metrics"]["accuracy"] == entries["student"]["accuracy"]["value"]


def predict(api: httpx.Client, student: str, inputs: list[str] | str) -> Json:
    return ok(api.post("/predict", json={"student": student, "inputs": inputs, "top_k": len(LABELS)}))


def check_predictions(api: httpx.Client) -> Json:
    answer = predict(api, "tiny", INPUTS)
    assert (answer["student"], answer["version"], len(answer["predictions"])) == ("tiny", 1, len(INPUTS))
    for text, prediction in zip(INPUTS, answer["predictions"], strict=True):
        scores = {score["label"]: score["score"] for score in prediction["scores"]}
        assert set(scores) == set(LABELS)
        assert sum(scores.values()) == pytest.approx(1)
        assert (prediction["label"], prediction["score"]) == max(scores.items(), key=lambda item: item[1])
        # In the order of the inputs: each text alone gets the answer that stands in its place.
        (alone,) = predict(api, "tiny@latest", text)["predictions"]
        assert {score["label"]: score["score"] for score in alone["scores"]} == pytest.approx(scores, abs=1e-5)
    return answer
