"""A teacher that answers for its student: a tiny real job's artefacts, a real Redis, the API, and a worker in a thread or a process."""

import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from starlette.testclient import TestClient

from app.config import Settings
from app.contracts.artefacts import MANIFEST, ArtefactManifest
from app.contracts.cascade import Ask, answer_key, asks_key, presence_key
from app.contracts.report import Report
from app.contracts.spec import JobSpec
from app.contracts.stages import Stage
from app.contracts.students import REPORT_FILE, STUDENT_MANIFEST_FILE, StudentManifest
from app.ownership import in_project
from app.storage import BlobStore, get_storage
from tests.app.storage.conftest import manifest_of
from tests.app.students.published import register
from tests.e2e.service import process
from tests.waiting import wait_for
from tests.workers.conftest import StageResult
from tests.workers.pipeline.test_finetune_teacher import logits_of
from tests.workers.tiny import make_rows
from workers import teacher as worker
from workers.pipeline.finetune_teacher import TeacherMetrics
from workers.pipeline.label import LabelMetrics
from workers.pipeline.publish import PublishMetrics
from workers.teacher import TeacherWorker
from workers.teacher_models import NoTeacher, TeacherLoader
from workers.training.calibration import softmax
from workers.training.split import Lineage
from workers.training.transfer import Part, read_transfer

STUDENT, TEACHER, LABEL = "key-student", "key-teacher", "key-label"
TEXTS = [row.text for row in make_rows(4, seed=7)]
Started = Callable[..., threading.Event]


def store(storage: BlobStore, folder: Path, copy: Path, key: str, stage: Stage, **changes: Any) -> ArtefactManifest:
    shutil.copytree(folder, copy)
    (copy / MANIFEST).unlink(missing_ok=True)  # where it is another artefact's folder
    names = [str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()]
    return storage.publish(copy, manifest_of(copy, names, key, stage).model_copy(update=changes))


@pytest.fixture
def triage(
    service_env: Settings,
    tmp_path: Path,
    spec: JobSpec,
    teacher: StageResult[TeacherMetrics],
    labelled: StageResult[LabelMetrics],
    published: StageResult[PublishMetrics],
    monkeypatch: pytest.MonkeyPatch,
) -> StudentManifest:
    """`triage:1`, whose job's artefacts are in the service's store."""
    monkeypatch.setattr(service_env.serving, "escalate_seconds", 60.0)
    storage = get_storage()
    store(storage, teacher.folder, tmp_path / "a", TEACHER, Stage.FINETUNE_TEACHER, spec={"teacher": spec.teacher.model_dump(mode="json")})
    store(storage, labelled.folder, tmp_path / "b", LABEL, Stage.LABEL)
    inputs = {Stage.FINETUNE_TEACHER: TEACHER, Stage.LABEL: LABEL}
    store(storage, published.folder, tmp_path / "c", STUDENT, Stage.PUBLISH, inputs=inputs)
    manifest = StudentManifest.model_validate_json((published.folder / STUDENT_MANIFEST_FILE).read_bytes())
    assert register("triage", "job_1", STUDENT, manifest.model_dump(mode="json"), dict.fromkeys(manifest.labels, 30)) == 1
    return manifest


