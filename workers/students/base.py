"""What all students share: ids in, logits out, and a parameter budget."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.contracts.spec import SpecError
from workers.students.embedding import FoldedEmbedding, PlainEmbedding
from workers.students.vocabulary import Vocabulary

HeadFactory = Callable[[int, int, float], nn.Module]
"""(dimensions, classes, dropout) -> a module with `forward(vectors (B, T, D), mask (B, T)) -> logits (B, C)`."""


@dataclass(frozen=True)
class StudentArchitecture:
    """One kind of student. `weighted`: its table carries one more column, the piece's attention weight."""

    kind: str
    head: HeadFactory
    weighted: bool = False


class Student(nn.Module):
    """`forward`: ids (B, T) int64 of the teacher's tokenizer, padded with `pad_id` -> logits (B, C)."""

    rows: Tensor | None
    embedding: FoldedEmbedding | PlainEmbedding

    def __init__(self, embedding: FoldedEmbedding | PlainEmbedding, head: nn.Module, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.embedding = embedding
        self.head = head
        self.pad_id = vocabulary.pad_id
        self.register_buffer("rows", vocabulary.rows, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        mask = (input_ids != self.pad_id).float()
        rows = input_ids if self.rows is None else self.rows[input_ids]
        logits: Tensor = self.head(self.embedding(rows), mask)
        return logits


def widest(architecture: StudentArchitecture, vocabulary: int, classes: int, max_parameters: int, at_most: int) -> int:
    """The most embedding dimensions with which the whole student stays within `max_parameters`.

    Raises `SpecError` if not even 8 fit.
    """
    for dimensions in range(min(at_most, max_parameters // vocabulary), 7, -1):
        with torch.device("meta"):
            head = architecture.head(dimensions, classes, 0.0)
        if vocabulary * (dimensions + architecture.weighted) + parameter_count(head) <= max_parameters:
            return dimensions
    raise SpecError(
        f"A {architecture.kind} student with {classes} classes and {vocabulary} pieces does not fit into {max_parameters} parameters; "
        "raise spec.distil.max_parameters."
    )


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
