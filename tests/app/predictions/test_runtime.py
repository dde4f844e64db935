"""A student in memory."""

from pathlib import Path

import numpy as np
import pytest

from app.contracts.students import ONNX_FILE, TOKENIZER_FILE
from app.predictions.runtime import BATCH_SIZE, BrokenStudent, load_student
from app.storage import BlobStore
from tests.app.predictions.conftest import LABELS, MAX_TOKENS, VOTES, onnx_model, store_student


def softmax(logits: list[float]) -> np.ndarray:
    exponentials = np.exp(np.array(logits))
    return exponentials / exponentials.sum()


def test_scores_are_the_softmax_of_the_logits(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key")
    student = load_student(storage, "key")
    found = student.probabilities(["my CARD", "money money pin", "hello"])
    expected = [softmax([4, 0, 0]), softmax([0, 8, 4]), softmax([0, 0, 0])]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


def test_texts_are_cut_at_the_students_length_and_nothing_is_added(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key")
    student = load_student(storage, "key")
    cut = student.probabilities([" ".join(["card"] * MAX_TOKENS + ["money"] * 50)])
    np.testing.assert_allclose(cut[0], softmax([4.0 * MAX_TOKENS, 0, 0]), rtol=1e-6)


def test_many_texts_of_mixed_length_keep_their_order(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key")
    student = load_student(storage, "key")
    words = [LABELS[number % 3] for number in range(2 * BATCH_SIZE + 7)]
    texts = [" ".join(["what"] * (number % MAX_TOKENS) + [word]) for number, word in enumerate(words)]
    found = student.probabilities(texts)
    assert [LABELS[index] for index in found.argmax(axis=1)] == words
    np.testing.assert_allclose(found[5], student.probabilities([texts[5]])[0], rtol=1e-6)


def test_a_text_without_any_piece_is_one_pad_token(storage: BlobStore, tmp_path: Path) -> None:
    votes = VOTES.copy()
    votes[0] = [0, 0, 9]
    store_student(storage, tmp_path / "student", "key", onnx_model(votes))
    np.testing.assert_allclose(load_student(storage, "key").probabilities([" \n"])[0], softmax([0, 0, 9]), rtol=1e-6)


def test_large_logits_do_not_overflow(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key", onnx_model(VOTES * 1000))
    assert load_student(storage, "key").probabilities(["card"])[0].tolist() == [1, 0, 0]


def test_an_artefact_that_is_not_there(storage: BlobStore) -> None:
    with pytest.raises(BrokenStudent, match="not in"):
        load_student(storage, "key")


@pytest.mark.parametrize("name", [ONNX_FILE, TOKENIZER_FILE])
def test_a_file_that_was_changed(storage: BlobStore, tmp_path: Path, name: str) -> None:
    store_student(storage, tmp_path / "student", "key")
    path = Path(storage.path(f"artefacts/key/{name}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BrokenStudent, match="hash"):
        load_student(storage, "key")


def test_a_file_that_is_missing(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key")
    Path(storage.path(f"artefacts/key/{ONNX_FILE}")).unlink()
    with pytest.raises(BrokenStudent, match="missing"):
        load_student(storage, "key")


def test_a_model_that_is_no_student(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "noise", "noise", b"this is no ONNX file")
    store_student(storage, tmp_path / "classes", "classes", labels=["card", "money"])
    store_student(storage, tmp_path / "nan", "nan", onnx_model(np.full_like(VOTES, np.nan)))
    for key, reason in (("noise", "(?i)protobuf"), ("classes", "shape"), ("nan", "finite")):
        with pytest.raises(BrokenStudent, match=reason):
            load_student(storage, key)
