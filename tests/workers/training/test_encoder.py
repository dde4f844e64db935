"""The teacher's network: pooling, padding, order, and saving."""

import json
from pathlib import Path

import pytest
import torch

from tests.workers.tiny import make_rows, save_encoder
from workers.training.batching import pad
from workers.training.encoder import (
    Teacher,
    attention_mask,
    encode,
    load_teacher,
    load_tokenizer,
    new_teacher,
    pooled_features,
    predict_logits,
    vocabulary_words,
)

TEXTS = [row.text for row in make_rows(5)]
CPU = torch.device("cpu")


@pytest.fixture
def teacher(teacher_model: Path) -> Teacher:
    torch.manual_seed(0)
    return new_teacher(teacher_model, 3).eval()


def test_the_mask_covers_the_padding_alone() -> None:
    rows = [[4, 0, 7], [1]]  # a piece with the padding's id inside a text is no padding
    assert attention_mask(rows, pad(rows, 0)).tolist() == [[1, 1, 1], [1, 0, 0]]


def test_padding_changes_no_logit(teacher: Teacher, teacher_model: Path) -> None:
    rows = encode(load_tokenizer(teacher_model), TEXTS, 64)
    alone, padded = pad(rows[:1], 0), pad([*rows[:1], [9] * 40], 0)
    with torch.inference_mode():
        left = teacher(alone, attention_mask(rows[:1], alone))[0]
        right = teacher(padded, attention_mask([*rows[:1], [9] * 40], padded))[0]
    assert torch.allclose(left, right, atol=1e-5)


def test_pooling_is_the_mean_over_real_tokens(teacher: Teacher) -> None:
    rows = [[2, 80, 81, 3], [2, 82, 3]]
    ids = pad(rows, 0)
    mask = attention_mask(rows, ids)
    with torch.inference_mode():
        hidden = teacher.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = teacher.pooled(ids, mask)
    assert torch.allclose(pooled[1], hidden[1, :3].mean(0), atol=1e-6)


def test_logits_come_in_the_order_of_the_texts(teacher: Teacher, teacher_model: Path) -> None:
    tokenizer = load_tokenizer(teacher_model)
    texts = [*TEXTS, "card", "a much longer text about the card that was in the post before it was stolen"]
    rows, seen = encode(tokenizer, texts, 64), []
    together = predict_logits(teacher, rows, 0, 4, CPU, "fp32", seen.append)
    for text, logits in zip(texts, together, strict=True):
        assert torch.allclose(predict_logits(teacher, encode(tokenizer, [text], 64), 0, 4, CPU)[0], logits, atol=1e-5)
    assert seen == [*range(4, len(texts), 4), len(texts)]


def test_features_are_pooled_in_the_order_of_the_texts_without_dropout(teacher: Teacher, teacher_model: Path) -> None:
    rows, seen = encode(load_tokenizer(teacher_model), TEXTS, 64), []
    features = pooled_features(teacher.train(), rows, 0, 4, CPU, "fp32", seen.append)
    assert features.shape == (len(TEXTS), 32)
    for row, found in zip(rows, features, strict=True):
        ids = torch.tensor([row])
        with torch.inference_mode():
            assert torch.allclose(teacher.pooled(ids, torch.ones_like(ids))[0], found, atol=1e-5)
    assert seen[-1] == len(TEXTS)


def test_in_bf16_answers_are_near_those_of_fp32(teacher: Teacher, teacher_model: Path) -> None:
    rows = encode(load_tokenizer(teacher_model), TEXTS, 64)
    exact, rounded = (predict_logits(teacher, rows, 0, 8, CPU, precision) for precision in ("fp32", "bf16"))
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, atol=0.1)


def test_the_word_table_is_the_one_that_pieces_are_looked_up_in(teacher: Teacher) -> None:
    assert teacher.word_embeddings() is teacher.encoder.embeddings.word_embeddings.weight
    teacher.freeze_word_embeddings(True)
    assert [name for name, parameter in teacher.named_parameters() if not parameter.requires_grad] == [
        "encoder.embeddings.word_embeddings.weight"
    ]
    teacher.freeze_word_embeddings(False)
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_teacher_survives_saving(teacher: Teacher, teacher_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(teacher_model)
    rows = encode(tokenizer, TEXTS, 64)
    teacher.save(tmp_path, tokenizer)
    loaded, again = load_teacher(tmp_path)
    assert not loaded.training
    assert encode(again, TEXTS, 64) == rows
    assert torch.equal(predict_logits(loaded, rows, 0, 8, CPU), predict_logits(teacher, rows, 0, 8, CPU))
    assert not list(tmp_path.glob("*.bin"))  # no pickle


def test_texts_are_cut_to_the_asked_length(teacher_model: Path) -> None:
    rows = encode(load_tokenizer(teacher_model), ["card " * 40, "card"], 10)
    assert [len(row) for row in rows] == [10, 3]
    assert [rows[0][0], rows[0][-1]] == [2, 3]  # the special tokens stay


def test_texts_are_cut_to_what_the_encoder_can_read(tmp_path: Path) -> None:
    """An encoder has learned a number of positions; a spec that asks for more does not crash it."""
    teacher = new_teacher(save_encoder(tmp_path, positions=16), 3).eval()
    rows = encode(load_tokenizer(tmp_path), ["card " * 40], 128)
    assert len(rows[0]) == 16
    assert torch.isfinite(predict_logits(teacher, rows, 0, 8, CPU)).all()
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.model_max_length = 12  # RoBERTa's is two less than its positions
    tokenizer.save_pretrained(tmp_path)
    assert len(encode(load_tokenizer(tmp_path), ["card " * 40], 128)[0]) == 12


def test_half_precision_checkpoints_are_loaded_in_single(teacher_model: Path, tmp_path: Path) -> None:
    encoder = new_teacher(teacher_model, 3).encoder
    encoder.half().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float16"
    assert {parameter.dtype for parameter in new_teacher(tmp_path, 3).parameters()} == {torch.float32}


def test_words_of_the_vocabulary_are_whole_and_spelled_in_the_letters_of_the_texts(teacher_model: Path) -> None:
    tokenizer = load_tokenizer(teacher_model)
    words = vocabulary_words(tokenizer, TEXTS)
    assert {"card", "the"} <= set(words)
    assert all(word.isalpha() and tokenizer.convert_tokens_to_ids(word) != tokenizer.unk_token_id for word in words)
    assert set(vocabulary_words(tokenizer, ["card"])) == {word for word in words if set(word) <= set("card")}
    assert vocabulary_words(tokenizer, []) == vocabulary_words(tokenizer, ["卡片"]) == []
