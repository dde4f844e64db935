"""Texts to the ids of their pieces: what the tokenizer once said of a chunk between two spaces it is not asked again."""

import re
import threading
from array import array
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

REMEMBERED_CHUNKS = 100_000
"""At most; some 20 MB where all are words. Then they are learned anew, which costs a second of the tokenizer's time."""
_LONGEST_CHUNK = 64
_CHARS_PER_PIECE = 16
_BYTES_PER_ID = 4
# Among these characters the normaliser changes nothing but case, and the pre-tokenizer splits at white space and around punctuation.
_PLAIN = re.compile(r"[\t\n\r -~]*")
_PARTS = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
_SPELLED_PLAINLY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class PieceIds:
    """N texts: the ids of all, one text after the other, as `ids` (sum of lengths,) int32, and `lengths` (N,) int64."""

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]


class PieceEncoder:
    """Gives the tokenizer's own ids, without special tokens. Safe to share between threads, and between students of one tokenizer.

    BERT's pre-tokenizer (Devlin et al. 2019) splits at white space before anything else, so that a chunk has the same pieces whatever
    stands around it. Other tokenizers are asked every time.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._chunks = _ChunkIds(tokenizer) if _splits_at_spaces(tokenizer) else None

    def encode(self, texts: list[str], max_tokens: int, pad_id: int) -> PieceIds:
        """Cut to `max_tokens`; a text without pieces is one padding."""
        cut = max_tokens * _BYTES_PER_ID
        if self._chunks is None:
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            rows = [array("i", encoding.ids[:max_tokens]).tobytes() for encoding in encodings]
        else:
            of_chunk, long = self._chunks.__getitem__, max_tokens * _CHARS_PER_PIECE
            texts = [text if len(text) <= long else self._chunks.head(text, long, cut) for text in texts]
            # This line is most of what serving a text costs. A line's end is made a space: chunks of two words would not be met again.
            rows = [b"".join(map(of_chunk, text.replace("\n", " ").split(" "))) for text in texts]
        if len(rows) == 1:  # as most requests are
            row = rows[0][:cut] or array("i", [pad_id]).tobytes()
            return PieceIds(np.frombuffer(row, np.int32), np.array([len(row) // _BYTES_PER_ID]))
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        if not lengths.all() or (lengths > cut).any():
            padding = array("i", [pad_id]).tobytes()
            rows = [row[:cut] or padding for row in rows]
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return PieceIds(np.frombuffer(b"".join(rows), np.int32), lengths // _BYTES_PER_ID)


class _ChunkIds(dict[str, bytes]):
    """Chunk -> its ids as int32. Two threads that miss the same chunk both find it, and find the same."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._model = tokenizer, tokenizer.model
        self._lowercase: bool = tokenizer.normalizer.lowercase
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(map(re.escape, added)) or "(?!)", re.IGNORECASE)

    def head(self, text: str, chars: int, cut: int) -> str:
        """The text up to a space within `chars`, if that has `cut` bytes of ids; else all of it."""
        start = text[:chars].rpartition(" ")[0]
        return start if sum(map(len, map(self.__getitem__, start.split(" ")))) >= cut else text

    def __missing__(self, chunk: str) -> bytes:
        parts = [] if self._added.search(chunk) or not _PLAIN.fullmatch(chunk) else _PARTS.findall(chunk)
        if len(parts) > 1:
            ids = b"".join(map(self.__getitem__, parts))
        elif parts:
            # A word of letters and digits is what the model itself would be given; asking it directly is several times cheaper.
            word = parts[0].lower() if self._lowercase else parts[0]
            ids = array("i", [token.id for token in self._model.tokenize(word)]).tobytes()
        else:
            ids = array("i", self._tokenizer.encode(chunk, add_special_tokens=False).ids).tobytes()
        if len(chunk) <= _LONGEST_CHUNK:
            if len(self) >= REMEMBERED_CHUNKS:
                self.clear()
            self[chunk] = ids
        return ids


def _splits_at_spaces(tokenizer: Tokenizer) -> bool:
    return (
        isinstance(tokenizer.normalizer, BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.model, WordPiece)
        # An added token is looked for before anything is split: with a space in it, it would reach over two chunks.
        and all(_SPELLED_PLAINLY.fullmatch(token.content) for token in tokenizer.get_added_tokens_decoder().values())
    )


_shared: WeakValueDictionary[str, PieceEncoder] = WeakValueDictionary()
_sharing = threading.Lock()


def piece_encoder(path: Path, sha256: str) -> PieceEncoder:
    """Of the tokenizer file with this hash. Students distilled from one teacher share it, and what it remembers."""
    with _sharing:
        if (encoder := _shared.get(sha256)) is None:
            encoder = _shared[sha256] = PieceEncoder(Tokenizer.from_file(str(path)))
        return encoder
