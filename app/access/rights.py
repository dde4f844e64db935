"""What a caller may do beyond its route: with keys and rows of other projects."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from app.errors import ServiceError, not_found
from app.lookups import storable
from app.ownership import current_project
from app.principals import SCOPES, Principal, Scope, current_principal
from app.tables import Project


def scope_missing(principal: Principal, need: Scope) -> ServiceError:
    return ServiceError(
        403,
        "scope-missing",
        f"The API key {principal.name!r} lacks the scope `{need}`: {SCOPES[need]}",
        remedy="Use a key with this scope; `gendistil keys create` makes one.",
    )


def is_operator() -> bool:
    """Whoever asks, where keys are off."""
    principal = current_principal.get()
    return principal is None or principal.may("operator")


def require(needs: Iterable[Scope]) -> None:
    """Raises `ServiceError` 403 unless the caller has them all."""
    principal = current_principal.get()
    for need in needs:
        if principal is not None and not principal.may(need):
            raise scope_missing(principal, need)


def project_asked(asked: str | None) -> str:
    """The caller's own, or another that an operator names. Raises `ServiceError` 403."""
    if asked is not None and asked != current_project():
        require(["operator"])
    return asked or current_project()


def find_project(session: Session, project_id: str, *, lock: bool = False, share: bool = False) -> Project:
    """`lock`: nobody else changes or deletes it until the transaction ends; `share`: as `lock`, for several at a time.

    Raises `ServiceError` 404.
    """
    locked: bool | dict[str, bool] = {"read": True} if share else lock
    found = session.get(Project, project_id, with_for_update=locked) if storable(project_id) else None
    if found is None:
        raise not_found("project", project_id[:60], "An operator lists them by GET /projects, and makes one by POST /projects.")
    return found
