"""Projects: made, changed, and deleted once nothing is left in them. Callers commit."""

from typing import Any

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.access.project_schemas import ProjectChange, ProjectDetail, ProjectIn, ProjectOut
from app.access.rights import find_project, is_operator
from app.audit import record
from app.contracts.projects import DEFAULT_PROJECT
from app.errors import ServiceError, not_found
from app.ownership import Owned, current_project, in_project
from app.quotas import usage
from app.tables import (
    Alias,
    AliasMove,
    ApiKey,
    AuditEntry,
    BulkPrediction,
    Dataset,
    IdempotencyKey,
    Job,
    OpenAiFile,
    Project,
    RetiredVersion,
    Shadow,
    Student,
    Traffic,
    Usage,
    Webhook,
    utcnow,
)

HELD: dict[type[Owned], str] = {
    Dataset: "dataset",
    Job: "job",
    Student: "student",
    BulkPrediction: "prediction",
    OpenAiFile: "file",
    Webhook: "webhook",
}
"""A project that has any of these stays."""
DROPPED: tuple[type[Owned], ...] = (Alias, AliasMove, IdempotencyKey, RetiredVersion, Shadow, Traffic, Usage)
"""What may be left of the above, and goes with the project. Its keys, all revoked or expired, and its log stay."""


def create_project(session: Session, wanted: ProjectIn, *, actor: str | None = None) -> ProjectOut:
    """Raises `ServiceError` 409 for an id that there is, or was: whoever had it next would see the first one's log."""
    with in_project(wanted.id):
        if session.get(Project, wanted.id) or session.scalar(select(or_(exists(select(AuditEntry.id)), exists(select(ApiKey.id))))):
            raise _taken(wanted.id)
        project = Project(**wanted.model_dump())
        session.add(project)
        try:
            session.flush()
        except IntegrityError:  # somebody else's was faster
            raise _taken(wanted.id) from None
        record(session, "project.created", project.id, _told(wanted.model_dump(exclude={"id"}, exclude_none=True)), actor=actor)
    return project_out(project)


def list_projects(session: Session, *, limit: int, after: str | None) -> tuple[list[ProjectOut], bool]:
    """By their ids, and whether there are more."""
    query = select(Project).order_by(Project.id).limit(limit + 1)
    if after is not None:
        query = query.where(Project.id > after)
    rows = list(session.scalars(query))
    return [project_out(row) for row in rows[:limit]], len(rows) > limit


def get_project(session: Session, project_id: str) -> ProjectDetail:
    """With what it uses. Raises `ServiceError` 404, also for another than the caller's own, unless an operator asks."""
    if project_id != current_project() and not is_operator():
        raise not_found("project", project_id[:60], f"This key's own is {current_project()!r}.")
    found = project_out(find_project(session, project_id))
    with in_project(project_id):
        return ProjectDetail(**found.model_dump(), usage=usage(session))


def change_project(session: Session, project_id: str, change: ProjectChange) -> ProjectOut:
    """Raises `ServiceError` 404."""
    project = find_project(session, project_id, lock=True)
    changes = change.model_dump(exclude_unset=True)
    for name, value in changes.items():
        setattr(project, name, value)
    with in_project(project_id):
        record(session, "project.changed", project_id, _told(changes))
    return project_out(project)


def delete_project(session: Session, project_id: str) -> None:
    """Raises `ServiceError`: 404, or 409 while there is anything in it."""
    project = find_project(session, project_id, lock=True)
    if project_id == DEFAULT_PROJECT:
        raise _in_use(project_id, "is everyone's where keys are off, and stays.", "Lower its quotas instead: PATCH /projects/default.")
    with in_project(project_id):
        if held := _held(session):
            remedy = f"Delete them with a key of the project, then revoke its keys, which GET /keys?project={project_id} lists."
            raise _in_use(project_id, f"still has {', '.join(held)}.", remedy)
        for table in DROPPED:
            session.execute(delete(table).where(table.project_id == project_id))
        record(session, "project.deleted", project_id)
    session.delete(project)


def project_out(project: Project) -> ProjectOut:
    return ProjectOut.model_validate(project, from_attributes=True)


def _held(session: Session) -> list[str]:
    """By the project at hand: `2 datasets`, `1 job` ..."""
    counts = {what: session.scalar(select(func.count()).select_from(table)) or 0 for table, what in HELD.items()}
    good = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > utcnow()))
    counts["good key"] = session.scalar(select(func.count()).select_from(ApiKey).where(good)) or 0
    return [f"{count:,} {what}{'s' if count > 1 else ''}" for what, count in counts.items() if count]


def _told(quotas: dict[str, Any]) -> dict[str, Any]:
    return {"quotas": quotas} if quotas else {}


def _taken(project_id: str) -> ServiceError:
    detail = f"There is a project {project_id!r}, or there was one, whose log is kept."
    return ServiceError(409, "project-taken", detail, remedy="Choose another id. GET /projects lists those that there are.")


def _in_use(project_id: str, why: str, remedy: str) -> ServiceError:
    return ServiceError(409, "project-in-use", f"The project {project_id!r} {why}", remedy=remedy)
