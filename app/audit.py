"""Who did what: rows that are written in the transaction of what they tell of, and never changed.

What requests add and delete is noticed as it is written, so that no route can forget it; changes of what stays are told by `record`.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session, UOWTransaction

from app.logs import bound
from app.ownership import current_project
from app.principals import current_principal
from app.tables import AliasMove, AuditEntry, BulkPrediction, Dataset, Job, OpenAiFile, Shadow, Student, Webhook

ANYONE = "anyone"
"""Who acts where keys are off."""
_WATCHED: dict[type[Any], tuple[str, Callable[[Any], str]]] = {
    Dataset: ("dataset", lambda row: row.id),
    Job: ("job", lambda row: row.id),
    Student: ("student", lambda row: f"{row.name}:{row.version}"),
    Shadow: ("shadow", lambda row: row.name),
    BulkPrediction: ("prediction", lambda row: row.id),
    OpenAiFile: ("file", lambda row: row.id),
    Webhook: ("webhook", lambda row: row.id),
}


def record(session: Session, action: str, subject: str, detail: dict[str, Any] | None = None, *, actor: str | None = None) -> None:
    """Of the request at hand. `actor`: who acts outside of one. `detail` holds no text of a user's rows. The caller commits."""
    principal = current_principal.get()
    request_id = bound("request_id")
    session.add(
        AuditEntry(
            project_id=current_project(),
            key_id=principal.key_id if principal else None,
            actor=actor or (principal.name if principal else ANYONE),
            action=action,
            subject=subject[:200],
            detail=detail or {},
            request_id=str(request_id) if request_id else None,
        )
    )


@event.listens_for(Session, "before_flush")
def _notice(session: Session, _context: UOWTransaction, _instances: object) -> None:
    if not bound("request_id"):  # a worker's doing, which the job's events tell
        return
    for done, rows in (("created", list(session.new)), ("deleted", list(session.deleted))):
        for row in rows:
            if (watched := _WATCHED.get(type(row))) is not None:
                kind, subject = watched
                record(session, f"{kind}.{done}", subject(row))
            elif isinstance(row, AliasMove) and done == "created":
                moved = {"from": row.from_version, "to": row.to_version, "cause": row.cause}
                record(session, "alias.moved", f"{row.name}@{row.alias}", moved)
