"""`/keys` and `/audit`."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from app.access import service
from app.access.keyring import Keyring
from app.access.schemas import AuditOut, KeyIn, KeyOut, Moment, NewKeyOut
from app.database import ReadSessionDep, transaction
from app.openapi import problems
from app.paging import Page, PageLimit
from app.principals import needs

router = APIRouter(tags=["access"])

_NONE = "There is no such key."
_LARGEST_ID = 2**63 - 1


@router.post("/keys", status_code=201, responses=problems(_400="The body cannot be read.", _422="A value out of range."))
@needs("admin")
async def post_key(wanted: KeyIn, request: Request) -> NewKeyOut:
    """Makes a key. The answer holds it, this once: the service keeps only its hash."""

    def create() -> NewKeyOut:
        with transaction() as session:
            return service.create_key(session, wanted)

    return await run_in_threadpool(create)


@router.get("/keys", responses=problems(_422="A value out of range."))
@needs("admin")
def list_keys(
    session: ReadSessionDep, limit: PageLimit, after: Annotated[str | None, Query(description="Id of the last one seen.")] = None
) -> Page[KeyOut]:
    """The newest first, those that have expired or were revoked too."""
    items, has_more = service.list_keys(session, limit=limit, after=after)
    return Page[KeyOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)


@router.delete("/keys/{key_id}", responses=problems(_404=_NONE, _409="It is the key that asks."))
@needs("admin")
async def revoke_key(key_id: str, request: Request) -> KeyOut:
    """Revokes it: here at once, in other processes within a second. It stays in the list."""

    def revoke() -> KeyOut:
        with transaction() as session:
            found = service.revoke_key(session, key_id)
        keyring: Keyring | None = request.app.state.keyring
        if keyring is not None:
            keyring.refresh()
        return found

    return await run_in_threadpool(revoke)


@router.get("/audit", responses=problems(_422="A value out of range."))
@needs("admin")
def list_audit(
    session: ReadSessionDep,
    limit: PageLimit,
    after: Annotated[int | None, Query(ge=0, le=_LARGEST_ID, description="Id of the last one seen.")] = None,
    subject: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="Id or name of what it was done to.")] = None,
    since: Moment | None = None,
) -> Page[AuditOut]:
    """Who made, changed or deleted what, the newest first."""
    items, has_more = service.list_audit(session, limit=limit, after=after, subject=subject, since=since)
    return Page[AuditOut](items=items, has_more=has_more, next_after=items[-1].id if has_more else None)
