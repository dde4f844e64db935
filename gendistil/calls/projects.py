"""Projects: whose rows are kept apart, and how much each may use. All but `get` needs a key with the scope `operator`."""

from typing import TypedDict, Unpack

from gendistil.models import Project, ProjectDetail
from gendistil.steps import Flow, done, fetched, given, listed

ONE = "/projects/{project_id}"


class Quotas(TypedDict, total=False):
    """None for any number."""

    jobs_running: int | None
    jobs_open: int | None
    rows: int | None
    bytes: int | None
    minutes_per_month: float | None
    texts_per_second: float | None


def create(id: str, **quotas: Unpack[Quotas]) -> Flow[Project]:
    """`id`: small letters, digits and hyphens."""
    return fetched(Project, "POST", "/projects", json=given(id=id, **quotas))


def get(id: str) -> Flow[ProjectDetail]:
    """Its quotas, and what it uses."""
    return fetched(ProjectDetail, "GET", ONE, id)


def all_projects(limit: int = 100) -> Flow[list[Project]]:
    """By their ids."""
    return listed(Project, "/projects", limit=limit)


def change(id: str, **quotas: Unpack[Quotas]) -> Flow[Project]:
    """Those that are left out stay as they are; None lifts one."""
    return fetched(Project, "PATCH", ONE, id, json=quotas)


def delete(id: str) -> Flow[None]:
    """Once nothing is left in it and its keys are revoked."""
    return done("DELETE", ONE, id)
