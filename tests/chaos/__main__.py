"""`python -m tests.chaos`: many random faults against many jobs; prints a report, and ends with 1 if anything that must hold does not."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.chaos.agreement import undisturbed
from tests.chaos.report import carry_out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20, help="at least so many")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--agree", type=int, nargs="*", default=[1, 2, 4], help="numbers of workers on which the first job is repeated, without faults"
    )
    parser.add_argument("--storage", choices=["local", "s3"], default="local")
    parser.add_argument("--minutes", type=float, default=120, help="after which it counts as stuck")
    parser.add_argument("--out", type=Path, default=Path("chaos-report.json"))
    options = parser.parse_args()
    # Kept if something is wrong: the logs tell what.
    folder = Path(tempfile.mkdtemp(prefix="gendistil-chaos-"))
    report = carry_out(
        folder,
        jobs=options.jobs,
        faults=options.faults,
        seed=options.seed,
        workers=options.workers,
        s3=options.storage == "s3",
        seconds=60 * options.minutes,
    )
    for workers in options.agree:
        if undisturbed(folder / f"agree{workers}", workers) != report.transfer_set:
            report.violations.append(f"on {workers} workers without faults the same job makes another transfer set")
    options.out.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print(report.as_text())
    print(f"written to {options.out}; logs in {folder}")
    return bool(report.violations)


if __name__ == "__main__":
    sys.exit(main())
