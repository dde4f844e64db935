"""Every route, asked by schemathesis with what our own OpenAPI allows and with what it does not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.schemas import KeyIn
from app.access.service import create_key
from app.contracts.report import Interval, Report
from app.contracts.stages import Stage
from app.contracts.students import ONNX_FILE, REPORT_FILE, STUDENT_MANIFEST_FILE, TOKENIZER_FILE
from app.database import transaction
from app.tables import Student
from tests.app.jobs.texts import label_texts, text
from tests.app.jobs.transitions import finish_alone
from tests.app.predictions.conftest import LABELS, onnx_model, student_manifest, tokenizer_json
from tests.app.storage.conftest import store_artefact
from tests.app.students.published import register
from tests.gendistil.conftest import keyed_url
from workers.bulk import run_bulk_prediction

__all__ = ["keyed_url"]

Json = dict[str, Any]
HERE = Path(__file__).parent
ROWS = [{"text": f"{label} text number {number}", "label": label} for label in ("a", "b") for number in range(6)]


def store_with_report(folder: Path, key: str) -> Json:
    """An artefact as the last stage leaves it; returns the student's manifest."""
    gain = Interval(value=0.02, low=0.0, high=0.04)
    measured: Json = {"holdout_rows": 4, "holdout_source": "split", "entries": [], "generated": {"kept": 30}}
    report = Report(labels=LABELS, generation_gain=gain, verdict="It helped.", **measured)
    manifest = student_manifest()
    files = {ONNX_FILE: onnx_model(), TOKENIZER_FILE: tokenizer_json().encode()}
    described = {STUDENT_MANIFEST_FILE: manifest.model_dump_json().encode(), REPORT_FILE: report.model_dump_json().encode()}
    store_artefact(folder / key, key, files | described, Stage.PUBLISH)
    return manifest.model_dump(mode="json")


def succeed(job_id: str, folder: Path) -> None:
    """The job has made texts and a student with its report."""
    label_texts(job_id, [text(f"text {number}", a=0.9) for number in range(30)], folder)
    manifest = store_with_report(folder, "publish-key")
    finish_alone(job_id, Stage.PUBLISH, "publish-key")
    with transaction() as session:
        session.query(Student).filter_by(artefact_key="publish-key").update({"manifest": manifest})


@pytest.fixture
def key(keyed_url: str) -> str:
    """May do everything."""
    with transaction() as session:
        return create_key(session, KeyIn(name="fuzz", scopes=["operator"])).key


@pytest.fixture
def known(keyed_url: str, key: str, tmp_path: Path) -> Path:
    """A folder with what schemathesis is to know of the service: the ids of what is there, and a bundle."""
    for name in ("triage", "spare", "doomed1", "doomed2", "doomed3"):
        for number in range(3):
            artefact = f"{name}-{number}"
            register(name, f"job_{artefact}", artefact, store_with_report(tmp_path, artefact), dict.fromkeys(LABELS, 5))
    # The server closes a connection that is idle for seconds, which a busy machine takes for what stands between two calls.
    unkept = httpx.Limits(max_keepalive_connections=0)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=keyed_url, timeout=60, limits=unkept, trust_env=False, headers=headers) as client:
        posted = [client.post("/jobs", json={"name": f"name{number}", "dataset": {"rows": ROWS}}).json() for number in range(9)]
        ids = [job["id"] for job in posted]
        succeed(ids[0], tmp_path)
        for job_id in ids[2:]:
            assert client.post(f"/jobs/{job_id}/cancel").status_code == 202
        for name, version in (("triage", 1), ("triage", 2), ("spare", 1), ("spare", 2)):
            for route in ("aliases/old", "shadow"):
                assert client.put(f"/students/{name}/{route}", json={"version": version}).status_code == 200
        unused = client.post("/datasets", json={"rows": ROWS[:-1]}).json()["id"]
        file = {"content": "text\nmy card\n", "params": {"student": "triage"}, "headers": {"Content-Type": "text/csv"}}
        sent = [client.post("/predictions", **file).json()["id"] for _ in range(5)]
        for prediction_id in sent[1:]:
            run_bulk_prediction(prediction_id)
        bundle = client.get("/students/name0/download").content
        webhooks = [client.post("/webhooks", json={"url": "https://93.184.216.34/hook"}).json()["id"] for _ in range(4)]
        keys = [client.post("/keys", json={"name": f"key {number}", "scopes": ["read"]}).json()["id"] for number in range(3)]
        for project in ("support", "spare"):
            assert client.post("/projects", json={"id": project}).status_code == 201
        delivery = client.post(f"/webhooks/{webhooks[0]}/test").json()["id"]
        lines = "".join(f"{json.dumps(row)}\n" for row in ROWS)
        files = [client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": lines}).json()["id"] for _ in range(3)]
        wanted = {"model": "fast", "training_file": files[0], "suffix": "v1"}
        tuned = [client.post("/v1/fine_tuning/jobs", json=wanted).json()["id"] for _ in range(2)]
    dictionaries = {
        "jobs": ids[:3],
        "doomed_jobs": ids[3:],
        "predictions": sent[:2],
        "doomed_predictions": sent[2:],
        "openai_files": files,
        "openai_jobs": tuned,
        "datasets": ["ds_1", posted[0]["dataset_id"], unused],
        "webhooks": webhooks[:2],
        "doomed_webhooks": webhooks[2:],
        "deliveries": [delivery],
        "keys": keys,
    }
    for name, values in dictionaries.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{json.dumps(value)}\n" for value in values))
    (tmp_path / "bundle.zip").write_bytes(bundle)
    for name in ("schemathesis.toml", "hooks.py"):
        shutil.copy(HERE / name, tmp_path)
    return tmp_path


def test_no_answer_is_a_server_error_or_undocumented(keyed_url: str, key: str, known: Path) -> None:
    """Each route is asked without its key too. More of it: `make fuzz`, with options for schemathesis in FUZZ."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{keyed_url}/openapi.json", "--no-color"]
    command += ["--header", f"Authorization: Bearer {key}"]
    options = os.environ.get("FUZZ", "").split()
    assert subprocess.run([*command, *options], cwd=known).returncode == 0, (known / "api.log").read_text()[-5000:]
