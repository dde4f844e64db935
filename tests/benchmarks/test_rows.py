import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from app.contracts.rows import Row, dump_rows, parse_rows
from benchmarks.quality.rows import NoSuchSet, load_set, set_names
from tests.benchmarks.conftest import PER_LABEL


@pytest.fixture
def own_data(data: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def test_seed_0_is_the_posted_sample_in_its_order(data: Path) -> None:
    posted = parse_rows((data / "cards" / f"train_{PER_LABEL}_per_class.jsonl").read_bytes())
    assert load_set(data, "cards").seed_rows(0) == posted


def test_other_seeds_draw_as_many_rows_of_each_label_and_the_same_ones_each_time(data: Path) -> None:
    loaded = load_set(data, "cards")
    samples = [loaded.seed_rows(seed) for seed in range(4)]
    assert {tuple(sorted(Counter(row.label for row in sample).values())) for sample in samples} == {(PER_LABEL,) * 3}
    assert len({tuple(sorted(row.text for row in sample)) for sample in samples}) == 4
    assert load_set(data, "cards").seed_rows(2) == samples[2]
    # fastText, for one, learns in the order of the rows.
    assert [row.label for row in samples[1]] != sorted(row.label for row in samples[1])


def test_no_test_row_is_ever_sampled_or_used_as_an_unlabelled_text(own_data: Path) -> None:
    folder = own_data / "cards"
    test = parse_rows((folder / "test.jsonl").read_bytes())
    with (folder / "train.jsonl").open("ab") as file:
        file.write(dump_rows(test))  # a careless set, whose test rows lie in the training rows too
    loaded = load_set(own_data, "cards")
    tested = {row.text for row in test}
    for seed in range(5):
        assert not tested & {row.text for row in loaded.seed_rows(seed)}
        assert not tested & set(loaded.unlabelled(seed))


def test_unlabelled_texts_are_all_the_others_of_the_pool(data: Path) -> None:
    loaded = load_set(data, "cards")
    for seed in (0, 1):
        texts = loaded.unlabelled(seed)
        assert len(texts) == len(set(texts)) == 3 * (40 - PER_LABEL)
        assert not set(texts) & {row.text for row in loaded.seed_rows(seed)}
    assert loaded.unlabelled(1) == loaded.unlabelled(1)


def test_a_label_with_fewer_rows_than_the_sample_holds_gives_all_it_has(own_data: Path) -> None:
    folder = own_data / "cards"
    rows = parse_rows((folder / "train.jsonl").read_bytes())
    rare = [row for row in rows if row.label == "pin_change"][:PER_LABEL]
    (folder / "train.jsonl").write_bytes(dump_rows([row for row in rows if row.label != "pin_change"] + rare))
    counts = Counter(row.label for row in load_set(own_data, "cards").seed_rows(3))
    assert counts["pin_change"] == PER_LABEL


def test_a_set_without_train_jsonl_keeps_its_rows_for_every_seed_and_has_no_unlabelled_texts(own_data: Path) -> None:
    (own_data / "cards" / "train.jsonl").unlink()
    loaded = load_set(own_data, "cards")
    assert not loaded.redraws
    assert loaded.seed_rows(1) == loaded.seed_rows(0)
    assert loaded.unlabelled(0) == []


def test_a_limit_scores_a_fixed_part_of_the_test_rows(data: Path) -> None:
    loaded = load_set(data, "cards")
    assert loaded.scored(0) == loaded.test
    assert loaded.scored(10_000) == loaded.test
    part = loaded.scored(10)
    assert len(part) == 10
    assert part == loaded.scored(10)
    assert len({row.label for row in part}) > 1


def test_the_bundled_set_needs_no_folder() -> None:
    assert set_names(None) == ["banking10"]
    loaded = load_set(None, "banking10")
    assert (len(loaded.posted), len(loaded.test), len({row.label for row in loaded.posted})) == (300, 400, 10)


def test_what_is_missing_is_said(own_data: Path, tmp_path: Path) -> None:
    with pytest.raises(NoSuchSet, match="GENDISTIL_BENCH_DATA"):
        set_names(tmp_path / "nowhere")
    with pytest.raises(NoSuchSet, match=r"none of its folders has a test\.jsonl"):
        set_names(tmp_path)
    with pytest.raises(NoSuchSet, match="Only banking10 is bundled"):
        load_set(None, "cards")
    with pytest.raises(NoSuchSet, match=r"needs test\.jsonl"):
        load_set(own_data, "unheard_of")


def test_a_sample_with_a_test_row_or_without_a_test_label_is_refused(own_data: Path) -> None:
    folder = own_data / "cards"
    sample = folder / f"train_{PER_LABEL}_per_class.jsonl"
    rows = parse_rows(sample.read_bytes())
    leaked = json.loads((folder / "test.jsonl").read_text().split("\n")[0])
    sample.write_bytes(dump_rows([*rows, Row(**leaked)]))
    with pytest.raises(NoSuchSet, match="1 rows of the sample are test rows"):
        load_set(own_data, "cards")
    sample.write_bytes(dump_rows([row for row in rows if row.label != "pin_change"]))
    with pytest.raises(NoSuchSet, match="no row of the test labels pin_change"):
        load_set(own_data, "cards")
