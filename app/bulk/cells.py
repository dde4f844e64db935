"""Cells of a CSV that a person may open in a spreadsheet, which takes some for formulas and runs them."""

import re

# https://owasp.org/www-community/attacks/CSV_Injection, and the full-width forms, which some spreadsheets take for the same.
_FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}([.,][0-9]{1,30})?(e[+-]?[0-9]{1,4})?", re.IGNORECASE | re.ASCII)


def harmless(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet would take it for a formula. A plain number is none."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell
