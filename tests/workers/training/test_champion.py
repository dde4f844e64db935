"""Two versions on rows that neither had learned."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.contracts.comparison import ANSWERS_FILE, MeasuredAnswers
from app.contracts.rows import Row
from app.contracts.spec import JobSpec, PublishSpec
from app.contracts.students import ONNX_FILE, STUDENT_MANIFEST_FILE
from tests.workers.conftest import StageResult
from tests.workers.tiny import make_rows
from workers.pipeline.publish import PublishMetrics
from workers.training.champion import Champion, compare, text_hash
from workers.training.split import Lineage, Split, split_rows

SPEC = PublishSpec(bootstrap_samples=200)
Copy = Callable[..., Path]


@pytest.fixture
def copy(published: StageResult[PublishMetrics], tmp_path: Path) -> Copy:
    """A published artefact under another name, with changes of its manifest, and with or without its answers."""

    def make(name: str, answers: MeasuredAnswers | None = None, *, keeps_answers: bool = True, **changes: object) -> Path:
        folder = tmp_path / name
        shutil.copytree(published.folder, folder)
        manifest = json.loads((folder / STUDENT_MANIFEST_FILE).read_text())
        (folder / STUDENT_MANIFEST_FILE).write_text(json.dumps({**manifest, **changes}))
        if answers is not None:
            (folder / ANSWERS_FILE).write_text(answers.model_dump_json())
        if not keeps_answers:
            (folder / ANSWERS_FILE).unlink()
        return folder

    return make


def kept(folder: Path) -> MeasuredAnswers:
    return MeasuredAnswers.model_validate_json((folder / ANSWERS_FILE).read_bytes())


def test_what_is_kept_are_the_measured_answers(published: StageResult[PublishMetrics], split: Split) -> None:
    found = kept(published.folder)
    assert set(found.answers) == {text_hash(row.text) for row in split.holdout}
    right = sum(found.answers[text_hash(row.text)] == row.label for row in split.holdout)
    assert right / len(split.holdout) == pytest.approx(published.metrics.accuracy)
    assert set(found.learned) == {text_hash(row.text) for row in split.seed_rows(Lineage.PUBLISHED)}
    assert set(found.answers) <= set(found.learned)


def test_on_the_same_rows_the_answers_from_before_count(published: StageResult[PublishMetrics], split: Split, copy: Copy) -> None:
    """The published student has learned the holdout, and its score there would mean nothing."""
    wrong = {text_hash(row.text): "nothing" for row in split.holdout[:3]}
    found = kept(published.folder)
    champion = copy("champion", found.model_copy(update={"answers": {**found.answers, **wrong}}))
    (champion / ONNX_FILE).unlink()  # needed for no row
    comparison = compare(split, published.folder, Champion(4, champion), SPEC)
    lost = sum(found.answers[text_hash(row.text)] == row.label for row in split.holdout[:3])
    assert (comparison.champion, comparison.rows, comparison.won, comparison.lost) == (4, len(split.holdout), lost, 0)
    assert comparison.accuracy == pytest.approx(published.metrics.accuracy)
    assert comparison.champion_accuracy == pytest.approx(published.metrics.accuracy - lost / len(split.holdout))
    assert comparison.difference is not None
    assert comparison.difference.value == pytest.approx(lost / len(split.holdout))


def test_rows_that_the_champion_learned_are_left_out(published: StageResult[PublishMetrics], split: Split, copy: Copy) -> None:
    """Of a dataset that has grown: some of its holdout was learned, some was held out before, some is new."""
    learned, before, new = split.train[:4], split.holdout[:5], make_rows(4, seed=77)[:3]
    mixed = replace(split, holdout=[*learned, *before, *new])
    newer = copy("new", MeasuredAnswers(learned=[], answers={text_hash(row.text): row.label for row in mixed.holdout}))
    comparison = compare(mixed, newer, Champion(1, published.folder), SPEC)
    assert comparison.rows == 8
    assert comparison.accuracy == 1
    assert comparison.lost == 0
    nothing_new = replace(split, holdout=learned)
    obstacle = compare(nothing_new, newer, Champion(1, published.folder), SPEC)
    assert obstacle.obstacle == "it has learned from all held-out rows"
    assert obstacle.not_worse


def test_an_unknown_label_is_answered_wrong(published: StageResult[PublishMetrics], split: Split, copy: Copy) -> None:
    rows = [Row("a text of another kind altogether", "refunds")]
    wider = replace(split, labels=[*split.labels, "refunds"], holdout=rows)
    newer = copy("new", MeasuredAnswers(learned=[], answers={text_hash(rows[0].text): "refunds"}))
    comparison = compare(wider, newer, Champion(1, published.folder), SPEC)
    assert (comparison.rows, comparison.won, comparison.lost) == (1, 1, 0)


def test_without_a_label_in_common_there_is_no_comparison(published: StageResult[PublishMetrics], split: Split, copy: Copy) -> None:
    champion = copy("champion", labels=["x", "y", "z"])
    assert compare(split, published.folder, Champion(1, champion), SPEC).obstacle == "they have no label in common"


def test_a_champion_without_answers(published: StageResult[PublishMetrics], split: Split, copy: Copy) -> None:
    """Imported, or older than the gate: of the same dataset it has learned the rows, of another it is asked."""
    same = compare(split, published.folder, Champion(1, copy("same", keeps_answers=False)), SPEC)
    assert same.obstacle is not None
    assert "the same rows" in same.obstacle
    other = compare(split, published.folder, Champion(1, copy("other", keeps_answers=False, lineage={"dataset": "other"})), SPEC)
    assert other.rows == len(split.holdout)
    assert other.obstacle is None


def test_of_the_callers_own_test_rows_those_count_that_the_champion_has_not_learned(
    published: StageResult[PublishMetrics], spec: JobSpec, copy: Copy
) -> None:
    own = split_rows(make_rows(30), make_rows(4, seed=9), spec.split)
    newer = copy("new", MeasuredAnswers(learned=[], answers={text_hash(row.text): row.label for row in own.holdout}))
    comparison = compare(own, newer, Champion(1, published.folder), SPEC)
    assert comparison.rows == len([row for row in own.holdout if text_hash(row.text) not in kept(published.folder).learned]) > 0