@pytest.fixture
def broker(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connection:
        yield connection


@pytest.fixture
def start(service_env: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Starts a worker for these references; returns what ends it."""
    monkeypatch.setattr(worker, "FOLLOW_SECONDS", 0.05)
    running: list[tuple[threading.Event, threading.Thread]] = []

    def started(*references: str) -> threading.Event:
        stop = threading.Event()
        thread = threading.Thread(target=TeacherWorker(references, get_storage(), service_env.redis_url).run, args=(stop,))
        thread.start()
        running.append((stop, thread))
        return stop

    yield started
    for stop, thread in running:
        stop.set()
        thread.join()


def await_present(broker: redis.Redis, student: str = STUDENT, present: bool = True) -> None:
    wait_for(lambda: bool(broker.exists(presence_key(student))) == present, what=f"{student} {'there' if present else 'gone'}")


def escalated(client: TestClient, texts: list[str], **changes: Any) -> list[dict[str, Any]]:
    """No score reaches 1, so the student abstains from every text."""
    answer = client.post("/predict", json={"student": "triage", "inputs": texts, "min_score": 1, "escalate": True, "top_k": 9, **changes})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


def own_scores(teacher: StageResult[TeacherMetrics], texts: list[str]) -> np.ndarray:
    """The published teacher's, as it was trained, at the temperature that a worker finds for it."""
    temperature = TeacherLoader(get_storage()).load(STUDENT).temperature
    return softmax(logits_of(teacher.folder / Lineage.PUBLISHED, texts).double().numpy(), temperature)


def check_answers(found: list[dict[str, Any]], expected: np.ndarray, labels: list[str]) -> None:
    assert len(found) == len(expected)
    for prediction, row in zip(found, expected, strict=True):
        assert (prediction["answered_by"], prediction["abstained"]) == ("teacher", False)
        assert prediction["label"] == labels[row.argmax()]
        scores = {entry["label"]: entry["score"] for entry in prediction["scores"]}
        assert [scores[label] for label in labels] == pytest.approx(row.tolist(), abs=1e-5)


def test_an_escalated_answer_is_the_teachers_own(
    triage: StudentManifest, client: TestClient, broker: redis.Redis, start: Started, teacher: StageResult[TeacherMetrics]
) -> None:
    students = client.post("/predict", json={"student": "triage", "inputs": TEXTS, "min_score": 1}).json()["predictions"]
    assert all(found["abstained"] for found in students)
    assert escalated(client, TEXTS) == escalated(client, TEXTS, escalate=False)  # nobody is there yet
    start("triage")
    await_present(broker)
    expected = own_scores(teacher, TEXTS)
    found = escalated(client, TEXTS)
    check_answers(found, expected, triage.labels)
    assert [place["score"] for place in found] != pytest.approx([place["score"] for place in students], abs=1e-3)


def test_many_callers_at_once_get_each_their_own(
    triage: StudentManifest, client: TestClient, broker: redis.Redis, start: Started, teacher: StageResult[TeacherMetrics]
) -> None:
    start("triage")
    await_present(broker)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda text: escalated(client, [text])[0], TEXTS * 2))
    check_answers(answers, own_scores(teacher, TEXTS * 2), triage.labels)


def test_what_waits_is_answered_together_and_what_nobody_waits_for_is_not(
    triage: StudentManifest, broker: redis.Redis, start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[str]] = []
    answer = TeacherWorker._answer

    def noted(self: TeacherWorker, stand_in: Any, asks: list[Ask]) -> None:
        batches.append([ask.id for ask in asks])
        answer(self, stand_in, asks)

    monkeypatch.setattr(TeacherWorker, "_answer", noted)
    now = broker.time()[0]
    asks = [Ask(id=f"ask-{number}", texts=[text], until=now + 600 - 1200 * (number == 2)) for number, text in enumerate(TEXTS[:4])]
    broker.rpush(asks_key(STUDENT), "no JSON", *[ask.model_dump_json() for ask in asks])
    start("triage")
    for place in (0, 1, 3):
        _, content = broker.blpop([answer_key(f"ask-{place}")], timeout=120)
        assert len(content) == 8 * len(triage.labels)
    assert batches == [["ask-0", "ask-1", "ask-3"]]
    assert not broker.exists(answer_key("ask-2"))


