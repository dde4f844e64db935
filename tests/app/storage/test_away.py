"""An S3 that does not answer, or answers that it can't."""

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.storage import STORAGE_AWAY, BlobStore, StorageAway
from tests.app.storage.conftest import FILES, contents, make_artefact
from tests.servers import S3Server, free_port

CALLS: dict[str, Callable[[BlobStore, Path], object]] = {
    "read": lambda store, _: store.read("datasets/abc/rows.jsonl"),
    "exists": lambda store, _: store.exists("datasets/abc/rows.jsonl"),
    "write": lambda store, _: store.write("datasets/abc/rows.jsonl", b"rows"),
    "manifest": lambda store, _: store.manifest("key"),
    "fetch": lambda store, _: store.fetch("key"),
    "read_verified": lambda store, _: store.read_verified("key", "report.json"),
    "publish": lambda store, folder: store.publish(folder, make_artefact(folder)),
    "drop": lambda store, _: store.drop("key"),
    "artefact_keys": lambda store, _: list(store.artefact_keys()),
    "write_checkpoint": lambda store, folder: store.write_checkpoint("key", folder / "model.bin"),
    "read_checkpoint": lambda store, folder: store.read_checkpoint("key", folder / "state"),
    "ping": lambda store, _: store.ping(),
}


@pytest.fixture
def hasty(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No second tries, which take seconds."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return monkeypatch


@pytest.mark.parametrize("call", CALLS)
def test_nobody_listens(call: str, hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_artefact(tmp_path / "made")
    hasty.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageAway, match=r"s3://bucket/prefix does not answer: .*http://127\.0\.0\.1") as caught:
        CALLS[call](BlobStore("s3://bucket/prefix", tmp_path / "cache"), tmp_path / "made")
    assert isinstance(caught.value, STORAGE_AWAY)
    assert isinstance(caught.value, OSError)


@contextmanager
def answering(status: int, body: bytes, length: int | None = None) -> Iterator[str]:
    """An HTTP server that gives every request the same answer; `length` is what it claims that the body has."""

    class Handler(BaseHTTPRequestHandler):
        # Puts ask first whether they may send (`Expect: 100-continue`), which HTTP/1.0 cannot answer.
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def error_body(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}, please wait</Message></Error>'.encode()


@pytest.mark.parametrize(("status", "code"), [(503, "ServiceUnavailable"), (500, "InternalError"), (503, "SlowDown")])
def test_it_says_that_it_cannot_now(status: int, code: str, hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with answering(status, error_body(code)) as url:
        hasty.setenv("AWS_ENDPOINT_URL", url)
        store = BlobStore("s3://bucket/prefix", tmp_path / "cache")
        for call in ("read", "write", "artefact_keys"):
            with pytest.raises(StorageAway, match="s3://bucket/prefix failed"):
                CALLS[call](store, tmp_path)


def test_it_breaks_off(hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with answering(200, b"half", length=1000) as url:
        hasty.setenv("AWS_ENDPOINT_URL", url)
        store = BlobStore("s3://bucket/prefix", tmp_path / "cache")
        with pytest.raises(StorageAway):
            store.read("datasets/abc/rows.jsonl")
        with pytest.raises(StorageAway):
            store.read_checkpoint("key", tmp_path / "state")
    assert not list(tmp_path.glob("state*"))


def test_it_comes_back(hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = S3Server(tmp_path)
    hasty.setenv("AWS_ENDPOINT_URL", server.url)
    store = BlobStore("s3://bucket/prefix", tmp_path / "cache")
    manifest = make_artefact(tmp_path / "made")
    try:
        for _ in range(2):
            with pytest.raises(StorageAway):
                store.publish(tmp_path / "made", manifest)
            server.start()
            server.make_bucket("bucket")
            store.publish(tmp_path / "made", manifest)
            assert contents(store.fetch("key")) == FILES
            server.kill()
    finally:
        server.kill()


def test_it_hangs(s3_url: str, s3_process: S3Server, hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hasty.setattr("s3fs.S3FileSystem.read_timeout", 0.5)
    store = BlobStore(s3_url, tmp_path / "cache")
    store.write("datasets/abc/rows.jsonl", b"rows")
    s3_process.pause()
    try:
        with pytest.raises(StorageAway, match=r"[Tt]imeout"):
            store.read("datasets/abc/rows.jsonl")
    finally:
        s3_process.resume()
    assert store.read("datasets/abc/rows.jsonl") == b"rows"


def test_an_artefact_is_not_taken_for_lost_with_its_bucket(hasty: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = BlobStore("s3://no-such-bucket/prefix", tmp_path / "cache")
    for call in (store.manifest, store.fetch, store.drop):
        with pytest.raises(StorageAway, match="bucket does not exist"):
            call("key")


@pytest.mark.usefixtures("hasty")
def test_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID") as caught:
        BlobStore("s3://bucket/prefix", tmp_path / "cache").read("datasets/abc/rows.jsonl")
    assert caught.value.errno == errno.EACCES
    assert not isinstance(caught.value, STORAGE_AWAY)
