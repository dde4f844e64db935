"""What the events of a run tell: attempts, and the work that was lost with those that came to nothing."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from tests.chaos.cluster import Cluster, Json

FRUITLESS = {"stage_retried", "stage_released", "stage_rebuilt", "job_failed", "job_cancelled"}
FRUITFUL = {"stage_succeeded", "stage_sharded"}


@dataclass(frozen=True)
class AttemptSpan:
    """From an attempt's start to the moment when its end was recorded; of one that was killed, when that was noticed."""

    job_id: str
    stage: str
    shard: int
    seconds: float
    end: str
    """Type of the event."""


def events_of(cluster: Cluster) -> dict[str, list[Json]]:
    """By job, oldest first, as the API gives them."""
    found: dict[str, list[Json]] = {}
    for row in cluster.rows("SELECT id FROM jobs"):
        found[row["id"]], after = [], 0
        while after is not None:
            page = cluster.call("GET", f"/jobs/{row['id']}/events", params={"after": after}).json()
            found[row["id"]] += page["items"]
            after = page["next_after"]
    return found


def attempts(events: dict[str, list[Json]]) -> list[AttemptSpan]:
    found = []
    for job_id, of_job in events.items():
        begun: dict[tuple[str, int], datetime] = {}
        for event in of_job:
            place, now = (event["stage"], event["data"].get("shard", 0)), datetime.fromisoformat(event["created_at"])
            if event["type"] == "stage_started":
                begun[place] = now
            elif event["type"] in FRUITLESS | FRUITFUL and place in begun:
                found.append(AttemptSpan(job_id, *place, (now - begun.pop(place)).total_seconds(), event["type"]))
    return found


def seconds_by_stage(spans: list[AttemptSpan], ends: set[str]) -> dict[str, float]:
    total: defaultdict[str, float] = defaultdict(float)
    for span in spans:
        if span.end in ends:
            total[span.stage] += span.seconds
    return {stage: round(seconds, 1) for stage, seconds in total.items()}
