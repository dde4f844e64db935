"""The cost model, and how what was observed corrects it."""

from typing import Any

import pytest

from app.contracts.estimates import FIXED, DataFigures, StageFigures, eta_seconds, prior_seconds, scale
from app.contracts.presets import PRESETS, resolve_spec
from app.contracts.stages import GRAPH, Stage

DATA = DataFigures(rows=400, test_rows=0, mean_chars=240.0, classes=4)
OWN_TEST = DataFigures(rows=320, test_rows=80, mean_chars=240.0, classes=4)
"""As many rows to learn from as a fifth held out of `DATA` leaves."""
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


def work(data: DataFigures = DATA, **overrides: dict[str, Any]) -> dict[Stage, float]:
    """What depends on the rows and texts, of the preset `fast`."""
    priors = prior_seconds(resolve_spec("fast", overrides), data)
    return {stage: seconds - FIXED[stage] for stage, seconds in priors.items()}


def test_a_second_view_doubles_the_teachers_steps_and_a_probe_reads_once() -> None:
    bare: dict[str, Any] = {"head_init": "random", "contrastive_weight": 0.0}
    one = work(teacher=bare)[Stage.FINETUNE_TEACHER]
    assert work(teacher={**bare, "contrastive_weight": 0.5})[Stage.FINETUNE_TEACHER] == pytest.approx(2 * one)
    probed = work(teacher={**bare, "head_init": "probe"})[Stage.FINETUNE_TEACHER]
    assert one < probed < one + one / 5  # of five epochs and more


def test_a_teacher_of_two_lineages_takes_its_refit_epochs_on_more_rows() -> None:
    teacher = {"head_init": "random", "epochs": 5, "refit_epochs": 2}
    once = work(OWN_TEST, teacher=teacher)[Stage.FINETUNE_TEACHER]
    assert work(teacher=teacher)[Stage.FINETUNE_TEACHER] == pytest.approx(once * (5 * 320 + 2 * 400) / (5 * 320))
    assert work(teacher=teacher, split={"refit": False})[Stage.FINETUNE_TEACHER] == pytest.approx(once)


PLENTY = 1_000_000_000


def test_the_generator_learns_from_as_many_tokens_as_it_may() -> None:
    def seconds(tokens: int) -> float:
        return work(generator={"epochs": 3, "max_train_tokens": tokens})[Stage.FINETUNE_GENERATOR]

    an_epoch = int(320 * 0.85 * (240 / 4.5 + 2 + 8))
    assert seconds(an_epoch) == pytest.approx(2 * seconds(an_epoch // 2), rel=1e-3)
    assert seconds(PLENTY) == pytest.approx(3 * seconds(an_epoch), rel=1e-3)


@pytest.mark.parametrize("recombined", [0.0, 2.0])
def test_label_reads_recombinations_once_and_all_else_once_a_lineage(recombined: float) -> None:
    parts = {"label": {"recombined": recombined, "recombined_tokens": PLENTY}, "generate": {"texts": 1000}}
    text = work(split={"refit": False}, label={"recombined": 0.0}, generate={"texts": 0})[Stage.LABEL] / 320
    read = (1 + recombined) * 1320
    assert work(split={"refit": False}, **parts)[Stage.LABEL] == pytest.approx(read * text)
    assert work(OWN_TEST, **parts)[Stage.LABEL] == pytest.approx(read * text)  # own test rows make no second lineage
    assert work(**parts)[Stage.LABEL] == pytest.approx((read + 1320 + 80) * text)


def test_recombinations_end_where_their_tokens_do() -> None:
    def seconds(tokens: int) -> dict[Stage, float]:
        parts = {"distil": {"min_steps": 1}, "generate": {"texts": 1000}}
        return work(label={"recombined": 2.0, "recombined_tokens": tokens}, **parts)

    whole = int(2 * 1320 * (240 / 4.5 + 2)) + 1
    none, half, all_of_it, more = (seconds(tokens) for tokens in (0, whole // 2, whole, PLENTY))
    for stage in (Stage.LABEL, Stage.DISTIL):
        assert all_of_it[stage] == pytest.approx(more[stage])
        assert half[stage] == pytest.approx((none[stage] + all_of_it[stage]) / 2, rel=1e-3)
        assert none[stage] < half[stage]


def test_distil_trains_on_recombinations_and_goes_on_with_the_holdout() -> None:
    distil = {"epochs": 10, "refit_epochs": 3, "min_steps": 1, "seed_repeats": 4}
    parts = {"distil": distil, "generate": {"texts": 1000}, "label": {"recombined": 2.0, "recombined_tokens": PLENTY}}
    text = work(OWN_TEST, distil=distil, generate={"texts": 0}, label={"recombined": 0.0})[Stage.DISTIL] / (10 * 9 * 320)
    own, student = 320 * (4 + 2), 320 * (4 + 2) + 3 * 1000
    measured = 10 * (student + own + 320)
    assert work(OWN_TEST, **parts)[Stage.DISTIL] == pytest.approx(measured * text)
    assert work(**parts)[Stage.DISTIL] == pytest.approx((measured + 3 * (student + 4 * 80)) * text)


def test_small_transfer_sets_take_the_least_number_of_steps() -> None:
    distil = {"epochs": 10, "refit_epochs": 5, "min_steps": 10_000, "batch_size": 64}
    few, more = (work(OWN_TEST, distil=distil, generate={"texts": texts})[Stage.DISTIL] for texts in (0, 500))
    assert few == more
    assert work(distil=distil, generate={"texts": 0})[Stage.DISTIL] == pytest.approx(few * 3.5 / 3)


def test_large_transfer_sets_take_the_greatest_number_of_steps() -> None:
    distil = {"epochs": 10, "refit_epochs": 5, "min_steps": 1, "seed_repeats": 4, "batch_size": 16}
    parts: dict[str, Any] = {"label": {"recombined": 0.0}, "generate": {"texts": 1000}}
    text = work(OWN_TEST, distil=distil, **{**parts, "generate": {"texts": 0}})[Stage.DISTIL] / (10 * 9 * 320)
    capped = {**distil, "max_steps": 200}
    assert work(OWN_TEST, distil=capped, **parts)[Stage.DISTIL] == pytest.approx(3 * 200 * 16 * text)
    whole_epoch = 4 * 320 + 1000 + 4 * 80  # more than its share of the steps
    assert work(distil=capped, **parts)[Stage.DISTIL] == pytest.approx((3 * 200 * 16 + whole_epoch) * text)


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
