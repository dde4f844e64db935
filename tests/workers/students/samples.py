"""Untrained students of the real architectures."""

import torch
from torch import Tensor

from app.contracts.spec import StudentKind
from workers.students.base import Student
from workers.students.embedding import PlainEmbedding
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary


def random_student(kind: StudentKind, pieces: int = 300, dimensions: int = 16, classes: int = 3, rows: Tensor | None = None) -> Student:
    """In evaluation mode, the same each time; `rows` as in `Vocabulary`."""
    torch.manual_seed(0)
    architecture = ARCHITECTURES[kind]
    table = torch.randn(pieces if rows is None else int(rows.max()) + 1, dimensions + architecture.weighted)
    return Student(PlainEmbedding(table), architecture.head(dimensions, classes, 0.2), Vocabulary(list(range(len(table))), rows, 0)).eval()
