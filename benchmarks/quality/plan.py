"""What there is to do for one set and one seed, and the fingerprints that tell whether it is done already."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.contracts.presets import resolve_spec
from app.contracts.rows import Row
from app.contracts.spec import JobSpec
from app.contracts.stages import GRAPH
from benchmarks.peers.protocol import PeerOptions
from benchmarks.quality.methods import ENCODING_PEERS, PEER_VERSIONS
from benchmarks.quality.peers import PYTHON, REQUIREMENTS
from benchmarks.quality.rows import BenchSet
from benchmarks.quality.store import digest, our_packages


@dataclass(frozen=True)
class Options:
    """`overrides`: laid over every preset, as a caller's `spec`. `encoder`: model reference of the peers' encoder.

    `models`: converted models, kept; `runs`: the stages of runs that are not through.
    """

    presets: list[str]
    overrides: dict[str, Any]
    ours: list[str]
    peers: list[str]
    test_limit: int
    peer_options: PeerOptions
    encoder: str
    models: Path
    runs: Path
    peers_python: Path = PYTHON


@dataclass(frozen=True)
class Rows:
    """The rows of one set and seed."""

    set: BenchSet
    seed: int
    seed_rows: list[Row]
    test: list[Row]

    @classmethod
    def of(cls, loaded: BenchSet, seed: int, test_limit: int) -> "Rows":
        return cls(loaded, seed, loaded.seed_rows(seed), loaded.scored(test_limit))


def seeded_spec(preset: str, overrides: dict[str, Any], seed: int) -> JobSpec:
    """The preset with the overrides, and `seed` in every part that has one and in which the caller did not set it."""
    dumped = resolve_spec(preset, overrides).model_dump()
    seeds = {part: {"seed": seed} for part, fields in dumped.items() if "seed" in fields}
    return resolve_spec(preset, {part: {**seeds.get(part, {}), **overrides.get(part, {})} for part in {*seeds, *overrides}})


def ours_fingerprint(rows: Rows, spec: JobSpec, method: str) -> str:
    """A stage's code is known by its version in the stage graph, as for the service's artefacts."""
    versions = {stage.value: node.version for stage, node in GRAPH.items()}
    real = digest(rows.set.unlabelled(rows.seed)) if method == "ceiling" else ""
    return digest([digest(rows.seed_rows), digest(rows.test), spec.model_dump(mode="json"), versions, our_packages(), real])


def peer_fingerprint(rows: Rows, options: PeerOptions, encoder: str, method: str) -> str:
    """Only the options that the method reads count, so that another limit for one peer costs the others nothing."""
    pins = [line for line in REQUIREMENTS.read_text(encoding="utf-8").split("\n") if line and not line.startswith("#")]
    read = {"setfit": options.setfit_steps, "setfit_distilled": options.setfit_steps}
    read["fasttext_autotuned"] = options.autotune_seconds
    used = [method, PEER_VERSIONS[method], read.get(method), encoder if method in ENCODING_PEERS else ""]
    return digest([digest(rows.seed_rows), digest(rows.test), rows.seed, used, pins])
