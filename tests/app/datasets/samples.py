"""Rows that pass every check, and how the tests look at a refusal."""

from collections.abc import Callable

import pytest

from app.datasets.raw import RawRow
from app.errors import Problem, ServiceError

SENTENCES = [
    "The parcel I ordered last week has still not arrived at my house",
    "Please tell me when the courier will bring the package to my door",
    "My order was delivered to the wrong address and I want it back",
    "How long does it usually take before a delivery reaches this town",
    "The tracking page says delivered but there is nothing in the mailbox",
    "Could you send the replacement to my office instead of my home",
]


def make_rows(*, per_class: int = 6, labels: tuple[str, ...] = ("delivery", "billing")) -> list[RawRow]:
    """`per_class` different English rows of each label, numbered from 1."""
    texts = [(f"{SENTENCES[index % 6]}; this is about {label} number {index}", label) for label in labels for index in range(per_class)]
    return [RawRow(number, text, label) for number, (text, label) in enumerate(texts, start=1)]


def with_rows(rows: list[RawRow], *extra: tuple[object, object]) -> list[RawRow]:
    """`rows` and, numbered on, (text, label) pairs."""
    return rows + [RawRow(len(rows) + number, text, label) for number, (text, label) in enumerate(extra, start=1)]


def make_csv(rows: list[RawRow], header: str = "text,label") -> bytes:
    lines = [header, *(f'"{row.text}",{row.label}' for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def make_objects(rows: list[RawRow]) -> list[dict[str, object]]:
    return [{"text": row.text, "label": row.label} for row in rows]


def refusal(call: Callable[[], object]) -> Problem:
    """The problem that `call` is refused with; a refusal always says how to mend the fault."""
    with pytest.raises(ServiceError) as caught:
        call()
    problem = caught.value.problem
    assert 400 <= problem.status < 500
    assert problem.remedy
    assert all(error.remedy for error in problem.errors)
    return problem


def kind_of(problem: Problem) -> str:
    return problem.type.removeprefix("urn:gendistil:")
