"""Rows as they came, and how faults in them are gathered."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.errors import FieldError, ServiceError

LISTED = 50
"""Faults that one answer lists; all are counted."""

SURROGATES = re.compile("[\ud800-\udfff]")
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Controls, ends of lines, and what turns the order of all that follows (https://trojansource.codes): not in a name that people read."""
PLAIN_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
"""The same for a remark of several lines, as a pattern of JSON schemas."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One unchecked row. `row` is 1 for the first row of data; `text` and `label` are None where the row has none."""

    row: int
    text: object
    label: object


@dataclass
class Faults:
    """Gathers faults, keeps the first `LISTED` and counts all."""

    listed: list[FieldError] = field(default_factory=list)
    total: int = 0

    def add(self, detail: str, remedy: str, *, row: int | None = None, column: str | None = None) -> None:
        self.total += 1
        if len(self.listed) < LISTED:
            self.listed.append(FieldError(row=row, column=column, detail=detail, remedy=remedy))

    def raise_any(self, status: int, type: str, summary: str) -> None:
        """Raises one `ServiceError` for all faults, if there are any. `summary` opens its detail."""
        if not self.listed:
            return
        first = self.listed[0]
        place = f"row {first.row}: " if first.row else ""
        more = f" ({self.total} faults in all)" if self.total > 1 else ""
        raise ServiceError(
            status, type, f"{summary}: {place}{first.detail}{more}", remedy=first.remedy, errors=self.listed, errors_total=self.total
        )


def quote(value: str) -> str:
    """A caller's string, short and printable, for an error or a warning."""
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


def number_list(rows: Iterable[int], limit: int = 10) -> str:
    """`rows 3, 8, 9, ...`: the first `limit` row numbers."""
    numbers = sorted(rows)
    shown = ", ".join(str(number) for number in numbers[:limit])
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{', ...' if len(numbers) > limit else ''}"


def limit_text(name: str, value: int) -> str:
    """Names a limit: its value, and the setting that changes it."""
    return f"the limit is {value:,} (setting GENDISTIL_LIMITS__{name.upper()})"


def too_many_rows(limit: int, found: str) -> ServiceError:
    return ServiceError(
        422, "too-many-rows", f"There are {found} rows; {limit_text('max_rows', limit)}.", remedy="Send fewer rows, or raise the setting."
    )


def no_rows(detail: str) -> ServiceError:
    return ServiceError(422, "empty-file", detail, remedy="Send at least two classes of rows, each with a text and a label.")


def missing_columns(wanted: list[str], found: Iterable[str], *, text_column: str, label_column: str, what: str) -> ServiceError:
    """`what` says where the columns were looked for: `header` or `objects`."""
    names = ", ".join(quote(name) for name in list(found)[:20]) or "none"
    remedy = (
        f"Name the columns {quote(text_column)} and {quote(label_column)} in the {what}, "
        "or say with `text_column` and `label_column` what yours are called."
    )
    errors = [FieldError(column=name, detail=f"there is no column {quote(name)}", remedy=remedy) for name in wanted]
    missing = " and ".join(quote(name) for name in wanted)
    return ServiceError(422, "missing-columns", f"There is no column {missing}; columns found: {names}.", remedy=remedy, errors=errors)


def check_columns(text_column: str, label_column: str) -> None:
    """Raises `ServiceError` unless the two names can name two columns."""
    for option, name in (("text_column", text_column), ("label_column", label_column)):
        if not name.strip() or len(name) > 200 or SURROGATES.search(name):
            detail = f"`{option}` must be a column's name of 1 to 200 characters"
            raise ServiceError(422, "invalid-column-name", detail, remedy="Give the name as it stands in the header.")
    if text_column == label_column:
        detail = f"`text_column` and `label_column` are both {quote(text_column)}"
        raise ServiceError(422, "invalid-column-name", detail, remedy="Name two different columns.")
