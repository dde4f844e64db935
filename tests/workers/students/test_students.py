"""All students: within the budget, blind to padding, and what is shipped is what was trained."""

import pytest
import torch

from app.contracts.spec import StudentKind
from app.contracts.students import STUDENTS
from tests.workers.students.samples import random_student
from workers.students.base import Student, parameter_count, widest
from workers.students.embedding import FoldedEmbedding, PlainEmbedding
from workers.students.registry import ARCHITECTURES
from workers.students.vocabulary import Vocabulary
from workers.training.batching import pad

BERT_VOCABULARY, BUDGET = 30_522, 1_120_000
KINDS = sorted(ARCHITECTURES)
ROWS = [[5, 6, 7], [9], [299, 298, 8, 8], list(range(1, 60)), [0]]
"""The last is a text without pieces."""


def test_the_registry_holds_what_a_caller_can_ask_for() -> None:
    assert set(ARCHITECTURES) == set(STUDENTS)
    assert all(architecture.kind == kind for kind, architecture in ARCHITECTURES.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 4, 77, 150])
def test_the_whole_vocabulary_fits_the_budget(kind: StudentKind, classes: int) -> None:
    dimensions = widest(ARCHITECTURES[kind], BERT_VOCABULARY, classes, BUDGET, 256)
    student = random_student(kind, BERT_VOCABULARY, dimensions, classes)
    assert parameter_count(student) <= BUDGET
    assert parameter_count(random_student(kind, BERT_VOCABULARY, dimensions + 1, classes)) > BUDGET  # no room is left over
    assert dimensions >= 28
    logits = student(torch.tensor([[101, 2026, 30_521]]))
    assert logits.shape == (1, classes)


def test_the_teacher_bounds_the_dimensions() -> None:
    assert widest(ARCHITECTURES["bag"], 300, 3, BUDGET, 32) == 32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("vocabulary", "classes"), [(BERT_VOCABULARY, 4), (500, 5000)])
def test_a_budget_that_is_too_small_says_what_to_raise(kind: StudentKind, vocabulary: int, classes: int) -> None:
    with pytest.raises(ValueError, match=r"does not fit into 100000 parameters; raise spec\.distil\.max_parameters"):
        widest(ARCHITECTURES[kind], vocabulary, classes, 100_000, 256)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{len(row)}-pieces" if row != [0] else "no-pieces")
def test_padding_changes_no_answer(kind: StudentKind, row: list[int]) -> None:
    student = random_student(kind)
    with torch.inference_mode():
        alone = student(pad([row], 0))[0]
        for others in ([list(range(1, 70))], ROWS, [[3], [4] * 61]):
            assert torch.allclose(student(pad([row, *others], 0))[0], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["cnn", "bilstm"])
def test_the_papers_students_read_the_order_of_the_pieces(kind: StudentKind) -> None:
    student = random_student(kind)
    with torch.inference_mode():
        assert not torch.allclose(student(torch.tensor([[5, 6, 7, 8]])), student(torch.tensor([[8, 7, 6, 5]])), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_piece_counts(kind: StudentKind) -> None:
    student = random_student(kind)
    row = [11, 12, 13, 14, 15]
    with torch.inference_mode():
        whole = student(torch.tensor([row]))
        for place in range(5):
            other = [*row[:place], 99, *row[place + 1 :]]
            assert not torch.allclose(student(torch.tensor([other])), whole, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_it_answers_as_it_was_trained(kind: StudentKind) -> None:
    torch.manual_seed(0)
    architecture = ARCHITECTURES[kind]
    folded = FoldedEmbedding(torch.randn(300, 40), 16, architecture.weighted)
    with torch.no_grad():
        folded.correction.normal_(std=0.1)
        folded.project.weight.add_(0.1 * torch.randn_like(folded.project.weight))
    vocabulary, head = Vocabulary(list(range(300)), None, 0), architecture.head(16, 3, 0.2)
    ids = pad([row for row in ROWS if row != [0]], 0)
    with torch.inference_mode():
        trained = Student(folded, head, vocabulary).eval()(ids)
        shipped = Student(PlainEmbedding(folded.fold()), head, vocabulary).eval()(ids)
    assert torch.allclose(trained, shipped, atol=1e-2)  # half precision: 11 bits


def test_fold_gives_values_that_half_precision_holds() -> None:
    table = FoldedEmbedding(torch.randn(50, 24), 12, True).fold()
    assert table.shape == (50, 13)
    assert torch.equal(table.half().float(), table)


def test_an_untrained_embedding_is_the_leading_components() -> None:
    base = torch.randn(50, 24)
    embedding = FoldedEmbedding(base, 12, True)
    vectors = embedding(torch.tensor([[3, 4]]))[0]
    assert torch.allclose(vectors[:, :12], base[[3, 4], :12])
    assert torch.equal(vectors[:, 12], torch.zeros(2))  # all pieces weigh the same


def test_the_teachers_vectors_are_neither_trained_nor_shipped() -> None:
    embedding = FoldedEmbedding(torch.randn(50, 24), 12, False)
    assert set(dict(embedding.named_parameters())) == {"project.weight", "correction"}
    assert "base" not in embedding.state_dict()
