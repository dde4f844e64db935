"""A TCP door in front of a server: shut, whoever stands in it is thrown out, and nobody gets in."""

import socket
import threading
from contextlib import suppress


class Door:
    """Passes connections to `to_port` of this machine on, from `port`."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_open = True
        self._lock = threading.Lock()
        self._inside: set[socket.socket] = set()

    def __enter__(self) -> "Door":
        threading.Thread(target=self._accept, name="door", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shut()
        self._listener.close()

    def open(self) -> None:
        with self._lock:
            self._is_open = True

    def shut(self) -> None:
        with self._lock:
            self._is_open = False
            for connection in self._inside:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:  # closed
                return
            with self._lock:
                let_in = self._is_open
                if let_in:
                    self._inside.add(caller)
            if let_in:
                threading.Thread(target=self._serve, args=(caller,), daemon=True).start()
            else:
                caller.close()

    def _serve(self, caller: socket.socket) -> None:
        with caller, socket.create_connection(("127.0.0.1", self._to_port)) as server:
            answers = threading.Thread(target=_pass_on, args=(server, caller), daemon=True)
            answers.start()
            _pass_on(caller, server)
            answers.join()
        with self._lock:
            self._inside.discard(caller)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; its end is passed on too."""
    with suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
