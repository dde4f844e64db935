"""Whatever bytes a file has, its parser answers with what it holds or with a refusal, in memory that its size bounds.

`make test` gives each parser some seconds; with `HOSTILE_SECONDS=600` they share ten minutes.
"""

import json
import os
import tempfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from py3langid import classify

from app.bulk.reading import read_layout, read_records, scan
from app.bundles.onnx_graph import ForbiddenGraph, check_graph
from app.bundles.reading import read_bundle
from app.bundles.tokenizer_file import ForbiddenTokenizer, check_tokenizer
from app.config import Limits
from app.datasets.parsing import parse_upload
from app.datasets.uploads import decode_json
from app.datasets.validation import check_rows
from app.errors import ServiceError
from app.predictions.body import _parsed
from app.protocols.inference_v2 import read_query
from app.protocols.openai.examples import read_examples
from app.webhooks.addresses import AddressRefused, checked_url
from tests.app.predictions.conftest import onnx_model, tokenizer_json
from tests.hostile.archives import bundle, zipped

LIMITS = Limits(min_rows_per_class=1)
PER_BYTE, FIXED = 300, 3_000_000
"""Bytes of memory that a parser may take for each byte of a file, and beside."""
SECONDS = float(os.environ.get("HOSTILE_SECONDS", "12"))

_CSV = [b"text", b"label", b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"\r\n", b"sep=", b"=1+1", b" " * 50, b"a" * 300]
_JSON = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b'"text":',
    b'"label":',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"9" * 5000,
]
_ODD = [b"\0", b"\xff", b"\xc0\x80", b"\xef\xbb\xbf", b"\xff\xfe", "\u202e\u2028\x85".encode(), b"[" * 2000, b"messages", b"role", b"user"]
TOKENS = st.sampled_from([*_CSV, *_JSON, *_ODD])
SOUP = st.lists(TOKENS, max_size=80).map(b"".join)
SEEDS = st.sampled_from(
    [
        b"text,label\n" + b"".join(b"a text %d,a\nb text %d,b\n" % (n, n) for n in range(6)),
        b"".join(b'{"text": "a %d", "label": "%d"}\n' % (n, n % 2) for n in range(9)),
        b'[{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]',
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 3,
        b'{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}',
        b'{"student": "triage", "inputs": ["a"], "top_k": 2}',
    ]
)


@st.composite
def mutated(draw: st.DrawFn, seeds: st.SearchStrategy[bytes]) -> bytes:
    """A file that is nearly right: pieces of it are cut out, moved, doubled, or exchanged for others."""
    content = draw(seeds)
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 64)))
        piece = draw(st.one_of(TOKENS, st.binary(max_size=8), st.just(content[start:end] * 3)))
        content = content[:start] + piece + content[end:]
    return content


FILES = st.one_of(st.binary(max_size=400), SOUP, mutated(SEEDS))
NAMES = st.sampled_from([None, "rows.csv", "rows.jsonl", "rows.json", "rows.tsv", "rows"])


def _upload(content: bytes, name: str | None) -> None:
    check_rows(parse_upload(content, filename=name, content_type=None), [], LIMITS)


def _bulk(content: bytes, name: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        found, rows = scan(path, read_layout(path, filename=name, content_type=None, text_column="text"), LIMITS)
        # A worker reads what the service has passed, and must not find a fault in it.
        assert [record.row for record in read_records(path, found)] == list(range(1, rows + 1))


def _files() -> dict[str, bytes]:
    manifest = {"kind": "bag", "labels": ["a"], "max_tokens": 6, "pad_id": 0, "parameters": 1, "bytes": 1}
    whole = {**manifest, "parity": {}, "metrics": {}, "lineage": {}}
    return {"student.onnx": onnx_model(), "tokenizer.json": tokenizer_json().encode(), "student.json": json.dumps(whole).encode()}


ZIPS = st.sampled_from([zipped(list(bundle(_files()).items())), zipped(list(bundle(_files()).items()), zipfile.ZIP_STORED)])
Parse = Callable[[bytes, str | None], Any]
PARSERS: dict[str, tuple[st.SearchStrategy[bytes], Parse]] = {
    "rows": (FILES, _upload),
    "bulk": (FILES, _bulk),
    "examples": (FILES, lambda content, _: read_examples(content, 1000)),
    "json": (FILES, lambda content, _: decode_json(content)),
    "predict": (FILES, lambda content, _: _parsed(content)),
    "tensors": (FILES, lambda content, name: read_query(content, None if name is None else str(len(content) // 2))),
    "zip": (st.one_of(st.binary(max_size=400), mutated(ZIPS)), lambda content, _: read_bundle(content, LIMITS)),
    "onnx": (st.one_of(st.binary(max_size=400), mutated(st.just(onnx_model()))), lambda content, _: check_graph(content)),
    "tokenizer": (st.one_of(SOUP, mutated(st.just(tokenizer_json().encode()))), lambda content, _: check_tokenizer(content)),
    "address": (SOUP, lambda content, _: checked_url(content.decode("utf-8", "replace"))),
}


@pytest.mark.timeout(max(300, 2 * SECONDS))
@pytest.mark.parametrize("parser", PARSERS)
def test_any_bytes_are_parsed_or_refused(parser: str) -> None:
    files, parse = PARSERS[parser]
    deadline = time.monotonic() + SECONDS / len(PARSERS)

    @settings(max_examples=50, deadline=None, database=None, phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck))
    @given(content=files, name=NAMES)
    def holds(content: bytes, name: str | None) -> None:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        refused = refusal(parse, content, name)
        taken = tracemalloc.get_traced_memory()[1] - before
        assert taken < FIXED + PER_BYTE * len(content), f"{taken:,} bytes for {len(content):,}"
        if isinstance(refused, ServiceError):
            assert 400 <= refused.problem.status < 500
            # It can be sent, whatever the bytes were.
            assert json.dumps(refused.problem.model_dump(), ensure_ascii=False).encode()

    classify("The model that tells languages is loaded once, for good.")
    tracemalloc.start()
    try:
        while time.monotonic() < deadline:
            holds()
    finally:
        tracemalloc.stop()


def refusal(parse: Parse, content: bytes, name: str | None) -> Exception | None:
    """What the bytes were refused with; any other error is a fault of the parser's."""
    try:
        parse(content, name)
    except (ServiceError, ForbiddenGraph, ForbiddenTokenizer, AddressRefused) as error:
        return error
    return None
