"""A job again without some of its texts: everything up to them is reused, and nothing is learned from those."""

import json
from typing import Any

import pytest

from app.config import Settings
from app.contracts.report import Report
from app.contracts.stages import JobStatus, Stage
from app.contracts.students import REPORT_FILE
from app.contracts.texts import SYNTHETIC_FILE
from app.jobs.again import distil_again
from app.jobs.schemas import DistilAgain
from app.storage import get_storage
from tests.workers.conftest import Submit
from tests.workers.jobs import read, run_all, run_of
from workers.training.transfer import TRANSFER_FILE

pytestmark = pytest.mark.usefixtures("in_this_process")


def made(job_id: str, stage: Stage, file: str) -> list[dict[str, Any]]:
    key = run_of(job_id, stage).artefact_key
    assert key is not None
    content = get_storage().read_verified(key, file).decode()
    return [json.loads(line) for line in content.split("\n") if line]


def verdicts(job_id: str) -> dict[str, int]:
    student = read(job_id).student
    assert student is not None
    return Report.model_validate_json(get_storage().read_verified(student.artefact_key, REPORT_FILE)).generated


def test_what_is_rejected_is_learned_from_no_more(service_env: Settings, submit: Submit) -> None:
    first = run_all(submit(distil={"student": "bag"}))
    assert first.status == JobStatus.SUCCEEDED, first.error
    texts = made(first.id, Stage.LABEL, SYNTHETIC_FILE)
    kept = [number for number, text in enumerate(texts, 1) if text["verdict"] == "kept"]

    def learned(job_id: str) -> list[str]:
        return [row["text"] for row in made(job_id, Stage.LABEL, TRANSFER_FILE) if row["part"] == "generated"]

    posted, replayed = distil_again(first.id, DistilAgain(rejected=[kept[3], kept[0]]))
    assert not replayed
    assert posted["spec"]["label"]["rejected"] == [kept[0], kept[3]]
    second = run_all(posted["id"])
    assert second.status == JobStatus.SUCCEEDED, second.error
    assert [run.stage for run in second.stages if run.reused] == ["finetune_teacher", "finetune_generator", "generate"]
    assert learned(second.id) == [texts[number - 1]["text"] for number in kept if number not in (kept[0], kept[3])]
    assert verdicts(second.id) == {**verdicts(first.id), "kept": len(kept) - 2, "rejected": 2}

    # The same ids mean the same texts in the new job, and what it did without is left out again.
    third = run_all(distil_again(second.id, DistilAgain(rejected=[kept[1]]))[0]["id"])
    assert third.spec["label"]["rejected"] == sorted([kept[0], kept[1], kept[3]])
    assert [text["text"] for text in made(third.id, Stage.LABEL, SYNTHETIC_FILE)] == [text["text"] for text in texts]
    assert learned(third.id) == [texts[number - 1]["text"] for number in kept if number not in (kept[0], kept[1], kept[3])]


def test_the_same_rejection_finds_its_transfer_set_again(service_env: Settings, submit: Submit) -> None:
    first = run_all(submit(distil={"student": "bag"}))
    kept = [number for number, text in enumerate(made(first.id, Stage.LABEL, SYNTHETIC_FILE), 1) if text["verdict"] == "kept"]
    again = [run_all(distil_again(first.id, DistilAgain(rejected=rejected))[0]["id"]) for rejected in (kept[:2], kept[1::-1])]
    assert [run.stage for run in again[1].stages if run.reused] == [stage.value for stage in Stage if stage != Stage.PUBLISH]
    assert run_of(again[0].id, Stage.LABEL).artefact_key == run_of(again[1].id, Stage.LABEL).artefact_key
