"""CSV: any common delimiter, quoted newlines, with or without a space after the delimiter."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _csv

from app.datasets.raw import Faults, RawRow, missing_columns, quote, too_many_rows
from app.errors import ServiceError

DELIMITERS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=[,;\t|]"?\r?\n?')

# The module's own limit of 131,072 characters a field would hide where an unclosed quote opened; the upload's limit bounds a field.
csv.field_size_limit(2**31 - 1)


def parse_csv(text: str, *, text_column: str, label_column: str, max_rows: int | None = None) -> list[RawRow]:
    """Rows of a decoded CSV file with a header line. Raises `ServiceError` with the numbers of the broken rows."""
    text = SEPARATOR_LINE.sub("", text, count=1) if text.startswith(("sep=", '"sep=')) else text
    delimiter, header, spaced = layout(text, {text_column, label_column})
    names = [name.strip() for name in header]
    check_unique([text_column, label_column], names)
    wanted = [column for column in (text_column, label_column) if column not in names]
    if wanted:
        raise missing_columns(wanted, names, text_column=text_column, label_column=label_column, what="header line")

    text_at, label_at = names.index(text_column), names.index(label_column)
    rows: list[RawRow] = []
    faults = Faults()
    for number, fields in records(io.StringIO(text, newline=""), delimiter, spaced, faults):
        if max_rows is not None and number > max_rows:
            raise too_many_rows(max_rows, f"more than {max_rows:,}")
        if fields:
            rows.append(RawRow(number, fields[text_at], fields[label_at]))
    faults.raise_any(400, "broken-rows", "The CSV file is broken")
    return rows


def check_unique(columns: Iterable[str], names: list[str]) -> None:
    """Raises `ServiceError` if the header names one of `columns` more than once."""
    for column in columns:
        if names.count(column) > 1:
            detail = f"The header names {quote(column)} {names.count(column)} times."
            raise ServiceError(422, "duplicate-column", detail, remedy="Rename or remove all but one of these columns.")


def records(stream: Iterable[str], delimiter: str, spaced: bool, faults: Faults) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each row of data, of as many fields as the header; empty for a row that is broken, which `faults` then tells.

    `stream`: the lines from the header on, with their ends. Blank lines are not counted.
    """
    reader = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    number, width = -1, 0
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = number + 1
            if "unexpected end" in str(error):
                detail = f"line {line} opens a quote that is never closed"
                faults.add(detail, "Close the quote; write a quote inside a text twice.", row=row)
            else:
                detail = f"line {line} has text after a closing quote"
                faults.add(detail, 'Write a quote inside a quoted text twice: "".', row=row)
            return
        if _blank(fields):
            continue
        number += 1
        if number == 0:
            width = len(fields)
        elif len(fields) == width:
            yield number, fields
        else:
            detail = f"line {line} has {len(fields)} field{'s' if len(fields) != 1 else ''}, the header {width}"
            if len(fields) > width:
                remedy = f"Put double quotes around a text that holds the delimiter {quote(delimiter)}."
            else:
                remedy = f"Give every row all {width} columns of the header, delimited by {quote(delimiter)}."
            faults.add(detail, remedy, row=number)
            yield number, []


def row_at_end(text: str, *, text_column: str, label_column: str) -> int:
    """Number of the data row in which `text`, the beginning of a file, ends; 0 is the header."""
    try:
        delimiter, _header, spaced = layout(text, {text_column, label_column})
    except ServiceError:
        return 0
    # The sentinel makes sure that a row which has only just begun is counted.
    stream = io.StringIO(f"{text}x", newline="")
    return sum(not _blank(fields) for fields in csv.reader(stream, delimiter=delimiter, skipinitialspace=spaced)) - 1


def _blank(fields: list[str]) -> bool:
    return len(fields) <= 1 and not any(field.strip() for field in fields)


def _reader(text: str, delimiter: str, spaced: bool) -> "_csv.Reader":
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced)


def layout(text: str, wanted: set[str]) -> tuple[str, list[str], bool]:
    """Delimiter, header, and whether a space follows each delimiter. `text`: the file's beginning, with all of the header.

    The delimiter is the one that finds the wanted columns in the header, else the one that finds the most columns: it is
    the only line whose content is known, where texts may hold any of the delimiters any number of times.
    """
    best: tuple[tuple[bool, int], str, list[str], bool] | None = None
    for delimiter in DELIMITERS:
        header = _header(text, delimiter, spaced=False)
        if header is None:
            continue
        # 'text, label' is a style of writing; without it, a space is part of the field (RFC 4180).
        spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
        if spaced:
            header = _header(text, delimiter, spaced=True) or header
        rank = (wanted <= {name.strip() for name in header}, len(header))
        if best is None or rank > best[0]:
            best = (rank, delimiter, header, spaced)
    if best is None:
        remedy = "Write the names of the columns in the first line: text,label"
        raise ServiceError(400, "broken-rows", "The header line of the CSV file is broken: a quote in it is not closed.", remedy=remedy)
    return best[1:]


def _header(text: str, delimiter: str, *, spaced: bool) -> list[str] | None:
    try:
        return next(fields for fields in _reader(text, delimiter, spaced) if not _blank(fields))
    except (StopIteration, csv.Error):
        return None
