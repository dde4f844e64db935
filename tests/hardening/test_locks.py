"""The locks: complete, of the versions that constraints.txt says, and nothing in them without a hash."""

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS: dict[str, list[str]] = {"base": [], **PROJECT["optional-dependencies"]}
TORCH = {"torch"}
"""Installed from its own lock, or from another index."""


@dataclass(frozen=True)
class Entry:
    version: str
    marker: Marker | None
    hashes: list[str]


def entries(lock: Path) -> dict[str, Entry]:
    """Raises `AssertionError` for a line that is neither an entry nor a comment."""
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    found: dict[str, Entry] = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        lines = [line.removesuffix(" \\").strip() for line in entry.split("\n")]
        name, pin, marker = re.fullmatch(r"([\w.\[\],-]+)==([^\s;]+)(?: ; (.+))?", lines[0]).groups()  # type: ignore[union-attr]  # no match fails the test
        hashes = [line.removeprefix("--hash=sha256:") for line in lines[1:]]
        assert canonicalize_name(name) not in found
        found[canonicalize_name(name)] = Entry(pin, Marker(marker) if marker else None, hashes)
    return found


def constraints(path: Path = ROOT / "constraints.txt") -> dict[str, str]:
    return {canonicalize_name(name): pin for name, pin in re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE)}


def here(entry: Entry) -> bool:
    return entry.marker is None or entry.marker.evaluate()


@pytest.mark.parametrize("lock", [*LOCKS, ROOT / "weights.txt"], ids=lambda path: path.stem)
def test_every_entry_has_hashes_and_nothing_else_is_installed_by_a_lock(lock: Path) -> None:
    found = entries(lock)
    assert found
    for name, entry in found.items():
        assert entry.hashes, name
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in entry.hashes), name


def test_there_is_a_lock_for_every_group() -> None:
    assert {lock.stem for lock in LOCKS} == {*GROUPS, "build", "torch", "peers"}


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if lock.stem != "peers"], ids=lambda path: path.stem)
def test_the_versions_are_those_of_the_constraints(lock: Path) -> None:
    assert {name: entry.version for name, entry in entries(lock).items()}.items() <= constraints().items()


def test_constraints_name_nothing_that_no_lock_has() -> None:
    locked = {name for lock in LOCKS if lock.stem != "peers" for name in entries(lock)}
    assert set(constraints()) == locked


def test_the_peers_lock_is_that_of_their_requirements() -> None:
    wanted = constraints(ROOT / "benchmarks" / "peers" / "requirements.txt")
    assert {name: entry.version for name, entry in entries(ROOT / "requirements" / "peers.txt").items()} == {
        name: pin for name, pin in wanted.items() if name not in TORCH
    }


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_and_all_that_it_brings_are_locked(group: str) -> None:
    """Walks what the installed packages ask for, as an installer without --no-deps would."""
    parts = [entries(ROOT / "requirements" / f"{part}.txt") for part in {"base", group}]
    waiting = [Requirement(line) for line in [*PROJECT["dependencies"], *GROUPS[group]]]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name, extras = canonicalize_name(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in TORCH:
            locked = [part[name] for part in parts if name in part and here(part[name])]
            assert locked, f"{name} is in no lock of {group}: make lock"
            for entry in locked:
                assert wanted.specifier.contains(entry.version, prereleases=True), f"{wanted}, but {entry.version} is locked"
        waiting += [child for child in map(Requirement, _requires(name)) if _applies(child, extras)]
    assert len(seen) > 40


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        # The S3 driver comes with the tests; nothing else of a group is missing where these run.
        pytest.fail(f"{name} is not installed: make install")


def _applies(wanted: Requirement, extras: frozenset[str]) -> bool:
    return wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""})


def test_this_environment_is_the_locked_one() -> None:
    different = {}
    for lock in LOCKS:
        if lock.stem in {"peers", "torch"}:
            continue
        for name, entry in entries(lock).items():
            if here(entry) and version(name) != entry.version:
                different[name] = (version(name), entry.version)
    assert different == {}


def test_torch_is_of_the_locked_version_whatever_its_build() -> None:
    assert version("torch").partition("+")[0] == entries(ROOT / "requirements" / "torch.txt")["torch"].version


def test_make_install_takes_nothing_but_locks() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("$(INSTALLED): ")[2].partition("\n\n")[0]
    installs = re.findall(r"-m pip (.+)", recipe)
    assert len(installs) == 4
    assert all(line.startswith(("$(LOCKED)", "$(BUILT)")) for line in installs[:3])
    assert installs[3] == "install --no-deps --no-build-isolation -e ."
    for options in re.findall(r"^(?:LOCKED|BUILT) := (.+)$", makefile, re.MULTILINE):
        assert {"--no-deps", "--require-hashes"} <= set(options.split())
