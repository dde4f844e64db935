"""What must be true when all faults are over, whatever they were. Each check returns what it found wrong, in words."""

from collections import Counter
from contextlib import suppress

from tests.chaos.cluster import Cluster, Json
from tests.chaos.services import in_sessions
from tests.waiting import wait_for
from tests.workers.tiny import LABELS, SIGNAL

_TEXTS = [" ".join(SIGNAL[label][:4]) for label in LABELS]


def all_jobs_succeeded(cluster: Cluster, submitted: list[str]) -> list[str]:
    """None is lost, none was made twice."""
    wrong = []
    known = {row["id"]: row for row in cluster.rows("SELECT id, status, error FROM jobs")}
    if set(known) != set(submitted):
        wrong.append(f"{len(submitted)} jobs were submitted, and there are {len(known)}")
    wrong += [f"job {job} is {row['status']}: {row['error']}" for job, row in known.items() if row["status"] != "succeeded"]
    runs = cluster.stage_runs()
    return wrong + [f"{run.stage} (shard {run.shard}) of {run.job_id} is {run.status}" for run in runs if run.status != "succeeded"]


def nothing_finished_ran_again(events: dict[str, list[Json]]) -> list[str]:
    """Unless an event in between says that what it had made was damaged or gone."""
    wrong = []
    for job_id, of_job in events.items():
        finished: set[tuple[str, int]] = set()
        for event in of_job:
            place = (event["stage"], event["data"].get("shard", 0))
            match event["type"]:
                case "stage_succeeded" if place in finished:
                    wrong.append(f"{place} of {job_id} succeeded twice")
                case "stage_started" if place in finished:
                    wrong.append(f"{place} of {job_id} ran again")
                case "stage_succeeded":
                    finished.add(place)
                case "stage_rebuilt":
                    finished.clear()
                case "stage_sharded":
                    finished = {other for other in finished if other[0] != event["stage"]}
    return wrong


def each_job_published_once(cluster: Cluster) -> list[str]:
    wrong = []
    published = cluster.rows("SELECT name, version, job_id FROM students")
    jobs = {row["id"]: row["name"] for row in cluster.rows("SELECT id, name FROM jobs")}
    by_job = Counter(row["job_id"] for row in published)
    wrong += [f"job {job} has published {by_job[job]} versions" for job in jobs if by_job[job] != 1]
    events = Counter(row["job_id"] for row in cluster.rows("SELECT job_id FROM events WHERE type = 'student_published'"))
    wrong += [f"job {job} has {events[job]} events of publication" for job in jobs if events[job] != 1]
    for name in set(jobs.values()):
        versions = sorted(row["version"] for row in published if row["name"] == name)
        if versions != list(range(1, len(versions) + 1)):
            wrong.append(f"{name} has the versions {versions}")
    return wrong


def latest_is_where_its_history_leads(cluster: Cluster) -> list[str]:
    """Each publication decided once about `latest`, and knew where it was then."""
    wrong = []
    decided = Counter(row["job_id"] for row in cluster.rows("SELECT job_id FROM events WHERE type IN ('latest_moved', 'latest_kept')"))
    published = cluster.rows("SELECT name, version, job_id FROM students")
    wrong += [f"job {row['job_id']} has decided {decided[row['job_id']]} times" for row in published if decided[row["job_id"]] != 1]
    aliases = {row["name"]: row["version"] for row in cluster.rows("SELECT name, version FROM aliases WHERE alias = 'latest'")}
    wrong += [f"{name} has no latest" for name in {row["name"] for row in published} - set(aliases)]
    history = cluster.rows("SELECT name, from_version, to_version FROM alias_moves WHERE alias = 'latest' ORDER BY id")
    for name, version in aliases.items():
        moves = [(row["from_version"], row["to_version"]) for row in history if row["name"] == name]
        path = [None, *(to for _, to in moves)]
        if [before for before, _ in moves] != path[:-1] or path[-1] != version:
            wrong.append(f"{name}@latest is {version}, and its moves are {moves}")
        if (name, version) not in {(row["name"], row["version"]) for row in published}:
            wrong.append(f"{name}@latest is {version}, which there is not")
    return wrong


def students_answer(cluster: Cluster) -> list[str]:
    wrong = []
    for row in cluster.rows("SELECT name, version FROM students"):
        student = f"{row['name']}:{row['version']}"
        answer = cluster.call("POST", "/predict", json={"student": student, "inputs": _TEXTS})
        if answer.status_code != 200 or len(answer.json()["predictions"]) != len(_TEXTS):
            wrong.append(f"{student} answers {answer.status_code} {answer.text}")
    return wrong


def no_process_is_left(cluster: Cluster) -> list[str]:
    """While the workers wait for the next job, there is no process of a stage; those of workers that died have gone too."""

    def left() -> list[str]:
        alive = [worker.pid for worker in cluster.workers if worker.pid is not None]
        dead = set().union(*(worker.sessions for worker in cluster.workers)) - set(alive)
        found = [f"process {process.pid} of a dead worker" for process in in_sessions(dead)]
        return found + [f"stage process {process.pid}" for worker in cluster.workers for process in worker.stage_processes()]

    with suppress(AssertionError):
        wait_for(lambda: not left(), 20, "no stage process")
    return left()


def no_orphans_after_gc(cluster: Cluster) -> list[str]:
    """Looked up here, and not taken from what gc says of itself."""
    answer = cluster.call("POST", "/maintenance/gc")
    if answer.status_code != 200:
        return [f"gc answers {answer.status_code} {answer.text}"]
    keys = {row["artefact_key"] for table in ("stage_runs", "students") for row in cluster.rows(f"SELECT artefact_key FROM {table}")}
    datasets = {row["content_hash"] for row in cluster.rows("SELECT content_hash FROM datasets")}
    used = {"artefacts": keys, "datasets": datasets}
    wrong = []
    for name in cluster.store.names():
        folder, _, rest = name.partition("/")
        if (name != "ping" and rest.partition("/")[0] not in used.get(folder, set())) or name.endswith(".part"):
            wrong.append(f"orphan blob {name}")
    return wrong


def no_half_made_outputs(cluster: Cluster) -> list[str]:
    """On the workers' own disk. Their sweepers remove those of killed processes; the newest after a minute."""
    work = cluster.data_dir / "work"

    def left() -> list[str]:
        return [f"orphan {path} on the worker's disk" for path in (work.iterdir() if work.is_dir() else [])]

    with suppress(AssertionError):
        wait_for(lambda: not left(), 90, "an empty folder")
    return left()


def nothing_ended_by_itself(cluster: Cluster) -> list[str]:
    return [*cluster.refusals, *(crash for service in cluster.services for crash in service.crashes)]


def violations(cluster: Cluster, submitted: list[str], events: dict[str, list[Json]]) -> list[str]:
    return [
        *all_jobs_succeeded(cluster, submitted),
        *nothing_finished_ran_again(events),
        *each_job_published_once(cluster),
        *latest_is_where_its_history_leads(cluster),
        *students_answer(cluster),
        *no_process_is_left(cluster),
        *no_orphans_after_gc(cluster),
        *no_half_made_outputs(cluster),
        *nothing_ended_by_itself(cluster),
    ]
