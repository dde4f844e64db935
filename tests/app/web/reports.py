"""Reports of jobs that never ran, whose figures follow from made-up answers."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from app.contracts.memorisation import Memorisation
from app.contracts.report import (
    CandidateScores,
    CurvePoint,
    Interval,
    ReliabilityBin,
    Report,
    ReportEntry,
    RiskPoint,
    ScoreQuality,
    ScoreReport,
)
from app.contracts.stages import Stage
from app.contracts.students import SelectivePoint
from app.database import transaction
from app.tables import Student
from tests.app.calls import accepted
from tests.app.jobs.transitions import finish_alone
from tests.app.predictions.conftest import student_manifest
from tests.app.storage.conftest import store_artefact

ROWS = 40
"""Held out of each label."""
NAMES = ("teacher", "student", "seed_only", "no_generation", "tfidf")


def around(value: float) -> Interval:
    return Interval(value=value, low=value - 0.03, high=value + 0.02)


def entry(name: str, labels: list[str], wrong: int) -> ReportEntry:
    """`wrong` rows of each label are answered with the next one."""
    count = len(labels)
    matrix = [[0] * count for _ in labels]
    for place in range(count):
        matrix[place][place] = ROWS - wrong
        matrix[place][(place + 1) % count] += wrong
    right = 1 - wrong / ROWS
    return ReportEntry(
        name=name,
        description=f"What {name} is.",
        accuracy=around(right),
        macro_f1=around(right),
        per_class_f1={label: right - 0.1 / (place + 1) for place, label in enumerate(labels)},
        confusion_matrix=matrix,
        agreement=0.95,
        parameters=22_000_000 if name == "teacher" else 1_000_000,
        bytes=90_000_000 if name == "teacher" else 1_500_000,
        latency_ms=0.2,
    )


def scores() -> CandidateScores:
    quality = ScoreQuality(ece=0.03, ece_by_chance=0.02, brier=0.1)
    bins = [ReliabilityBin(rows=20, score=place / 10, accuracy=place / 10 - 0.05) for place in range(4, 11)]
    risk = [RiskPoint(coverage=place / 20, risk=place**2 / 4000, score=1 - place / 25) for place in range(1, 21)]
    return CandidateScores(temperature=1.2, before=quality, after=quality, reliability=bins, aurc=0.02, risk_coverage=risk)


def made_up(labels: list[str], **changes: Any) -> Report:
    """As the last stage writes it. `changes`: fields of it."""
    points = [SelectivePoint(precision=0.95, threshold=0.81, coverage=0.785, holdout_precision=0.96)]
    report = Report(
        labels=labels,
        holdout_rows=ROWS * len(labels),
        holdout_source="split",
        entries=[entry(name, labels, wrong) for name, wrong in zip(NAMES, (2, 4, 6, 5, 9), strict=True)],
        generated={"kept": 1200, "near_duplicate": 300},
        memorisation=Memorisation(
            generated=1500,
            exact_copies=12,
            near_copies=34,
            shared_runs=0,
            max_shared_words=None,
            kept=1200,
            kept_with_run=5,
            run_words=8,
            longest_kept_run=11,
        ),
        generation_gain=Interval(value=0.025, low=0.01, high=0.04),
        verdict="Generation helped: 1200 generated texts changed the student by +2.5 points.",
        scores=ScoreReport(teacher=scores(), student=scores(), published_temperature=1.2, selective=points),
        curve=[CurvePoint(texts=count, accuracy=around(share), macro_f1=around(share)) for count, share in ((0, 0.875), (1200, 0.9))],
        warnings=[],
    )
    return report.model_copy(update=changes)


def reported(api: TestClient, folder: Path, report: Report) -> str:
    """The id of a job that has published with this report."""
    job_id = str(accepted(api)["id"])
    for stage in Stage:
        if stage != Stage.PUBLISH:
            finish_alone(job_id, stage, f"{stage.value}-key")
    store_artefact(folder / "publish", "publish-key", {"report.json": report.model_dump_json().encode()}, Stage.PUBLISH)
    finish_alone(job_id, Stage.PUBLISH, "publish-key")
    precisions = {
        name: {"bytes": count, "accuracy_difference": lost, "agreement": 0.99, "max_abs_logit_difference": 0.1}
        for name, count, lost in (("fp32", 4_800_000, 0.0), ("fp16", 2_600_000, 0.001), ("int8", 1_500_000, -0.002))
    }
    manifest = {**student_manifest(report.labels).model_dump(mode="json"), "precision": "int8", "precisions": precisions}
    with transaction() as session:
        session.query(Student).filter_by(artefact_key="publish-key").update({"manifest": manifest})
    return job_id
