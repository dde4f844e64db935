"""What a student did on its holdout, counted as the serving side counts live traffic: the reference of the drift report."""

import base64
import binascii
import math
import zlib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

SCORE_BINS = 10
"""Of equal width over (0, 1]; a score on a bound belongs to the bin below."""
MOST_PIECES = 1 << 21
_BITS = 8


class Profile(BaseModel):
    """Counts over `rows` texts. The student reads `pieces` of them, `unknown` of which it does not tell apart."""

    model_config = ConfigDict(frozen=True)

    rows: NonNegativeInt
    labels: dict[str, NonNegativeInt] = Field(description="Texts by the label that was answered.")
    scores: list[NonNegativeInt] = Field(
        min_length=SCORE_BINS, max_length=SCORE_BINS, description="Texts by the score of that label, in tenths: above 0 to 0.1, to 0.2, ..."
    )
    pieces: NonNegativeInt = Field(description="After the cut to `max_tokens`.")
    unknown: NonNegativeInt = Field(
        description="Of those, the tokenizer's unknown piece and pieces without a row of their own in the table."
    )


def score_bin(score: float) -> int:
    return min(SCORE_BINS, max(1, math.ceil(score * SCORE_BINS))) - 1


def pack_ids(ids: Iterable[int]) -> str:
    """A set of ids as text: bit `id % 8` of byte `id // 8`, deflated, in base64."""
    bits = bytearray()
    for piece in ids:
        place = piece // _BITS
        bits.extend(bytes(max(0, place + 1 - len(bits))))
        bits[place] |= 1 << piece % _BITS
    return base64.b64encode(zlib.compress(bytes(bits), 9)).decode()


def unpack_bits(packed: str) -> bytes:
    """The bits of `pack_ids`, none for an empty text. Raises `ValueError` if it is no such text, or holds ids from `MOST_PIECES` on."""
    if not packed:
        return b""
    try:
        inflate = zlib.decompressobj()
        bits = inflate.decompress(base64.b64decode(packed, validate=True), MOST_PIECES // _BITS)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not a set of ids: {error}") from error
    if not inflate.eof:
        raise ValueError(f"not a set of ids below {MOST_PIECES:,}")
    return bits
