"""What API keys cost a prediction, and what one project's flood costs another's callers."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.access.project_schemas import ProjectIn
from app.access.projects import create_project
from app.access.schemas import KeyIn
from app.access.service import create_key
from app.contracts.projects import DEFAULT_PROJECT
from app.database import transaction
from benchmarks.serving.load import Load, run_apart
from benchmarks.serving.service import Service

Figures = dict[str, Any]

QUIET_RATE = 50.0
"""Requests a second of the project whose callers must not notice."""
START_SECONDS = 1.5
"""For the flood's own process to begin: what that takes of the cores is none of the service's doing."""
FLOOD = "flood"
FLOOD_LIMIT = 100.0
"""Texts a second that the flooding project may send; it sends ten times as many."""
SHARED = "shared"
SHARED_LIMIT = 400.0
"""Texts a second that a project may send to two API processes together."""


def make_key(name: str, project: str = DEFAULT_PROJECT) -> str:
    """In the database of this process' settings, that of the services too."""
    with transaction() as session:
        return create_key(session, KeyIn(name=name, scopes=["predict"], project=project)).key


def make_project(name: str, texts_per_second: float) -> None:
    with transaction() as session:
        create_project(session, ProjectIn(id=name, texts_per_second=texts_per_second))


def cost(without: Service, asked: Service, bodies: list[bytes], rounds: int, seconds: float) -> Figures:
    """Rates of a service that asks for keys beside one that does not, in turn; one text a request."""
    key = make_key("bench")
    figures: Figures = {}
    for connections in (1, 64):
        rates: dict[str, list[float]] = {"without": [], "with": []}
        for number in range(rounds + 1):
            for name, service, sent in (("without", without, ""), ("with", asked, key)):
                outcome = run_apart(Load(service.port, "/predict", bodies, connections, seconds, key=sent))
                if outcome.count() == 0 or len(outcome.latencies) > 1:
                    raise RuntimeError(f"answers {name} keys: { ({status: len(found) for status, found in outcome.latencies.items()}) }")
                if number:  # the first round warms everything up
                    rates[name].append(outcome.rate())
        medians = {name: statistics.median(found) for name, found in rates.items()}
        figures[f"{connections} connections"] = {**medians, "ratio": medians["with"] / medians["without"]}
    return figures


def flood(asked: Service, bodies: list[bytes], rounds: int, seconds: float) -> Figures:
    """The p99 of a few callers while another project sends ten times what it may, beside their p99 in quiet."""
    quiet_key, flood_key = make_key("quiet"), make_key("flood", FLOOD)
    quiet_load = Load(asked.port, "/predict", bodies, 16, seconds, rate=QUIET_RATE, key=quiet_key)
    p99: dict[str, list[float]] = {"quiet": [], "flooded": []}
    passed: list[float] = []
    refused: list[float] = []
    for number in range(rounds + 1):
        alone = run_apart(quiet_load)
        other = Load(asked.port, "/predict", bodies, 64, seconds + 2 * START_SECONDS, rate=10 * FLOOD_LIMIT, key=flood_key)
        with ThreadPoolExecutor() as pool:
            flooding = pool.submit(run_apart, other)
            time.sleep(START_SECONDS)
            beside = run_apart(quiet_load)
            flooded = flooding.result()
        if number:
            p99["quiet"].append(alone.percentile(99) * 1e3)
            p99["flooded"].append(beside.percentile(99) * 1e3)
            passed.append(flooded.rate())
            refused.append(flooded.rate(429))
    medians = {name: statistics.median(values) for name, values in p99.items()}
    return {
        "p99_ms": medians,
        "p99_ratio": medians["flooded"] / medians["quiet"],
        "flood": {"limit": FLOOD_LIMIT, "passed": statistics.median(passed), "refused": statistics.median(refused)},
    }


def shared_limit(first: Service, second: Service, bodies: list[bytes], rounds: int, seconds: float) -> Figures:
    """Texts a second that two API processes let through of one project, each of whose two keys sends to one of them all that it can."""
    limit = SHARED_LIMIT
    keys = [make_key(f"shared {number}", SHARED) for number in range(2)]
    shares: list[float] = []
    for _ in range(rounds):
        loads = [
            Load(service.port, "/predict", bodies, 4, 2 * seconds, rate=2 * limit, key=key)
            for service, key in zip((first, second), keys, strict=True)
        ]
        with ThreadPoolExecutor() as pool:
            shares.append(sum(outcome.rate() for outcome in pool.map(run_apart, loads)) / limit)
    return {"limit": limit, "passed_to_limit": {"median": statistics.median(shares), "min": min(shares), "max": max(shares)}}
