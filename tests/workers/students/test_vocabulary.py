"""Which pieces get a row."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.students.samples import random_student
from workers.students.vocabulary import choose_vocabulary

PAD, UNKNOWN = 0, 1


def test_a_vocabulary_that_fits_is_kept_whole() -> None:
    vocabulary = choose_vocabulary(30_522, PAD, UNKNOWN, [[7, 8]], 1_120_000)
    assert vocabulary.pieces == list(range(30_522))
    assert vocabulary.rows is None


def test_of_a_large_one_the_frequent_pieces_are_kept_and_the_rare_are_unknown() -> None:
    texts = [[240_000, 240_000, 9], [200_000, PAD]]
    vocabulary = choose_vocabulary(250_000, PAD, UNKNOWN, texts, 1_120_000)
    rows = vocabulary.rows
    assert rows is not None
    assert rows.shape == (250_000,)
    assert {PAD, UNKNOWN, 9, 200_000, 240_000} <= set(vocabulary.pieces)
    assert {2, 3, 4, 1000} <= set(vocabulary.pieces)  # low ids are common pieces
    assert vocabulary.pieces[rows[240_000]] == 240_000
    assert vocabulary.pieces[rows[249_999]] == UNKNOWN
    assert len(vocabulary.pieces) * 32 <= 1_120_000


@given(
    size=st.integers(3000, 6000),
    texts=st.lists(st.lists(st.integers(0, 2999), max_size=9), max_size=9),
    pad_id=st.integers(0, 2999),
    unknown_id=st.integers(0, 2999),
)
def test_every_piece_has_a_row_of_its_own_or_the_unknown_one(size: int, texts: list[list[int]], pad_id: int, unknown_id: int) -> None:
    vocabulary = choose_vocabulary(size, pad_id, unknown_id, texts, 100_000)
    rows = vocabulary.rows
    assert rows is not None
    assert vocabulary.pieces == sorted(set(vocabulary.pieces))
    assert len(vocabulary.pieces) <= 100_000 * 0.92 / 32
    for piece in {pad_id, unknown_id, *(piece for text in texts for piece in text)}:
        assert vocabulary.pieces[rows[piece]] == piece
    kept = set(vocabulary.pieces)
    assert all(vocabulary.pieces[row] == (piece if piece in kept else unknown_id) for piece, row in enumerate(rows.tolist()))


def test_a_student_reads_rare_pieces_as_the_unknown_one() -> None:
    vocabulary = choose_vocabulary(4000, PAD, UNKNOWN, [[3900]], 100_000)
    student = random_student("cnn", rows=vocabulary.rows)
    with torch.inference_mode():
        answers = student(torch.tensor([[5, 3999, 6], [5, UNKNOWN, 6], [5, 3900, 6], [5, PAD, 6]]))
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[2], answers[1], atol=1e-4)
    assert not torch.allclose(answers[3], answers[1], atol=1e-4)
