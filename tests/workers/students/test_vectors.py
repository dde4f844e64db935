"""The pieces' vectors from the teacher."""

from pathlib import Path

import pytest
import torch

from tests.workers.conftest import MemoryRecorder
from workers.students import vectors
from workers.students.vectors import piece_vectors
from workers.training.encoder import load_tokenizer, new_teacher


def test_each_piece_alone_and_its_row_of_the_table_reduced_by_pca(teacher_model: Path) -> None:
    teacher, tokenizer = new_teacher(teacher_model, 3), load_tokenizer(teacher_model)
    pieces, recorder = list(range(len(tokenizer))), MemoryRecorder()
    found = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), recorder.check)
    assert found.shape == (227, 64)
    assert recorder.checks > 0
    chosen = [tokenizer.convert_tokens_to_ids("card"), 5, 99]
    ids = torch.tensor([[2, piece, 3] for piece in chosen])
    with torch.inference_mode():
        own = teacher.pooled(ids, torch.ones_like(ids))
    for view, vectors_of_it in ((found[:, :32], own), (found[:, 32:], teacher.word_embeddings()[chosen].detach())):
        spread = view.var(0)
        assert (spread[:-1] >= spread[1:] - 1e-5).all()  # leading components first
        assert torch.allclose(torch.corrcoef(view[:, :8].T), torch.eye(8), atol=1e-3)
        assert abs(view.std() - 1) < 0.01
        # A rotation keeps the distances of the teacher's own vectors, up to one scale.
        wanted, given = torch.pdist(vectors_of_it), torch.pdist(view[chosen])
        assert torch.allclose(given / given[0], wanted / wanted[0], atol=1e-3)


def test_some_pieces_are_their_rows_of_the_table_not_the_first_rows(teacher_model: Path) -> None:
    teacher, tokenizer = new_teacher(teacher_model, 3), load_tokenizer(teacher_model)
    pieces = list(range(50, 200, 3))
    table = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), lambda: None)[:, 32:]
    wanted, given = torch.pdist(teacher.word_embeddings()[pieces].detach()), torch.pdist(table)
    assert torch.allclose(given / given[0], wanted / wanted[0], atol=1e-3)


def test_the_batch_size_changes_nothing(teacher_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher, tokenizer = new_teacher(teacher_model, 3), load_tokenizer(teacher_model)
    pieces = list(range(0, 227, 2))
    whole = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), lambda: None)
    monkeypatch.setattr(vectors, "_BATCH", 10)
    parts = piece_vectors(teacher, tokenizer, pieces, torch.device("cpu"), lambda: None)
    assert torch.allclose(whole[:, :4].abs(), parts[:, :4].abs(), atol=1e-3)
