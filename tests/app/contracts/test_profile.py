"""The profile's counts, and sets of ids as text."""

import base64
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.contracts.profile import MOST_PIECES, SCORE_BINS, pack_ids, score_bin, unpack_bits
from app.contracts.students import StudentManifest
from tests.app.students.published import MANIFEST

PROFILE = {"rows": 4, "labels": {"a": 3, "b": 1}, "scores": [0] * 8 + [1, 3], "pieces": 40, "unknown": 2}


@pytest.mark.parametrize(
    ("score", "place"),
    [(0.0, 0), (1e-9, 0), (0.1, 0), (0.1000001, 1), (0.5, 4), (0.51, 5), (0.9999, SCORE_BINS - 1), (1.0, SCORE_BINS - 1)],
)
def test_a_score_on_a_bound_belongs_to_the_bin_below(score: float, place: int) -> None:
    assert score_bin(score) == place


@given(st.sets(st.integers(0, 5000)))
def test_ids_come_back(ids: set[int]) -> None:
    bits = unpack_bits(pack_ids(ids))
    assert {8 * place + bit for place, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1} == ids


def test_a_common_tokenizer_takes_little_room() -> None:
    assert len(pack_ids([100])) < 40
    assert len(pack_ids(range(30_000, 250_000))) < 200


@pytest.mark.parametrize(
    "packed",
    ["?", "AAAA", base64.b64encode(zlib.compress(bytes(MOST_PIECES // 8 + 1))).decode(), pack_ids([7])[:-4]],
    ids=["no base64", "not deflated", "too many", "cut off"],
)
def test_what_is_no_set_of_ids_is_refused(packed: str) -> None:
    with pytest.raises(ValidationError, match="not a set of ids"):
        StudentManifest.model_validate({**MANIFEST, "unknown_pieces": packed})


def test_an_old_manifest_has_no_profile() -> None:
    manifest = StudentManifest.model_validate(MANIFEST)
    assert (manifest.profile, manifest.unknown_pieces) == (None, "")


@pytest.mark.parametrize(
    "change", [{"rows": 5}, {"labels": {"a": 4, "b": 1}}, {"scores": [4]}, {"unknown": -1}, {"labels": {"a": 5, "b": -1}}]
)
def test_a_profile_that_does_not_add_up_is_refused(change: dict[str, Any]) -> None:
    assert StudentManifest.model_validate({**MANIFEST, "profile": PROFILE}).profile is not None
    with pytest.raises(ValidationError):
        StudentManifest.model_validate({**MANIFEST, "profile": {**PROFILE, **change}})
