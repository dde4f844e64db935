"""After everything was deleted and garbage collected, a word of the rows is in no file of the data folder and in no table."""

import json
import os
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.stages import JobStatus
from app.database import get_engine, transaction
from app.datasets.service import get_dataset
from app.jobs.service import create_job
from app.storage import get_storage
from app.tables import Base, OpenAiFile
from tests.workers.jobs import run_all
from tests.workers.tiny import make_rows, tiny_spec
from workers.bulk import run_bulk_prediction

pytestmark = pytest.mark.usefixtures("in_this_process")
WORD = "quokkaburrow"
ROWS = [{"text": f"{row.text} {WORD}", "label": row.label} for row in make_rows(20)]
QUICK: dict[str, dict[str, Any]] = {
    "teacher": {"epochs": 2, "refit_epochs": 1},
    "generator": {"epochs": 2},
    "generate": {"texts": 8, "max_attempts": 10},
    "distil": {"student": "bag", "epochs": 1, "refit_epochs": 1, "min_steps": 5},
}


def files_with(folder: Path, parts: list[bytes]) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix() for path in files if any(part in path.read_bytes() for part in parts)}


def tables_with(word: str) -> set[str]:
    with transaction() as session:
        return {table.name for table in Base.metadata.sorted_tables if any(word in repr(row) for row in session.execute(select(table)))}


def make_older(folder: Path) -> None:
    then = time.time() - 7200
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def test_nothing_of_deleted_rows_is_left(
    service_env: Settings, client: TestClient, teacher_model: Path, generator_model: Path, tmp_path: Path
) -> None:
    data = service_env.data_dir.resolve()
    posted = client.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": "one"}).json()
    ids: list[str] = []
    with transaction() as session:
        for texts in ({}, {"model": str(tmp_path / "no-such-folder")}):  # the second fails, and leaves behind what it found
            spec = tiny_spec(teacher_model, generator_model, **{**QUICK, "teacher": {**QUICK["teacher"], **texts}})
            dataset = get_dataset(session, posted["id"])
            ids.append(create_job(session, name="triage", dataset=dataset, preset="fast", spec=spec, replace_dataset=False).id)
    assert [run_all(id).status for id in ids] == [JobStatus.SUCCEEDED, JobStatus.FAILED]
    (tmp_path / "state").write_text(WORD)
    get_storage().write_checkpoint("of-an-attempt-that-was-killed", tmp_path / "state")
    # Told as events, whatever the generator wrote.
    with transaction() as session:
        session.execute(Base.metadata.tables["events"].insert(), {"job_id": ids[0], "type": "sample", "message": WORD * 500, "data": {}})

    texts = "text\n" + "".join(f"{row['text']}\n" for row in ROWS)
    sent = client.post("/predictions", content=texts, headers={"Content-Type": "text/csv"}, params={"student": "triage"}).json()
    run_bulk_prediction(sent["id"])
    assert WORD in client.get(f"/predictions/{sent['id']}/result").text
    client.post("/predict", json={"student": "triage", "inputs": WORD})
    lines = "".join(
        json.dumps({"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["label"]}]}) + "\n"
        for row in ROWS
    )
    upload = client.post("/v1/files", files={"file": ("rows.jsonl", lines.encode())}, data={"purpose": "fine-tune"})
    assert upload.status_code == 200, upload.text
    with transaction() as session:
        packed = session.scalars(select(OpenAiFile.content)).one()
    assert WORD.encode() in zlib.decompress(packed)
    wanted = [WORD.encode(), packed[40:80]]
    assert {"events"} <= tables_with(WORD)
    before = files_with(data, wanted)
    assert {name.split("/")[1] for name in before if name.startswith("blobs/")} == {"artefacts", "bulk", "checkpoints", "datasets"}
    assert any(name.startswith("gendistil.db") for name in before)

    for path in ("/students/triage", f"/predictions/{sent['id']}", *(f"/jobs/{id}" for id in ids), f"/datasets/{posted['id']}"):
        answer = client.delete(path)
        assert answer.status_code == 204, (path, answer.text)
    assert client.delete(f"/v1/files/{upload.json()['id']}").status_code == 200
    make_older(data / "blobs")
    assert client.post("/maintenance/gc").json()["log_emptied"]
    assert tables_with(WORD) == set()
    assert files_with(data, wanted) == set()
    # The same request is a new one: nothing remembers the deleted dataset.
    assert client.post("/datasets", json={"rows": ROWS}, headers={"Idempotency-Key": "one"}).json()["id"] != posted["id"]


def test_sqlite_overwrites_what_it_deletes(service_env: Settings) -> None:
    with get_engine().connect() as connection:
        assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
