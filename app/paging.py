"""Lists by cursor: `limit` items after the item `after`."""

from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, Field

from app.config import get_settings
from app.errors import FieldError, ServiceError

Item = TypeVar("Item")
DEFAULT_LIMIT = 20
LARGEST_ID = 2**63 - 1
"""That a database has."""


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    has_more: bool
    next_after: str | int | None = Field(None, description="The `after` of the next page; null on the last.")


def page_limit(limit: Annotated[int, Query(ge=1, description="Items a page.")] = DEFAULT_LIMIT) -> int:
    """Raises `ServiceError` if `limit` is above the setting."""
    largest = get_settings().limits.page_size
    if limit > largest:
        detail = f"limit is {limit:,}; the largest page has {largest:,} items (setting GENDISTIL_LIMITS__PAGE_SIZE)"
        remedy = "Ask for less, and go on with `after`."
        errors = [FieldError(column="query.limit", detail=detail, remedy=remedy)]
        raise ServiceError(422, "invalid-request", detail, remedy=remedy, errors=errors)
    return limit


PageLimit = Annotated[int, Depends(page_limit)]


def unknown_cursor(after: object) -> ServiceError:
    return ServiceError(422, "unknown-cursor", f"There is no item {after!r} to go on after.", remedy="Pass the last page's `next_after`.")
