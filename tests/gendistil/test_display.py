"""The live view and the tables, rendered from jobs as the service answers them."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gendistil.display import PLAIN_SECONDS, JobDisplay
from gendistil.figures import duration
from gendistil.models import Job, JobEstimate, Predictions, Report
from gendistil.tables import estimate_table, predictions_table, report_table

STAGES = ["finetune_teacher", "finetune_generator", "generate", "label", "distil", "publish"]


def job(status: str, *states: tuple[str, float, float, str, float | None], **fields: object) -> Job:
    """A job with the given (status, done, total, unit, seconds) of its first stages; the others are pending."""
    rest = [("pending", 0.0, 0.0, "texts", None)] * (len(STAGES) - len(states))
    stages = [
        {
            "name": name,
            "status": state,
            "progress": {"done": done, "total": total, "unit": unit},
            "seconds": seconds,
            "attempt": 1,
            "reused": False,
        }
        for name, (state, done, total, unit, seconds) in zip(STAGES, [*states, *rest], strict=True)
    ]
    return Job.model_validate({"id": "job_1", "name": "triage", "status": status, "stages": stages, "a_new_field": 1, **fields})


def plain(width: int = 100) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=width, force_terminal=False), output


@pytest.mark.parametrize(("past", "told"), [
    (0, "two CPU cores; no job has ended here yet."), (1, "the last job on this service."), (3, "the last 3 jobs on this service."),
])  # fmt: skip
def test_an_estimate_says_what_its_times_go_by(past: int, told: str) -> None:
    console, output = plain()
    totals = {"seconds": 1.0, "peak_bytes": 1, "artefact_bytes": 1}
    console.print(estimate_table(JobEstimate.model_validate({"name": "triage", "stages": [], "totals": totals, "past_jobs": past})))
    assert f"Times are those of {told}" in output.getvalue()


def test_a_pipe_gets_a_line_for_each_change_and_nothing_twice() -> None:
    console, output = plain()
    with JobDisplay(console, clock=lambda: 0.0) as display:
        for state in (
            job("queued", ("queued", 0, 0, "epochs", None)),
            job("running", ("running", 0, 8, "epochs", 0.2), eta_seconds=185.0),
            job("running", ("running", 1, 8, "epochs", 3.0), eta_seconds=170.0),
            job("running", ("succeeded", 8, 8, "epochs", 42.0), ("running", 1, 2, "epochs", 1.0)),
            job("succeeded", ("succeeded", 8, 8, "epochs", 42.0), student={"name": "triage", "version": 3}),
        ):
            display.update(state)
    lines = output.getvalue().splitlines()
    assert lines[0] == "Job job_1 'triage': queued"
    assert [line.split() for line in lines if "finetune_teacher" in line] == [
        ["finetune_teacher", "queued"],
        ["finetune_teacher", "running", "0/8", "epochs", "0.2", "s", "about", "3", "min", "05", "s", "left"],
        ["finetune_teacher", "succeeded", "8/8", "epochs", "42", "s"],
    ]
    assert lines[-1] == "Job job_1 'triage': succeeded, published as triage:3"
    assert "\x1b" not in output.getvalue()


def test_a_pipe_sees_a_long_stage_move() -> None:
    console, output = plain()
    now = 0.0
    with JobDisplay(console, clock=lambda: now) as display:
        for step in range(5):
            now = step * PLAIN_SECONDS / 2
            display.update(job("running", ("running", step, 8, "epochs", now)))
    shown = [line.split()[2] for line in output.getvalue().splitlines() if "finetune_teacher" in line]
    assert shown == ["0/8", "2/8", "4/8"]


def test_a_retried_stage_shows_its_attempt() -> None:
    console, output = plain()
    with JobDisplay(console) as display:
        display.update(job("running", ("running", 1, 8, "epochs", 3.0)))
        again = job("running", ("running", 0, 8, "epochs", 0.1)).model_dump()
        again["stages"][0]["attempt"] = 2
        display.update(Job.model_validate(again))
    assert "attempt 2" in output.getvalue()


def test_a_terminal_shows_every_stage_with_bar_amount_and_reuse() -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True, color_system=None)
    state = job("running", ("succeeded", 0, 0, "epochs", 0.0), ("running", 1, 2, "epochs", 12.0), eta_seconds=61.0).model_dump()
    state["stages"][0]["reused"] = True
    with JobDisplay(console) as display:
        display.update(Job.model_validate(state))
    last = output.getvalue().split("Job job_1")[-1]
    assert "running, about 1 min 01 s left" in last
    for stage in STAGES:
        assert stage in last
    teacher, generator = (next(line for line in last.splitlines() if name in line) for name in STAGES[:2])
    assert "reused" in teacher
    assert "1/2 epochs" in generator
    assert "━" in generator
    assert "12 s" in generator


RECORDED = Job.model_validate_json((Path(__file__).parent / "recorded_job.json").read_text())
"""A real job's answer, taken when its second run had reused all stages but the last."""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_recorded_job_shows_what_was_reused(terminal: bool) -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=terminal, color_system=None)
    with JobDisplay(console) as display:
        display.update(RECORDED)
    lines = [line for line in output.getvalue().splitlines() if line.strip()]
    for stage in STAGES:
        assert ("reused" in next(line for line in lines if f" {stage} " in line)) == (stage != "publish")
    assert any("8/8 rows" in line for line in lines)
    assert any("succeeded, published as tiny:2" in line for line in lines)


