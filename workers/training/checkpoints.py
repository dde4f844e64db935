"""A trained student on disk: `<run>.json` (its shape) and `<run>.safetensors` (its weights)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from app.contracts.spec import StudentKind, TablePrecision
from workers.students.base import Student
from workers.students.embedding import PlainEmbedding
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary

CURVE_FILE = "curve.json"
CURVE_RUN = "first_{}"
"""The student of the first so many generated texts, and of recombinations of no others. `CURVE_FILE` lists the numbers."""
_ROWS = "vocabulary.rows"


@dataclass(frozen=True)
class StudentShape:
    """`dimensions`: columns of the table, the attention weight's among them. `precision`: of the table that is to ship."""

    kind: StudentKind
    dimensions: int
    classes: int
    max_tokens: int
    pad_id: int
    precision: TablePrecision = "fp16"


def save_student(student: Student, shape: StudentShape, folder: Path, run: str) -> None:
    weights = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
    if student.rows is not None:
        weights[_ROWS] = student.rows.contiguous()
    save_file(weights, folder / f"{run}.safetensors")
    (folder / f"{run}.json").write_text(json.dumps(asdict(shape)))


def load_student(folder: Path, run: str) -> tuple[Student, StudentShape]:
    shape = StudentShape(**json.loads((folder / f"{run}.json").read_text()))
    weights = load_file(folder / f"{run}.safetensors")
    rows = weights.pop(_ROWS, None)
    architecture = ARCHITECTURES[shape.kind]
    table = weights["embedding.table"]
    vocabulary = Vocabulary(list(range(len(table))), rows, shape.pad_id)
    head = architecture.head(shape.dimensions - architecture.weighted, shape.classes, 0.0)
    student = Student(PlainEmbedding(torch.empty_like(table)), head, vocabulary)
    student.load_state_dict(weights)
    return student.eval(), shape
