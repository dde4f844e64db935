"""The sets of the bench: which rows a user would post, which score, and which play the user's unlabelled texts."""

import csv
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from app.contracts.rows import Row, parse_rows
from gendistil.demo import EXAMPLES

BUNDLED = "banking10"


class NoSuchSet(Exception):
    """The folder or the set is not there, or not in the layout of docs/benchmarks.md. The message says what is missing."""


@dataclass(frozen=True)
class BenchSet:
    """`posted`: the rows of seed 0. `pool`: all labelled rows that are not test rows; other seeds draw from it."""

    name: str
    posted: list[Row]
    pool: list[Row]
    test: list[Row]

    def seed_rows(self, seed: int) -> list[Row]:
        """Seed 0 is the posted sample; any other draws as many rows of each label from the pool, if that has more than the sample."""
        if seed == 0 or not self.redraws:
            return list(self.posted)
        by_label: dict[str, list[Row]] = defaultdict(list)
        for row in self.pool:
            by_label[row.label].append(row)
        rng = random.Random(seed)
        wanted = Counter(row.label for row in self.posted)
        drawn = [row for label in sorted(wanted) for row in rng.sample(by_label[label], min(wanted[label], len(by_label[label])))]
        rng.shuffle(drawn)
        return drawn

    @property
    def redraws(self) -> bool:
        return len(self.pool) > len(self.posted)

    def unlabelled(self, seed: int) -> list[str]:
        """Real texts that are not in the seed's sample, shuffled."""
        sampled = {row.text for row in self.seed_rows(seed)}
        texts = list(dict.fromkeys(row.text for row in self.pool if row.text not in sampled))
        random.Random(seed).shuffle(texts)
        return texts

    def scored(self, limit: int) -> list[Row]:
        """The test rows, or a fixed random `limit` of them if that is not 0."""
        if not limit or limit >= len(self.test):
            return self.test
        return random.Random(0).sample(self.test, limit)


def set_names(data: Path | None) -> list[str]:
    """All sets of the folder; without a folder the one that is bundled. Raises `NoSuchSet`."""
    if data is None:
        return [BUNDLED]
    if not data.is_dir():
        raise NoSuchSet(f"{data} is no folder. Name one that has a folder for each set: --data, or GENDISTIL_BENCH_DATA.")
    names = sorted(folder.name for folder in data.iterdir() if (folder / "test.jsonl").is_file())
    if not names:
        raise NoSuchSet(f"{data} holds no set: none of its folders has a test.jsonl.")
    return names


def load_set(data: Path | None, name: str) -> BenchSet:
    """Raises `NoSuchSet`, also for a set in which a test text would be trained on."""
    if data is None:
        if name != BUNDLED:
            raise NoSuchSet(f"Only {BUNDLED} is bundled; for {name} name a folder: --data, or GENDISTIL_BENCH_DATA.")
        rows, test = _csv(EXAMPLES / "banking10.csv"), _csv(EXAMPLES / "banking10_test.csv")
        return _checked(BenchSet(name, rows, rows, test))
    folder = data / name
    samples = sorted(folder.glob("train_*_per_class.jsonl"))
    if not (folder / "test.jsonl").is_file() or len(samples) != 1:
        raise NoSuchSet(f"{folder} needs test.jsonl and one train_*_per_class.jsonl, and may have train.jsonl.")
    posted, test = parse_rows(samples[0].read_bytes()), parse_rows((folder / "test.jsonl").read_bytes())
    tested = {row.text for row in test}
    whole = folder / "train.jsonl"
    pool = [row for row in parse_rows(whole.read_bytes()) if row.text not in tested] if whole.is_file() else posted
    return _checked(BenchSet(name, posted, pool, test))


def _checked(loaded: BenchSet) -> BenchSet:
    if leaked := {row.text for row in loaded.posted} & {row.text for row in loaded.test}:
        raise NoSuchSet(f"{loaded.name}: {len(leaked)} rows of the sample are test rows too, such as {min(leaked)!r}.")
    if unknown := {row.label for row in loaded.test} - {row.label for row in loaded.posted}:
        raise NoSuchSet(f"{loaded.name}: the sample has no row of the test labels {', '.join(sorted(unknown))}.")
    return loaded


def _csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(row["text"], row["label"]) for row in csv.DictReader(file)]
