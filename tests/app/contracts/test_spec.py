"""The quota of generated texts."""

import pytest

from app.contracts.spec import GenerateSpec


@pytest.mark.parametrize(
    ("mean_tokens", "texts"),
    [(20.0, 50), (30.0, 34), (7.0, 125), (0.0, 125), (500.0, 10)],
    ids=["as many as hold the tokens", "rounded up", "very short texts", "no text at all", "cut to max_new_tokens"],
)
def test_the_quota_follows_from_the_length_of_the_seed_rows(mean_tokens: float, texts: int) -> None:
    assert GenerateSpec(tokens=1000, max_new_tokens=100, seed_token_cost=0).quota(100, mean_tokens) == texts


@pytest.mark.parametrize("texts", [0, 7, 100_000])
def test_a_number_of_texts_that_was_asked_for_stands(texts: int) -> None:
    assert GenerateSpec(texts=texts, tokens=1000).quota(100, 20.0) == texts


@pytest.mark.parametrize(("rows", "texts"), [(0, 500), (10, 470), (100, 200), (1000, 125)])
def test_rows_to_finetune_on_take_texts_away_but_never_all(rows: int, texts: int) -> None:
    assert GenerateSpec(tokens=10_000, seed_token_cost=3).quota(rows, 20.0) == texts


@pytest.mark.parametrize(("texts", "shards"), [(0, 1), (5, 1), (6, 2), (10, 2), (11, 4), (20, 4), (21, 6)])
def test_several_shards_are_an_even_number_of_limited_size(texts: int, shards: int) -> None:
    assert GenerateSpec(shard_tokens=100).shards(texts, 20.0) == shards
