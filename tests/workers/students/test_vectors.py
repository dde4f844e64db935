"""The pieces' vectors from the teacher."""

from pathlib import Path

import pytest
import torch

from tests.workers.conftest import MemoryRecorder
from workers.students import vectors
from workers.students.vectors import piece_vectors
from workers.training.encoder import load_tokenizer, new_teacher


def test_each_piece_alone_through_the_teacher_reduced_by_pca(teacher_model: Path) -> None:
    teacher, tokenizer = new_teacher(teacher_model, 3), load_tokenizer(teacher_model)
    pieces, recorder = list(range(len(tokenizer))), MemoryRecorder()
    found = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), recorder.check)
    assert found.shape == (227, 32)
    assert recorder.checks > 0
    spread = found.var(0)
    assert (spread[:-1] >= spread[1:] - 1e-5).all()  # leading components first
    correlation = torch.corrcoef(found[:, :8].T)
    assert torch.allclose(correlation, torch.eye(8), atol=1e-3)
    assert abs(found.std() - 1) < 0.01
    # A rotation keeps the distances of the teacher's own vectors, up to one scale.
    place = tokenizer.convert_tokens_to_ids("card")
    ids = torch.tensor([[2, place, 3], [2, 5, 3], [2, 99, 3]])
    with torch.inference_mode():
        own = teacher.pooled(ids, torch.ones_like(ids))
    wanted, given = torch.pdist(own), torch.pdist(found[[place, 5, 99]])
    assert torch.allclose(given / given[0], wanted / wanted[0], atol=1e-3)


def test_the_batch_size_changes_nothing(teacher_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, tokenizer = new_teacher(teacher_model, 3), load_tokenizer(teacher_model)
    pieces = list(range(0, 227, 2))
    whole = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), lambda: None)
    monkeypatch.setattr(vectors, "_BATCH", 10)
    parts = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), lambda: None)
    assert torch.allclose(whole[:, :4].abs(), parts[:, :4].abs(), atol=1e-3)
