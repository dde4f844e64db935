"""Asks who publishes advisories (PyPI, or else OSV) about every package of the locks. `python requirements/audit.py`, part of `make lint`

A finding fails, but for those that accepted.toml argues. Where neither answers, that is said, and nothing fails: pip-audit itself
finds no vulnerabilities in packages that it could not ask about.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVICES = ("pypi", "osv")
PROBE = HERE / "build.txt"
"""One package: enough to learn whether a service answers."""


@dataclass(frozen=True)
class Audit:
    """`findings`: (advisory, its other names, package with version). `unknown`: packages that the service knows nothing of."""

    audited: int
    findings: list[tuple[str, list[str], str]]
    unknown: list[str]


def audit(service: str, *locks: Path) -> Audit | None:
    """None where the service does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--disable-pip", "--require-hashes"]
    options = [
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "--timeout",
        "10",
        *(part for lock in locks for part in ("--requirement", str(lock))),
    ]
    answered = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        told = json.loads(answered.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return read(told)


def read(told: list[dict[str, Any]]) -> Audit | None:
    """What pip-audit's JSON says of its `dependencies`; None where it learned nothing of any."""
    asked = [package for package in told if "vulns" in package]
    if not asked:
        return None
    findings = [
        (fault["id"], fault.get("aliases", []), f"{package['name']} {package['version']}")
        for package in asked
        for fault in package["vulns"]
    ]
    return Audit(len(asked), findings, [str(package["name"]) for package in told if "skip_reason" in package])


def refused(findings: list[tuple[str, list[str], str]], accepted: Mapping[str, str]) -> Iterator[str]:
    """Lines about the findings that nothing argues, and about arguments that nothing needs any more."""
    named = {name for id, aliases, _ in findings for name in (id, *aliases)}
    for id, aliases, package in findings:
        if not accepted.keys() & {id, *aliases}:
            yield f"{package}: {', '.join([id, *aliases])}. Take a version without it, or argue it in requirements/accepted.toml."
    for name in accepted.keys() - named:
        yield f"requirements/accepted.toml argues {name}, which no package has any more: remove it."


def main() -> int:
    service = next((service for service in SERVICES if audit(service, PROBE)), None)
    if service is None:
        print("audit: SKIPPED. Neither PyPI's advisories nor OSV can be reached from here: nothing is known about the packages.")
        return 0
    # The peers have an environment of their own, with other versions of the same packages.
    ours = [lock for lock in sorted(HERE.glob("*.txt")) if lock.name != "peers.txt"]
    found = [part for part in (audit(service, *ours), audit(service, HERE / "peers.txt")) if part]
    if len(found) < 2:
        print(f"audit: SKIPPED. {service} stopped answering.")
        return 0
    for name in sorted({name for part in found for name in part.unknown}):
        print(f"audit: {service} does not know {name}.")
    accepted = tomllib.loads((HERE / "accepted.toml").read_text())
    faults = list(refused([finding for part in found for finding in part.findings], accepted))
    print("\n".join(faults) or f"audit: {sum(part.audited for part in found)} packages, no advisory that is not argued ({service}).")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
