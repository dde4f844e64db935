"""Students on disk."""

from pathlib import Path

import pytest
import torch

from app.contracts.spec import StudentKind
from tests.workers.students.samples import random_student
from workers.training.checkpoints import StudentShape, load_student, save_student
from workers.training.distillation import student_logits

IDS = [[5, 6, 7], [9], [299, 1, 2]]


@pytest.mark.parametrize("kind", ["cnn", "bilstm", "bag"])
@pytest.mark.parametrize("pruned", [False, True])
def test_a_student_survives_saving(kind: StudentKind, pruned: bool, tmp_path: Path) -> None:
    student = random_student(kind, rows=torch.arange(300) % 120 if pruned else None)
    shape = StudentShape(kind, student.embedding.table.shape[1], 3, 64, 0)
    save_student(student, shape, tmp_path, "student")
    loaded, known = load_student(tmp_path, "student")
    assert known == shape
    assert not loaded.training
    assert torch.equal(student_logits(loaded, IDS, 0), student_logits(student, IDS, 0))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["student.json", "student.safetensors"]
