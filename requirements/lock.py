"""Writes the locks beside it: every package that a group of pyproject.toml needs, with its version and its files' hashes. `make lock`

constraints.txt decides the versions. uv compiles, and not pip-tools or `pip lock`: it answers for every platform and Python at once, and
reads of a package of gigabytes only its metadata. pip installs: it is there wherever Python is.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
BASE = "base"
TORCH = re.compile(r"(torch|triton|cuda-\S+|nvidia-\S+)==")
"""torch, and what only its build for CUDA needs: other builds take its place, see install_torch.py."""
HEADER = "# Made by `make lock` from {source}; edit those, not this. {use}\n"
USE = "Install with: pip install --no-deps --require-hashes --only-binary :all: -r"


def compiled(*arguments: str) -> list[str]:
    """The entries of a lock: `name==version ; marker` and its hashes. Raises CalledProcessError where pins contradict each other."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    # No configuration of the machine's: what its owner set for other projects has no say in the locks.
    options = ["--generate-hashes", "--no-annotate", "--no-header", "--no-config", "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        subprocess.run([*command, *options, *arguments, "--output-file", str(output)], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        return re.split(r"\n(?=\S)", output.read_text().strip())


def write(name: str, source: str, entries: list[str]) -> None:
    lock = HERE / f"{name}.txt"
    lock.write_text(HEADER.format(source=source, use=f"{USE} requirements/{lock.name}") + "".join(f"{entry}\n" for entry in entries))


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = ["--constraint", "constraints.txt", "pyproject.toml"]
    source = "pyproject.toml and constraints.txt"
    base = compiled(*pinned)
    write(BASE, source, base)
    torch: list[str] = []
    for group in project["project"]["optional-dependencies"]:
        added = [entry for entry in compiled(*pinned, "--extra", group) if entry not in base]
        torch = torch or [entry for entry in added if TORCH.match(entry)]
        write(group, f"{source}; base.txt holds the rest", [entry for entry in added if entry not in torch])
    write("torch", source, torch)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write("\n".join(project["build-system"]["requires"]))
        wanted.flush()
        write("build", source, compiled(*pinned[:-1], wanted.name))
    peers = "benchmarks/peers/requirements.txt"
    write("peers", peers, [entry for entry in compiled(peers) if not TORCH.match(entry)])


if __name__ == "__main__":
    main()
