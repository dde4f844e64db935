"""Recombined texts: new, of known parts, the same each time, and an end where there is nothing to combine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.tiny import make_rows
from workers.training.recombination import recombine, units

TEXTS = [row.text for row in make_rows(20)]
ANY_TEXTS = st.lists(st.text(st.sampled_from("ab éß卡片不\n\u2028"), max_size=12), max_size=6)


@given(texts=ANY_TEXTS, count=st.integers(0, 40), seed=st.integers(0, 99))
def test_every_text_is_new_and_of_known_parts(texts: list[str], count: int, seed: int) -> None:
    made = recombine(texts, count, seed)
    assert len(made) <= count
    assert len(set(made)) == len(made)
    assert not set(made) & {text.strip() for text in texts}
    assert all(text and text == text.strip() for text in made)
    assert {character for text in made for character in text} <= {character for text in texts for character in text} | {" "}


def test_there_are_as_many_as_asked_where_there_is_enough() -> None:
    made = recombine(TEXTS, 500, 0)
    assert len(made) == 500
    words = {word for text in TEXTS for word in text.split()}
    assert {word for text in made for word in text.split()} <= words  # no two words run together


def test_some_hold_parts_of_two_texts_and_some_a_part_of_one() -> None:
    sources = [set(text.split()) for text in TEXTS]
    made = [set(text.split()) for text in recombine(TEXTS, 300, 0)]
    of_one = sum(any(words <= source for source in sources) for words in made)
    assert 60 < of_one < 240


def test_a_seed_repeats_its_texts() -> None:
    assert recombine(TEXTS, 50, 3) == recombine(TEXTS, 50, 3)
    assert recombine(TEXTS, 50, 3) != recombine(TEXTS, 50, 4)


@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n"], ["a"], ["card"], ["x", "y"]])
def test_texts_that_hold_too_little_end_it(texts: list[str]) -> None:
    assert len(recombine(texts, 10_000, 0)) <= 4  # "x y" and "y x", at most also with themselves


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("where is my card", ["where ", "is ", "my ", "card"]),
        ("my card", ["my ", "card"]),
        ("¿Dónde está?", ["¿Dónde ", "está?"]),  # few words are words still
        ("Grüße", ["Grüße"]),
        ("카드 분실", ["카드 ", "분실"]),
        ("我的卡片", ["我", "的", "卡", "片"]),
        ("カード 再発行", ["カ", "ー", "ド", " ", "再", "発", "行"]),
        ("บัตรหาย", list("บัตรหาย")),
        ("我 的 卡片", ["我 ", "的 ", "卡片"]),  # spaces that tell the words apart are taken at their word
        ("line\u2028of two", ["line\u2028", "of ", "two"]),
        ("", []),
    ],
)
def test_parts_are_words_or_characters_where_the_writing_has_no_spaces(text: str, parts: list[str]) -> None:
    assert units(text) == parts


def test_texts_without_spaces_are_recombined_without_spaces() -> None:
    made = recombine(["我的卡片不见了", "怎么换汇率", "忘记了密码"], 60, 0)
    assert len(made) == 60
    assert not any(" " in text for text in made)


def test_half_of_them_have_other_words_in_place_of_some() -> None:
    made = recombine(TEXTS, 400, 0, ["zebra", "quartz"], exchanged=0.35)
    assert len(made) == 400
    odd = [text for text in made if "zebra" in text or "quartz" in text]
    assert 120 < len(odd) < 240  # a short text may keep all its words, and then is none that is new
    changed = [sum(word in ("zebra", "quartz") for word in text.split()) / len(text.split()) for text in odd]
    assert 0.25 < sum(changed) / len(changed) < 0.6


def test_punctuation_and_numbers_stay_where_words_are_exchanged() -> None:
    made = {text for seed in range(20) for text in recombine(["Wo ist (die) Karte 24, bitte?!"], 3, seed, ["x"], exchanged=1.0)}
    assert "x x (x) x 24, x?!" in made


def test_characters_are_exchanged_where_the_writing_has_no_spaces() -> None:
    made = recombine(["我的卡片不见了"], 60, 0, ["猫"], exchanged=0.5)
    assert any("猫" in text and len(text) == 7 for text in made)
    assert not any(text == "猫" * 7 for text in made)


@pytest.mark.parametrize(("words", "share"), [([], 0.5), (["zebra"], 0.0)])
def test_nothing_is_exchanged_without_words_or_a_share(words: list[str], share: float) -> None:
    assert recombine(TEXTS, 50, 3, words, share) == recombine(TEXTS, 50, 3)
