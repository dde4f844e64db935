"""What names mean, for tests that must not ask a name server."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest


class Names:
    """A resolver in place of the machine's: each look-up of a name gets the next of its answers, the last one again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.seconds = 0.0
        self._machine: Callable[..., Any] = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.answers:
            return self._machine(host, port, *args, **kwargs)
        self.asked.append(name)
        time.sleep(self.seconds)
        left = self.answers[name]
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [found for address in addresses for found in self._machine(address, port, *args, **kwargs)]