def test_one_that_cannot_be_answered_is_told_so_and_the_next_is_answered(
    triage: StudentManifest, client: TestClient, broker: redis.Redis, start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("triage")
    await_present(broker)
    until = broker.time()[0] + 600
    # No text that the API would send, and none that a tokenizer reads: it ends as a device without memory does.
    broker.rpush(asks_key(STUDENT), Ask(id="bad", texts=[], until=until).model_dump_json())
    assert broker.blpop([answer_key("bad")], timeout=120)[1] == b""
    assert escalated(client, TEXTS[:1])[0]["answered_by"] == "teacher"


def test_the_published_teacher_is_as_certain_as_the_measured_one(triage: StudentManifest, labelled: StageResult[LabelMetrics]) -> None:
    """Its temperature is not fitted on the holdout, which it has learned from, but on generated texts."""
    report = Report.model_validate_json(get_storage().read_verified(STUDENT, REPORT_FILE))
    assert report.refit
    assert report.scores is not None
    stand_in = TeacherLoader(get_storage()).load(STUDENT)
    assert stand_in.labels == triage.labels
    certain = {
        lineage: softmax(read_transfer(labelled.folder, triage.labels, lineage)[Part.GENERATED].logits.double().numpy(), temperature)
        for lineage, temperature in ((Lineage.MEASURED, report.scores.teacher.temperature), (Lineage.PUBLISHED, stand_in.temperature))
    }
    assert certain[Lineage.PUBLISHED].max(1).mean() == pytest.approx(certain[Lineage.MEASURED].max(1).mean(), abs=1e-3)


def test_students_of_one_teacher_share_its_network(triage: StudentManifest, tmp_path: Path) -> None:
    storage = get_storage()
    first = storage.manifest(STUDENT)
    assert first is not None
    store(storage, storage.fetch(STUDENT), tmp_path / "d", "key-second", Stage.PUBLISH, inputs=first.inputs)
    loader = TeacherLoader(storage)
    one, other = loader.load(STUDENT), loader.load("key-second")
    assert one.network is other.network
    loader.keep([])
    assert loader.load(STUDENT).network is not one.network


def test_one_without_a_teacher_or_with_another_ones_is_not_answered_for(triage: StudentManifest, tmp_path: Path) -> None:
    storage, loader = get_storage(), TeacherLoader(get_storage())
    store(storage, storage.fetch(STUDENT), tmp_path / "d", "imported", Stage.PUBLISH)
    with pytest.raises(NoTeacher, match="imported"):
        loader.load("imported")
    with pytest.raises(NoTeacher, match="gone"):
        loader.load("never-there")
    first = storage.manifest(STUDENT)
    assert first is not None
    shutil.copytree(storage.fetch(STUDENT), tmp_path / "edited")
    report = Report.model_validate_json((tmp_path / "edited" / REPORT_FILE).read_bytes())
    (tmp_path / "edited" / REPORT_FILE).write_text(report.model_copy(update={"labels": report.labels[:2]}).model_dump_json())
    store(storage, tmp_path / "edited", tmp_path / "e", "other", Stage.PUBLISH, inputs=first.inputs)
    with pytest.raises(ValueError, match="3 labels, and it has 2"):
        loader.load("other")


def test_it_follows_a_name_to_its_new_version_and_takes_its_leave(
    triage: StudentManifest, client: TestClient, broker: redis.Redis, start: Started, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = start("triage", "unheard-of")
    await_present(broker)
    storage = get_storage()
    first = storage.manifest(STUDENT)
    assert first is not None
    store(storage, storage.fetch(STUDENT), tmp_path / "d", "key-second", Stage.PUBLISH, inputs=first.inputs)
    register("triage", "job_2", "key-second", triage.model_dump(mode="json"), {})
    client.put("/students/triage/aliases/latest", json={"version": 2})
    await_present(broker, "key-second")
    await_present(broker, STUDENT, present=False)
    assert escalated(client, TEXTS[:1])[0]["answered_by"] == "teacher"
    assert escalated(client, TEXTS[:1], student="triage:1")[0]["answered_by"] == "student"
    assert len([record for record in caplog.records if "unheard-of" in record.getMessage()]) == 1
    stop.set()
    await_present(broker, "key-second", present=False)


def test_a_students_name_behind_its_project(triage: StudentManifest, broker: redis.Redis, start: Started, tmp_path: Path) -> None:
    storage = get_storage()
    first = storage.manifest(STUDENT)
    assert first is not None
    store(storage, storage.fetch(STUDENT), tmp_path / "d", "key-support", Stage.PUBLISH, inputs=first.inputs)
    with in_project("support"):
        register("urgent", "job_2", "key-support", triage.model_dump(mode="json"), {})
    start("urgent", "support/urgent")
    await_present(broker, "key-support")


def test_a_process_of_its_own_answers_until_it_is_told_to_stop(
    triage: StudentManifest, client: TestClient, broker: redis.Redis, tmp_path: Path, teacher: StageResult[TeacherMetrics]
) -> None:
    log = tmp_path / "log"
    log.mkdir()
    command = [sys.executable, "-m", "workers.teacher", "--students", "triage"]
    with process(command, log / "teacher.log", {"PYTHONPATH": str(Path(__file__).parents[2])}) as running:
        await_present(broker)
        check_answers(escalated(client, TEXTS), own_scores(teacher, TEXTS), triage.labels)
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    assert not broker.exists(presence_key(STUDENT))
    assert TEXTS[0] not in (log / "teacher.log").read_text()
