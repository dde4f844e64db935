"""Installs torch into the Python that runs this, after all else. `python requirements/install_torch.py [INDEX]`

torch.txt knows the hashes of the package index's torch, which on Linux is built for CUDA. Another build (2.13.0+cpu, 2.13.0+cu126)
comes from an index of torch's own, with hashes of its own: it is installed by its version alone, and that is said.
"""

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("torch.txt")
PIP = [sys.executable, "-m", "pip"]


def version() -> str:
    """What the lock has."""
    found = re.search(r"^torch==(\S+)", LOCK.read_text(), re.MULTILINE)
    if found is None:
        raise ValueError(f"{LOCK} does not pin torch.")
    return found[1]


def local_build(wanted: str) -> str | None:
    """`2.13.0+cpu` where pip is configured for a place that offers such a build: pip would take it."""
    offered = subprocess.run([*PIP, "index", "versions", "torch"], capture_output=True, text=True, check=False).stdout
    found = re.search(rf"{re.escape(wanted)}\+[\w.]+", offered)
    return found[0] if found else None


def arguments(index: str | None) -> list[str]:
    """Of `pip install`. What a build needs beyond the locks, which are installed by now, comes with it."""
    wanted = version()
    if index:
        print(f"torch {wanted} comes from {index}: its version is checked, its hash is not.")
        # No other index beside it, so that nobody else's package of a name can take its place.
        return ["--only-binary", ":all:", "--index-url", index, f"torch=={wanted}"]
    if build := local_build(wanted):
        print(f"pip is configured for torch {build}: its version is checked, its hash is not.")
        return ["--only-binary", ":all:", f"torch=={build}"]
    return ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]


if __name__ == "__main__":
    options = arguments(sys.argv[1] if len(sys.argv) > 1 else None)
    sys.exit(subprocess.run([*PIP, "install", *options], check=False).returncode)