REPORT = {
    "labels": ["a", "b"],
    "holdout_rows": 400,
    "holdout_source": "test",
    "entries": [
        {
            "name": name,
            "description": "",
            "accuracy": {"value": value, "low": value - 0.02, "high": value + 0.02},
            "macro_f1": {"value": value - 0.01, "low": value - 0.03, "high": value + 0.01},
            "per_class_f1": {"a": value, "b": value},
            "confusion_matrix": [[190, 10], [12, 188]],
            "agreement": 0.97,
            "parameters": parameters,
            "bytes": size,
            "latency_ms": latency,
        }
        for name, value, parameters, size, latency in (
            ("teacher", 0.955, 22_713_216, 90_900_000, 21.5),
            ("student", 0.9425, 1_118_000, 4_480_000, 0.31),
            ("no_generation", 0.92, 1_118_000, 4_480_000, 0.31),
            ("tfidf", 0.88, 31_000, 620_000, 0.4),
        )
    ],
    "generated": {"kept": 3000, "duplicate": 120},
    "generation_gain": {"value": 0.0225, "low": 0.005, "high": 0.04},
    "verdict": "Generation helped: +2.3 points (0.5 to 4.0).",
    "warnings": ["Class [b] is small."],
}


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_and_shows_figures_and_verdict(width: int) -> None:
    console, output = plain(width)
    console.print(report_table(Report.model_validate(REPORT)))
    shown = output.getvalue()
    student = next(line for line in shown.splitlines() if line.lstrip().startswith("student"))
    assert student.split() == ["student", "94.2", "(92.2-96.2)", "93.2", "(91.2-95.2)", "1.12", "M", "4.5", "MB", "0.31", "ms"]
    assert "Generation helped: +2.3 points (0.5 to 4.0)." in shown
    assert "3,000 kept, 120 duplicate" in shown
    assert "Warning: Class [b] is small." in shown
    assert "held-out rows too" not in shown
    assert max(map(len, shown.splitlines())) <= width


def test_the_report_tells_how_near_the_generated_texts_came_to_rows() -> None:
    counts = {"generated": 3120, "exact_copies": 12, "near_copies": 34, "shared_runs": 4, "kept": 3000, "kept_with_run": 5}
    found = {**counts, "max_shared_words": 9, "run_words": 8, "longest_kept_run": 9}
    console, output = plain(200)
    console.print(report_table(Report.model_validate({**REPORT, "memorisation": found})))
    shown = "Near a row and dropped: 50, 12 of them exact copies. 5 kept ones share 8 words or more with a row (longest run 9)."
    assert shown in output.getvalue()


def test_the_report_tells_that_the_published_student_learned_on() -> None:
    console, output = plain(80)
    console.print(report_table(Report.model_validate({**REPORT, "refit": True})))
    assert "The published student then learned from the held-out rows too." in output.getvalue()


def test_predictions_show_texts_as_they_are() -> None:
    answer = {
        "student": "triage",
        "version": 2,
        "predictions": [{"label": "[bold]x", "score": 0.9, "scores": [{"label": "[bold]x", "score": 0.9}, {"label": "y", "score": 0.1}]}],
    }
    console, output = plain()
    console.print(predictions_table(["is [this] markup?"], Predictions.model_validate(answer)))
    shown = output.getvalue()
    assert "triage:2" in shown
    assert "is [this] markup?" in shown
    assert "[bold]x" in shown
    assert "0.900" in shown
    assert "y 0.10" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")]
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
