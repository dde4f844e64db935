"""Goes through sets, seeds and methods, and hands over each figure as soon as it is there."""

import shutil
import traceback
from collections.abc import Callable

from benchmarks.quality.methods import KINDS
from benchmarks.quality.ours import OursJob, run_ours
from benchmarks.quality.outcome import Outcome, scores
from benchmarks.quality.peers import PeerFailed, grouped, run_peers, sentence_encoder
from benchmarks.quality.plan import Options, Rows, ours_fingerprint, peer_fingerprint, seeded_spec
from benchmarks.quality.rows import BenchSet
from benchmarks.quality.store import Entry, digest
from workers.models import ModelUnavailable

IsDone = Callable[[str, int, str, str], bool]
"""(set, seed, method, fingerprint) -> whether there is such a figure already."""
Keep = Callable[[Entry], None]


def run_bench(sets: list[BenchSet], seeds: list[int], options: Options, is_done: IsDone, keep: Keep) -> list[str]:
    """Runs what is not done. A method that fails is told and left out, and the others go on; returns what failed."""
    failed: list[str] = []
    for loaded in sets:
        for seed in seeds:
            rows = Rows.of(loaded, seed, options.test_limit)
            for run in (_peers, _ours):
                failed += run(rows, options, is_done, keep)
    return failed


def _peers(rows: Rows, options: Options, is_done: IsDone, keep: Keep) -> list[str]:
    failed: list[str] = []
    if not options.peers:
        return failed
    encoder, encoder_fingerprint = sentence_encoder(options.encoder, options.models)
    prints = {method: peer_fingerprint(rows, options.peer_options, encoder_fingerprint, method) for method in options.peers}
    open_methods = [method for method in options.peers if not is_done(rows.set.name, rows.seed, method, prints[method])]
    for methods in grouped(open_methods):
        print(f"{rows.set.name} seed {rows.seed}: {', '.join(methods)}", flush=True)
        try:
            outcomes = run_peers(methods, rows.seed_rows, rows.test, rows.seed, encoder, options.peer_options, options.peers_python)
        except PeerFailed as error:
            print(error, flush=True)
            failed += [f"{rows.set.name} seed {rows.seed} {method}" for method in methods]
            continue
        for method in methods:
            keep(_entry(rows, method, outcomes[method], prints[method]))
    return failed


def _ours(rows: Rows, options: Options, is_done: IsDone, keep: Keep) -> list[str]:
    failed: list[str] = []
    real = rows.set.unlabelled(rows.seed)
    if "ceiling" in options.ours and not real:
        print(f"{rows.set.name}: no ceiling, as there are no real texts besides the rows.", flush=True)
    for preset in options.presets:
        spec = seeded_spec(preset, options.overrides, rows.seed)
        wanted = [method for method in options.ours if method != "ceiling" or real]
        prints = {method: ours_fingerprint(rows, spec, method) for method in wanted}
        methods = [method for method in wanted if not is_done(rows.set.name, rows.seed, f"{preset}/{method}", prints[method])]
        if not methods:
            continue
        name = f"{rows.set.name} seed {rows.seed} {preset}"
        print(f"{name}: {', '.join(methods)}", flush=True)
        # Named by all that decides what is in it: a run that was cut off goes on only where nothing has changed.
        work = options.runs / f"{rows.set.name}-{rows.seed}-{preset}-{digest([ours_fingerprint(rows, spec, ''), list(KINDS)])}"
        job = OursJob(name, spec, rows.seed_rows, rows.test, real, methods, work, options.models)

        def record(method: str, outcome: Outcome, preset: str = preset, prints: dict[str, str] = prints) -> None:
            keep(_entry(rows, f"{preset}/{method}", outcome, prints[method]))

        try:
            run_ours(job, record)
        except (ArithmeticError, ModelUnavailable, OSError, RuntimeError, ValueError):  # of this run; a fault in the bench ends it
            traceback.print_exc()
            failed.append(name)
        else:
            shutil.rmtree(work, ignore_errors=True)
    return failed


def _entry(rows: Rows, method: str, outcome: Outcome, fingerprint: str) -> Entry:
    accuracy, macro_f1 = scores(outcome.answers, rows.test)
    print(f"  {rows.set.name} seed {rows.seed} {method}: accuracy {100 * accuracy:.1f}, macro F1 {100 * macro_f1:.1f}", flush=True)
    return Entry(
        set=rows.set.name,
        seed=rows.seed,
        method=method,
        accuracy=accuracy,
        macro_f1=macro_f1,
        parameters=outcome.parameters,
        bytes=outcome.bytes,
        train_seconds=outcome.train_seconds,
        texts_per_second=outcome.texts_per_second,
        classes=len({row.label for row in rows.seed_rows}),
        seed_rows=len(rows.seed_rows),
        redrawn=rows.set.redraws,
        test_rows=len(rows.test),
        test_rows_there=len(rows.set.test),
        notes=outcome.notes,
        fingerprint=fingerprint,
        origin="",
    )
