"""Real runs: our stages with tiny models, and a peer in a process of its own."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.peers.protocol import PeerOptions
from benchmarks.quality.bench import run_bench
from benchmarks.quality.methods import KINDS, OURS, PEERS, chosen
from benchmarks.quality.peers import PeerFailed, grouped, run_peers, sentence_encoder
from benchmarks.quality.plan import Options, Rows, ours_fingerprint, peer_fingerprint, seeded_spec
from benchmarks.quality.rows import load_set
from benchmarks.quality.store import Entry, Results, this_origin
from benchmarks.quality.table import render
from tests.workers.tiny import save_encoder, save_llama, tiny_spec

SEED = 1


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """TF-IDF of the peers: scikit-learn is in this environment too, so that the tests need no second one."""
    models = tmp_path_factory.mktemp("models")
    encoder, generator = save_encoder(tmp_path_factory.mktemp("encoder")), save_llama(tmp_path_factory.mktemp("llama"))
    spec = tiny_spec(
        encoder, generator, generate={"texts": 20}, distil={"epochs": 2, "min_steps": 20}, generator={"epochs": 4}
    ).model_dump()
    overrides = {part: {name: value for name, value in fields.items() if name != "seed"} for part, fields in spec.items()}
    runs = tmp_path_factory.mktemp("work") / "runs"
    return Options(
        ["fast"], overrides, list(OURS), ["tfidf"], 0, PeerOptions(), str(encoder), models, runs, peers_python=Path(sys.executable)
    )


@dataclasses.dataclass
class Bench:
    """What `make bench-quality` does with results, in memory."""

    data: Path
    results: Results = dataclasses.field(default_factory=Results)

    def run(self, options: Options, on_entry: Callable[[Entry], None] = lambda _: None) -> tuple[list[str], list[str]]:
        """The methods that were run, and what failed."""
        made: list[str] = []

        def keep(entry: Entry) -> None:
            on_entry(entry)
            self.results.put(entry, this_origin([]))
            made.append(entry.method)

        return made, run_bench([load_set(self.data, "cards")], [SEED], options, self.results.has, keep)


@pytest.fixture(scope="session")
def cut_off(data: Path, options: Options) -> tuple[Bench, list[str], dict[str, int]]:
    """A run that ended when the first student had been trained: what failed, and when the markers of its stages were made."""

    def interrupted(entry: Entry) -> None:
        if entry.method == f"fast/{KINDS[0]}":
            raise RuntimeError("cut off")

    bench = Bench(data)
    made, failed = bench.run(options, interrupted)
    assert made == ["tfidf", "fast/teacher"]
    assert failed == [f"cards seed {SEED} fast"]
    return bench, failed, {path.name: path.stat().st_mtime_ns for path in options.runs.glob("*/*.done.json")}


@pytest.fixture(scope="session")
def finished(cut_off: tuple[Bench, list[str], dict[str, int]], options: Options) -> Bench:
    """The same run, gone on with. Its work folder is gone only when it is through."""
    bench, _, markers = cut_off
    assert {"teacher.done.json", "generator.done.json", "generate.done.json", "label.done.json"} <= set(markers)
    seen: dict[str, int] = {}
    made, failed = bench.run(options, lambda _: seen.update({p.name: p.stat().st_mtime_ns for p in options.runs.glob("*/*.done.json")}))
    assert not failed
    assert sorted(made) == sorted(f"fast/{name}" for name in OURS if name != "teacher")
    assert {name: seen[name] for name in markers} == markers
    assert list(options.runs.iterdir()) == []
    return bench


def test_every_method_is_scored_on_the_same_rows(finished: Bench) -> None:
    entries = {entry.method: entry for entry in finished.results.entries}
    assert set(entries) == {"tfidf", *(f"fast/{name}" for name in OURS)}
    assert {(entry.seed, entry.seed_rows, entry.test_rows, entry.classes) for entry in entries.values()} == {(SEED, 36, 60, 3)}
    for entry in entries.values():
        assert 0 <= entry.macro_f1 <= 1
        assert entry.parameters > 0
        assert entry.texts_per_second > 0
        assert entry.bytes > 0
    assert entries["tfidf"].accuracy > 0.8  # three words of each text name its label
    assert entries["fast/teacher"].accuracy > 0.5
    for kind in KINDS:
        assert entries[f"fast/{kind}"].parameters <= 100_000
        assert set(entries[f"fast/{kind}"].notes["stage_seconds"]) == {"teacher", "generator", "generate", "label", f"distil-{kind}"}
    for variant in ("seed_only", "no_generation", "ceiling"):
        assert entries[f"fast/{variant}"].train_seconds is None
        assert entries[f"fast/{variant}"].notes["kind"] == "cnn"
    ceiling = entries["fast/ceiling"].notes
    assert ceiling["real_texts"] == ceiling["generated_texts"] == entries["fast/cnn"].notes["generated_texts"] > 0
    assert "| fast/ceiling |" in render(finished.results)


def test_what_is_on_record_is_not_run_again(finished: Bench, options: Options) -> None:
    assert finished.run(options) == ([], [])


def test_a_figure_counts_as_done_only_with_the_settings_and_rows_that_it_read(data: Path, options: Options) -> None:
    loaded = load_set(data, "cards")
    rows = Rows.of(loaded, 0, 0)
    spec = seeded_spec("fast", {}, 0)
    longer = seeded_spec("fast", {"distil": {"epochs": 3}}, 0)
    prints = [
        *(ours_fingerprint(rows, given, "cnn") for given in (spec, longer)),
        *(ours_fingerprint(other, spec, "cnn") for other in (Rows.of(loaded, 1, 0), Rows.of(loaded, 0, 9))),
    ]
    assert len(set(prints)) == 4
    less = dataclasses.replace(loaded, pool=loaded.pool[:-1])
    fewer = Rows.of(less, 0, 0)
    assert ours_fingerprint(fewer, spec, "cnn") == prints[0]
    assert ours_fingerprint(fewer, spec, "ceiling") != ours_fingerprint(rows, spec, "ceiling")

    def peer(method: str, peer_options: PeerOptions = options.peer_options, encoder: str = "a") -> str:
        return peer_fingerprint(rows, peer_options, encoder, method)

    steps, seconds = PeerOptions(setfit_steps=7), PeerOptions(autotune_seconds=7)
    assert {method for method in PEERS if peer(method) != peer(method, steps)} == {"setfit", "setfit_distilled"}
    assert {method for method in PEERS if peer(method) != peer(method, seconds)} == {"fasttext_autotuned"}
    encoding = {"setfit", "setfit_distilled", "embeddings", "model2vec", "model2vec_linear"}
    assert {method for method in PEERS if peer(method) != peer(method, encoder="b")} == encoding


def test_a_peer_that_fails_costs_the_others_nothing(data: Path, options: Options) -> None:
    """This environment has no SetFit."""
    made, failed = Bench(data).run(dataclasses.replace(options, ours=[], peers=["setfit", "tfidf"]))
    assert made == ["tfidf"]
    assert failed == [f"cards seed {SEED} setfit"]


def test_a_missing_environment_says_what_to_do(data: Path, tmp_path: Path) -> None:
    rows = load_set(data, "cards")
    with pytest.raises(PeerFailed, match="make bench-quality"):
        run_peers(["tfidf"], rows.posted, rows.test, 0, tmp_path, PeerOptions(), tmp_path / "python")


def test_the_seed_reaches_every_part_that_has_one_unless_the_caller_set_it() -> None:
    spec = seeded_spec("balanced", {"generate": {"texts": 5}, "teacher": {"seed": 9}}, 4).model_dump()
    seeds = {part: fields["seed"] for part, fields in spec.items() if "seed" in fields}
    assert seeds.pop("teacher") == 9
    assert {"split", "generator", "generate", "distil"} <= set(seeds)
    assert set(seeds.values()) == {4}
    assert spec["generate"]["texts"] == 5


def test_methods_by_group_and_name() -> None:
    assert chosen(["all"]) == (list(OURS), list(PEERS))
    assert chosen(["tfidf", "students", "teacher"]) == (["teacher", *KINDS], ["tfidf"])
    with pytest.raises(ValueError, match="no method 'bert'"):
        chosen(["bert"])
    assert grouped(["setfit", "setfit_distilled", "tfidf"]) == [["tfidf"], ["setfit", "setfit_distilled"]]


def test_the_encoder_is_laid_out_for_sentence_transformers_once(options: Options) -> None:
    folder, fingerprint = sentence_encoder(options.encoder, options.models)
    assert {"model.safetensors", "config.json", "modules.json", "1_Pooling", "2_Normalize"} <= {path.name for path in folder.iterdir()}
    assert sentence_encoder(options.encoder, options.models) == (folder, fingerprint)
    assert [path for path in options.models.iterdir() if path.name.startswith("tmp")] == []
