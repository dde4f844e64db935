"""`make bench-quality`: ours and the peers on the same rows, the same test rows and in one run. See docs/benchmarks.md."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.contracts.presets import PRESETS, resolve_spec
from benchmarks.peers.protocol import PeerOptions
from benchmarks.quality.bench import run_bench
from benchmarks.quality.check import verdict
from benchmarks.quality.methods import OURS, chosen
from benchmarks.quality.plan import Options
from benchmarks.quality.rows import NoSuchSet, load_set, set_names
from benchmarks.quality.store import RESULTS, Entry, Results, read_results, record, this_origin
from benchmarks.quality.table import render

COMMITTED, QUICK = "quality", "quick"


def main(
    data: Annotated[Path | None, typer.Option(envvar="GENDISTIL_BENCH_DATA", help="Folder with a folder for each set.")] = None,
    sets: Annotated[str, typer.Option(help="By comma; all of the folder if left out.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to this less one.")] = 3,
    presets: Annotated[str, typer.Option(help="By comma, for ours.")] = "fast",
    methods: Annotated[str, typer.Option(help="By comma: all, ours, peers, students, or single ones.")] = "all",
    test_limit: Annotated[int, typer.Option(min=0, help="Score on a fixed random part of so many test rows; 0: on all.")] = 0,
    setfit_steps: Annotated[
        int, typer.Option(min=-1, help="Contrastive steps of SetFit at most; -1: as many as it takes by default.")
    ] = 500,
    autotune_seconds: Annotated[int, typer.Option(min=1, help="Time limit of fastText's autotuning.")] = 60,
    spec: Annotated[str, typer.Option(help="JSON laid over the presets, as a job's `spec`.")] = "{}",
    encoder: Annotated[str, typer.Option(help="Model reference for the peers; the first preset's teacher if left out.")] = "",
    name: Annotated[str, typer.Option(help="Of the result files; a quick look (--test-limit or --spec) goes to `quick` if left out.")] = "",
    work: Annotated[Path, typer.Option(help="Converted models, and the stages of a run that was cut off.")] = Path(".gendistil/bench"),
    fresh: Annotated[bool, typer.Option(help="Run again what is on record already.")] = False,
    only_table: Annotated[bool, typer.Option(help="Run nothing; render the table.")] = False,
    check: Annotated[str, typer.Option(help="SET:SEED:METHOD, as in the table: run it again and compare, without recording.")] = "",
) -> None:
    """Train and score, and write benchmarks/results/<name>.json and .md."""
    quick = bool(test_limit) or spec != "{}"
    path = RESULTS / f"{name or (QUICK if quick else COMMITTED)}.json"
    results = read_results(path)
    if only_table:
        _write_table(results, path)
        return
    try:
        overrides = json.loads(spec)
        if unknown := set(presets.split(",")) - set(PRESETS):
            raise ValueError(f"There is no preset {min(unknown)!r}; there are {', '.join(PRESETS)}.")
        specs = [resolve_spec(preset, overrides) for preset in presets.split(",")]
        ours, peers = chosen(methods.split(","))
        options = Options(
            presets=presets.split(","),
            overrides=overrides,
            ours=ours,
            peers=peers,
            test_limit=test_limit,
            peer_options=PeerOptions(setfit_steps, autotune_seconds),
            encoder=encoder or specs[0].teacher.model,
            models=work / "models",
            runs=work / ("check" if check else "runs"),
        )
        if check:
            raise typer.Exit(_check(check, results, data, options))
        loaded = [load_set(data, each) for each in (sets.split(",") if sets else set_names(data))]
    except (NoSuchSet, LookupError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    if fresh:
        shutil.rmtree(options.runs, ignore_errors=True)
    settings = ["--setfit-steps", str(setfit_steps), "--autotune-seconds", str(autotune_seconds)]
    settings += ["--test-limit", str(test_limit)] if test_limit else []
    settings += ["--spec", spec] if overrides else []
    settings += ["--encoder", encoder] if encoder else []
    origin = this_origin(settings)

    def is_done(set_name: str, seed: int, method: str, fingerprint: str) -> bool:
        return not fresh and results.has(set_name, seed, method, fingerprint)

    def keep(entry: Entry) -> None:
        record(path, entry, origin)

    failed = run_bench(loaded, list(range(seeds)), options, is_done, keep)
    _write_table(read_results(path), path)
    if failed:
        print("Failed: " + "; ".join(failed), file=sys.stderr)
        raise typer.Exit(1)


def _check(row: str, results: Results, data: Path | None, options: Options) -> int:
    """0 if the figure run again lies within the spread on record, else 1."""
    set_name, seed, method = row.split(":") if row.count(":") == 2 else ("", "", "")
    if not seed.isdigit():
        raise ValueError(f"--check {row!r} is not SET:SEED:METHOD, such as banking10:0:tfidf or banking10:0:fast/cnn.")
    preset, _, own = method.rpartition("/")
    if own in OURS:
        options = dataclasses.replace(options, presets=[preset], ours=[own], peers=[])
    else:
        options = dataclasses.replace(options, ours=[], peers=chosen([method])[1])
    shutil.rmtree(options.runs, ignore_errors=True)
    entries: list[Entry] = []
    failed = run_bench([load_set(data, set_name)], [int(seed)], options, lambda *_: False, entries.append)
    if failed:
        return 1
    answer = verdict(results, next(entry for entry in entries if entry.method == method))
    print(answer.message)
    return 0 if answer.within else 1


def _write_table(results: Results, path: Path) -> None:
    table = render(results)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    typer.run(main)
