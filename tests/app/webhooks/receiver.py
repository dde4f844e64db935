"""A real receiver on loopback, whose paths behave as receivers do."""

import datetime
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks.webhooks import Webhook

Json = dict[str, Any]


@dataclass
class Message:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Json:
        """What the reference library reads, having checked the signature."""
        found: Json = Webhook(secret).verify(self.body, self.headers)
        return found


@dataclass
class Receiver:
    """Keeps every message that it was sent. `release`: lets those go that hang."""

    port: int = 0
    received: list[Message] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "/ok", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [message.path for message in self.received]

    def types(self, secret: str) -> list[str]:
        return [message.verified(secret)["type"] for message in self.received]


@contextmanager
def receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Runs one at a free port of 127.0.0.1."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.received.append(Message(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            with suppress(OSError):  # the sender has had enough
                _BEHAVIOUR[self.path.partition("?")[0]](self, found)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # those who do not trust its certificate
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        found.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.release.set()
            server.shutdown()
            thread.join()


def _answer(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler, Receiver], None]:
    def answer(handler: BaseHTTPRequestHandler, _: Receiver) -> None:
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def _hang(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    receiver.release.wait(60)
    handler.close_connection = True


def _drip(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    """Each read brings a byte, the headers never end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
    while not receiver.release.wait(0.05):
        handler.wfile.write(b"y")


def _huge(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    handler.wfile.write(b"HTTP/1.1 500 Broken\r\nContent-Length: 1000000000000\r\n\r\n")
    while not receiver.release.is_set():
        handler.wfile.write(b"z" * 65_536)


def _dangling(handler: BaseHTTPRequestHandler, receiver: Receiver) -> None:
    """The status is there, the body does not come."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    receiver.release.wait(60)
    handler.close_connection = True


def _early(handler: BaseHTTPRequestHandler, _: Receiver) -> None:
    handler.close_connection = True


_BEHAVIOUR: dict[str, Callable[[BaseHTTPRequestHandler, Receiver], None]] = {
    "/ok": _answer(204),
    "/thanks": _answer(200, b"thank\0 you"),
    "/fail": _answer(500, b"out of order"),
    "/gone": _answer(410),
    "/busy": _answer(429, Retry_After="3000"),
    "/never": _answer(503, Retry_After="9" * 5000),
    "/redirect": _answer(307, Location="/ok"),
    "/hang": _hang,
    "/drip": _drip,
    "/huge": _huge,
    "/dangling": _dangling,
    "/early": _early,
}


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's TLS under a certificate of its own for `name`; a client trusts it by `folder / "authority.pem"`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = made.public_bytes(serialization.Encoding.PEM)
    (folder / "authority.pem").write_bytes(written)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(written + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context
