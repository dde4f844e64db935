"""The cost model, and how what was observed corrects it."""

import pytest

from app.contracts.estimates import DataFigures, StageFigures, eta_seconds, prior_seconds, scale
from app.contracts.presets import PRESETS, resolve_spec
from app.contracts.stages import GRAPH, Stage

DATA = DataFigures(rows=400, test_rows=0, mean_chars=240.0, classes=4)
PRIORS = dict.fromkeys(GRAPH, 100.0)


def stages(**changes: StageFigures) -> list[StageFigures]:
    """All stages pending but for those given."""
    return [changes.get(stage.value, StageFigures(stage, "pending")) for stage in GRAPH]


def test_priors_follow_the_work() -> None:
    base = prior_seconds(PRESETS["fast"], DATA)
    assert set(base) == set(GRAPH)
    assert all(seconds > 0 for seconds in base.values())
    more_texts = prior_seconds(resolve_spec("fast", {"generate": {"texts": 12_000}}), DATA)
    assert more_texts[Stage.GENERATE] > 3 * base[Stage.GENERATE]
    assert more_texts[Stage.LABEL] > 2 * base[Stage.LABEL]
    assert more_texts[Stage.FINETUNE_TEACHER] == base[Stage.FINETUNE_TEACHER]
    assert prior_seconds(resolve_spec("fast", {"teacher": {"epochs": 16}}), DATA)[Stage.FINETUNE_TEACHER] > base[Stage.FINETUNE_TEACHER]
    assert prior_seconds(resolve_spec("fast", {"distil": {"student": "bag"}}), DATA)[Stage.DISTIL] < base[Stage.DISTIL]
    assert prior_seconds(PRESETS["paper"], DATA)[Stage.FINETUNE_TEACHER] > base[Stage.FINETUNE_TEACHER]


def test_long_texts_cost_no_more_than_the_model_reads() -> None:
    long, longer = (prior_seconds(PRESETS["fast"], DataFigures(400, 0, chars, 4)) for chars in (5_000.0, 10_000.0))
    assert long == longer


def test_nothing_is_said_before_there_is_anything_to_go_by() -> None:
    assert eta_seconds(PRIORS, stages()) is None
    running = StageFigures(Stage.FINETUNE_TEACHER, "running", seconds=5, progress=0.01)
    assert eta_seconds(PRIORS, stages(finetune_teacher=running)) is None
    reused = StageFigures(Stage.FINETUNE_TEACHER, "succeeded", seconds=0.1, reused=True)
    assert eta_seconds(PRIORS, stages(finetune_teacher=reused)) is None


def test_the_first_stage_scales_the_rest() -> None:
    done = StageFigures(Stage.FINETUNE_TEACHER, "succeeded", seconds=200)
    assert eta_seconds(PRIORS, stages(finetune_teacher=done)) == pytest.approx(1000)


def test_a_stage_well_under_way_is_a_yardstick_until_one_is_done() -> None:
    running = StageFigures(Stage.FINETUNE_TEACHER, "running", seconds=100, progress=0.5)
    assert scale(PRIORS, stages(finetune_teacher=running)) == pytest.approx(2)
    assert eta_seconds(PRIORS, stages(finetune_teacher=running)) == pytest.approx(100 + 5 * 200)


def test_reused_stages_cost_nothing_and_measure_nothing() -> None:
    reused = StageFigures(Stage.FINETUNE_TEACHER, "succeeded", seconds=0.1, reused=True)
    generated = StageFigures(Stage.FINETUNE_GENERATOR, "succeeded", seconds=50)
    assert eta_seconds(PRIORS, stages(finetune_teacher=reused, finetune_generator=generated)) == pytest.approx(200)


def test_the_running_stage_is_told_more_and_more_by_its_own_progress() -> None:
    done = StageFigures(Stage.FINETUNE_TEACHER, "succeeded", seconds=100)
    rest = 4 * 100.0

    def left(seconds: float, progress: float) -> float:
        running = StageFigures(Stage.FINETUNE_GENERATOR, "running", seconds, progress)
        found = eta_seconds(PRIORS, stages(finetune_teacher=done, finetune_generator=running))
        assert found is not None
        return found - rest

    assert left(30, 0) == pytest.approx(70)
    assert left(500, 0) == pytest.approx(5)  # late, and silent: never negative
    assert left(50, 0.5) == pytest.approx(50)
    assert left(900, 0.9) == pytest.approx(90.5)  # its own speed, not the 100 s expected


def test_earlier_jobs_speak_before_the_first_stage_is_done() -> None:
    assert eta_seconds(PRIORS, stages(), {Stage.FINETUNE_TEACHER: 2.0, Stage.GENERATE: 4.0}) == pytest.approx(200 + 400 + 4 * 300)


def test_the_job_at_hand_corrects_earlier_jobs() -> None:
    done = StageFigures(Stage.FINETUNE_TEACHER, "succeeded", seconds=400)
    history = dict.fromkeys(GRAPH, 2.0)
    assert eta_seconds(PRIORS, stages(finetune_teacher=done), history) == pytest.approx(5 * 400)


def test_nothing_is_left_of_a_job_that_is_done() -> None:
    all_done = [StageFigures(stage, "succeeded", seconds=1) for stage in GRAPH]
    assert eta_seconds(PRIORS, all_done) == 0
