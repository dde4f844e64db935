"""`/keys` and `/audit`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.access import service
from app.access.keyring import refresh_keyring
from app.access.project_schemas import ProjectId
from app.access.schemas import AuditOut, KeyIn, KeyOut, Moment, NewKeyOut
from app.database import ReadSessionDep, transaction
from app.openapi import problems
from app.paging import LARGEST_ID, Page, PageLimit
from app.principals import needs

router = APIRouter(tags=["access"])

_NONE = "There is no such key."
ProjectAsked = Annotated[ProjectId | None, Query(description="Of this project, for an operator; else of the key's own.")]


@router.post(
    "/keys",
    status_code=201,
    responses=problems(_400="The body cannot be read.", _404="There is no such project.", _422="A value out of range."),
)
@needs("admin")
def post_key(wanted: KeyIn) -> NewKeyOut:
    """Makes a key. The answer holds it, this once: the service keeps only its hash.

    It may do at most what the key that asks may. One of another project is made by an operator.
    """
    with transaction() as session:
        return service.create_key(session, wanted)


@router.get("/keys", responses=problems(_422="A value out of range."))
@needs("admin")
def list_keys(
    session: ReadSessionDep,
    limit: PageLimit,
    after: Annotated[str | None, Query(description="Id of the last one seen.")] = None,
    project: ProjectAsked = None,
) -> Page[KeyOut]:
    """The newest first, those that have expired or were revoked too."""
    items, has_more = service.list_keys(session, limit=limit, after=after, project=project)
    return Page[KeyOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.delete("/keys/{key_id}", responses=problems(_404=_NONE, _409="It is the key that asks."))
@needs("admin")
def revoke_key(key_id: str, request: Request) -> KeyOut:
    """Revokes it: here at once, in other processes within a second. It stays in the list.

    The key that asks must have all of its scopes. Keys of other projects are revoked by an operator.
    """
    with transaction() as session:
        found = service.revoke_key(session, key_id)
    refresh_keyring(request)
    return found


@router.get("/audit", responses=problems(_422="A value out of range."))
@needs("admin")
def list_audit(
    session: ReadSessionDep,
    limit: PageLimit,
    after: Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="Id of the last one seen.")] = None,
    subject: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="Id or name of what it was done to.")] = None,
    since: Moment | None = None,
    project: ProjectAsked = None,
) -> Page[AuditOut]:
    """Who made, changed or deleted what, the newest first."""
    items, has_more = service.list_audit(session, limit=limit, after=after, subject=subject, since=since, project=project)
    return Page[AuditOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)
