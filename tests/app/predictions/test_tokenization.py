"""The chunk cache in front of the tokenizer: the ids must be the tokenizer's own, whatever the text."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Metaspace
from tokenizers.trainers import WordPieceTrainer

from app.predictions import tokenization
from app.predictions.tokenization import PieceEncoder, PieceIds, piece_encoder
from gendistil.demo import EXAMPLES

PAD_ID = 0
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SPACES = [" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\u000b", "\u000c", "\u001c", "\u001f", "\u200b"]
MARKS = ["\u0301", "\u0327", "\u0130", "\u03a3", "\u00df", "\ufb01", "\ufffd", "\u0000", "\u00ad", "\u4e2d", "\u1100\u1161", "\U0001f600"]


def bert_tokenizer(lowercase: bool = True, clean_text: bool = True) -> Tokenizer:
    """As BERT's, trained on the example."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=lowercase, clean_text=clean_text)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.train_from_iterator(example_texts(), WordPieceTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False))
    return tokenizer


def example_texts() -> list[str]:
    with (EXAMPLES / "banking10.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def rows(pieces: PieceIds) -> list[list[int]]:
    ends = pieces.lengths.cumsum().tolist()
    return [pieces.ids[end - length : end].tolist() for end, length in zip(ends, pieces.lengths.tolist(), strict=True)]


def expected(tokenizer: Tokenizer, texts: list[str], max_tokens: int) -> list[list[int]]:
    own = Tokenizer.from_str(tokenizer.to_str())
    own.enable_truncation(max_tokens)
    return [encoding.ids or [PAD_ID] for encoding in own.encode_batch(texts, add_special_tokens=False)]


def with_added_tokens() -> Tokenizer:
    tokenizer = bert_tokenizer()
    tokenizer.add_tokens(["c++", AddedToken("top", normalized=True), AddedToken("UP", single_word=True), AddedToken("-x-", lstrip=True)])
    return tokenizer


TOKENIZERS = {
    "uncased": bert_tokenizer(),
    "cased": bert_tokenizer(lowercase=False),
    "uncleaned": bert_tokenizer(clean_text=False),
    "with added tokens": with_added_tokens(),
}
words = st.sampled_from(
    [*"aZ9-.,'_[]+", "Card", "TOP", "top-up", "top_up", "UP", "upX", "c++", "-x-", "[", "[pad]", "http://a.b/c?d=e", *SPECIAL, *MARKS]
)
texts = st.lists(words | st.sampled_from(SPACES) | st.text(max_size=4)).map("".join)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=100, deadline=None)
@given(batch=st.lists(texts, min_size=1, max_size=4), max_tokens=st.integers(1, 40))
def test_ids_are_the_tokenizers_own(kind: str, batch: list[str], max_tokens: int) -> None:
    tokenizer = TOKENIZERS[kind]
    encoder = PieceEncoder(Tokenizer.from_str(tokenizer.to_str()))
    wanted = expected(tokenizer, batch, max_tokens)
    assert rows(encoder.encode(batch, max_tokens, PAD_ID)) == wanted
    assert rows(encoder.encode(batch, max_tokens, PAD_ID)) == wanted, "what it remembers differs from what it found"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_character_between_two_words_and_after_a_space(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and (code < 0x3100 or code % 97 == 0)]
    batch = [f"card{character}up {character}top" for character in characters]
    found, wanted = rows(PieceEncoder(tokenizer).encode(batch, 64, PAD_ID)), expected(tokenizer, batch, 64)
    assert [text for text, one, other in zip(batch, found, wanted, strict=True) if one != other] == []


def test_the_example() -> None:
    tokenizer, batch = TOKENIZERS["uncased"], example_texts()
    lengths = {len(row) for row in expected(tokenizer, batch, 12)}
    assert lengths > {5, 12}, "some are cut, some are not"
    assert rows(PieceEncoder(tokenizer).encode(batch, 12, PAD_ID)) == expected(tokenizer, batch, 12)


@pytest.mark.parametrize(
    "text", ["card " * 5000, " " * 5000 + "card", "card" * 5000, "\u0301 " * 3000 + "card pin", "a\u00a0" * 5000, "card\n" * 5000]
)
def test_long_texts(text: str) -> None:
    tokenizer = TOKENIZERS["uncased"]
    assert rows(PieceEncoder(tokenizer).encode([text, "pin"], 16, PAD_ID)) == expected(tokenizer, [text, "pin"], 16)


def test_other_tokenizers_are_asked_for_the_whole_text() -> None:
    """Their pieces may hold the space."""
    tokenizer = bert_tokenizer()
    tokenizer.pre_tokenizer = Metaspace()
    spaced = bert_tokenizer()
    spaced.add_tokens(["top up"])
    for other in (tokenizer, spaced):
        batch = ["card  top up", " top up", "", "x" * 70 + " card"]
        assert rows(PieceEncoder(other).encode(batch, 6, PAD_ID)) == expected(other, batch, 6)


def test_it_forgets_when_it_holds_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization, "REMEMBERED_CHUNKS", 50)
    tokenizer = TOKENIZERS["uncased"]
    encoder = PieceEncoder(tokenizer)
    batch = [*example_texts(), "x" * 1000]
    assert rows(encoder.encode(batch, 64, PAD_ID)) == expected(tokenizer, batch, 64)
    assert encoder._chunks is not None
    assert 0 < len(encoder._chunks) <= 50
    assert max(map(len, encoder._chunks)) < 100


def test_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenization, "REMEMBERED_CHUNKS", 200)
    tokenizer, batch = TOKENIZERS["uncased"], example_texts()
    encoder, wanted = PieceEncoder(tokenizer), expected(tokenizer, example_texts(), 64)
    with ThreadPoolExecutor(4) as pool:
        assert all(rows(found) == wanted for found in pool.map(lambda _: encoder.encode(batch, 64, PAD_ID), range(12)))


def test_students_of_one_tokenizer_file_share_it(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZERS["uncased"].save(str(path))
    first = piece_encoder(path, "hash")
    assert piece_encoder(path, "hash") is first
    assert piece_encoder(path, "other") is not first
