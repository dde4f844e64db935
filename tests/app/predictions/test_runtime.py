"""A student in memory."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.contracts.students import ONNX_FILE, TOKENIZER_FILE
from app.predictions import runtime
from app.predictions.runtime import BATCH_TOKENS, BrokenStudent, load_student
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
    words = [LABELS[number % 3] for number in range(2 * BATCH_TOKENS // MAX_TOKENS + 7)]
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


def test_a_model_that_fails_on_some_texts(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key", onnx_model(VOTES[:-1]))  # it knows nothing of the last piece
    student = load_student(storage, "key")
    assert student.probabilities(["card"]).argmax() == 0
    with pytest.raises(BrokenStudent, match="network failed"):
        student.probabilities(["card", "pin"])


def test_scores_do_not_depend_on_how_texts_are_batched(storage: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store_student(storage, tmp_path / "student", "key")
    student = load_student(storage, "key")
    texts = [" ".join(["card", "pin", "money", "pin", "what"][: number % 6]) or "-" for number in range(50)]
    alone = np.concatenate([student.probabilities([text]) for text in texts])
    for limit in (1, 7, 2048):  # one: each text is longer than a batch may be
        monkeypatch.setattr(runtime, "BATCH_TOKENS", limit)
        np.testing.assert_allclose(student.probabilities(texts), alone, rtol=1e-6)
    for cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: set(range(cores)))
        monkeypatch.setattr(runtime, "BATCH_TOKENS", 5)
        np.testing.assert_allclose(student.probabilities(texts), alone, rtol=1e-6)
    assert student.probabilities([]).shape == (0, 3)


def test_the_temperature_divides_the_logits(storage: BlobStore, tmp_path: Path) -> None:
    store_student(storage, tmp_path / "student", "key")
    student = load_student(storage, "key")
    cooler = replace(student, manifest=student.manifest.model_copy(update={"temperature": 2.0}))
    np.testing.assert_allclose(cooler.probabilities(["my CARD"])[0], softmax([2, 0, 0]), rtol=1e-6)
