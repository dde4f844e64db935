"""Every verdict of the filter, and that it keeps what is new."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.training.filters import TextFilter, Verdict

TRAINING = ["My card was stolen in Lisbon yesterday evening", "How do I change the code of my card?"]
OTHER = "What is the exchange rate for euros at weekends"


@pytest.fixture
def judge() -> TextFilter:
    return TextFilter(TRAINING, 0.7)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "?!... --", "\u2028"])
def test_a_text_without_letters_or_digits_is_empty(judge: TextFilter, text: str) -> None:
    assert judge.judge(text, ended=True) is Verdict.EMPTY
    assert judge.judge(text, ended=False) is Verdict.EMPTY


def test_a_text_that_never_ended_is_runaway_and_counts_for_nothing(judge: TextFilter) -> None:
    assert judge.judge(OTHER, ended=False) is Verdict.RUNAWAY
    assert judge.judge(OTHER, ended=True) is Verdict.KEPT


@pytest.mark.parametrize("text", [TRAINING[0], TRAINING[0].upper(), "  my  CARD was stolen\nin lisbon\u00a0yesterday evening "])
def test_a_training_row_is_a_copy_whatever_its_case_and_spaces(judge: TextFilter, text: str) -> None:
    assert judge.judge(text, ended=True) is Verdict.TRAINING_COPY


def test_a_text_near_a_training_row_is_a_copy(judge: TextFilter) -> None:
    assert judge.judge("My card was stolen in Lisbon yesterday evenin.", ended=True) is Verdict.TRAINING_COPY


@pytest.mark.parametrize("again", [OTHER, OTHER.swapcase(), OTHER.replace(" ", "   "), f"\n{OTHER}\t"])
def test_a_kept_text_is_not_kept_again(judge: TextFilter, again: str) -> None:
    assert judge.judge(OTHER, ended=True) is Verdict.KEPT
    assert judge.judge(again, ended=True) is Verdict.EXACT_DUPLICATE


def test_a_text_near_a_kept_one_is_dropped(judge: TextFilter) -> None:
    assert judge.judge(OTHER, ended=True) is Verdict.KEPT
    assert judge.judge(f"{OTHER}?", ended=True) is Verdict.NEAR_DUPLICATE


def test_the_threshold_is_the_jaccard_similarity_of_character_5_grams() -> None:
    left, right = "the exchange rate of the dollar", "the exchange rate of the pound"
    grams = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (left, right)]
    similarity = len(grams[0] & grams[1]) / len(grams[0] | grams[1])
    for threshold, verdict in ((similarity - 0.02, Verdict.NEAR_DUPLICATE), (similarity + 0.02, Verdict.KEPT)):
        judge = TextFilter([], threshold)
        assert judge.judge(left, ended=True) is Verdict.KEPT
        assert judge.judge(right, ended=True) is verdict


def test_short_texts_are_compared_too() -> None:
    judge = TextFilter(["no"], 0.7)
    assert [judge.judge(text, ended=True) for text in ("yes", "Yes", "no", "why", "1")] == [
        Verdict.KEPT,
        Verdict.EXACT_DUPLICATE,
        Verdict.TRAINING_COPY,
        Verdict.KEPT,
        Verdict.KEPT,
    ]


def test_a_threshold_of_one_drops_only_texts_with_the_same_5_grams() -> None:
    judge = TextFilter([], 1.0)
    assert judge.judge(OTHER, ended=True) is Verdict.KEPT
    assert judge.judge(f"{OTHER}?", ended=True) is Verdict.KEPT


def test_a_longer_run_of_a_training_rows_words_than_allowed_is_dropped() -> None:
    text = "hello, I think MY card: was stolen in the train"  # five words of a row, whatever their case and punctuation
    verdicts = [TextFilter(TRAINING, 0.7, most).judge(text, ended=True) for most in (None, 4, 5)]
    assert verdicts == [Verdict.KEPT, Verdict.SHARED_RUN, Verdict.KEPT]


def test_a_text_dropped_for_its_run_counts_for_nothing() -> None:
    judge = TextFilter(TRAINING, 0.7, 4)
    shared = "hello, I think my card was stolen in the train"
    assert judge.judge(shared, ended=True) is Verdict.SHARED_RUN
    assert judge.judge(shared.replace("card", "cat"), ended=True) is Verdict.KEPT


def test_distinct_texts_are_all_kept_and_near_ones_all_found() -> None:
    rng = random.Random(0)
    texts = [" ".join("".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(6)) for _ in range(200)]
    judge = TextFilter([], 0.7)
    assert {judge.judge(text, ended=True) for text in texts} == {Verdict.KEPT}
    # 37 of 38 5-grams in common: MinHash LSH must not miss one.
    assert {judge.judge(f"{text}x", ended=True) for text in texts} == {Verdict.NEAR_DUPLICATE}


@given(texts=st.lists(st.text(max_size=30), max_size=15))
def test_any_text_has_a_verdict_and_the_same_one_again(texts: list[str]) -> None:
    verdicts = []
    for _ in range(2):
        judge = TextFilter(TRAINING, 0.7)
        verdicts.append([judge.judge(text, ended=True) for text in texts])
    assert verdicts[0] == verdicts[1]
    kept = [text for text, verdict in zip(texts, verdicts[0], strict=True) if verdict is Verdict.KEPT]
    assert len({" ".join(text.casefold().split()) for text in kept}) == len(kept)
