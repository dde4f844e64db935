"""Who asks, and what a route asks of them."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

Scope = Literal["read", "predict", "write", "admin"]
Need = Scope | Literal["public"]
SCOPES: dict[Scope, str] = {
    "read": "See datasets, jobs, reports, texts and students.",
    "predict": "Ask students, one text or a whole file.",
    "write": "All that `read` may, and make, change and delete datasets, jobs and students.",
    "admin": "Everything, keys and webhooks too.",
}
_GRANTED: dict[Scope, set[Scope]] = {
    "read": {"read"},
    "predict": {"predict"},
    "write": {"read", "write"},
    "admin": {"read", "predict", "write", "admin"},
}
_NEED = "__needed_scope__"
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose API key came with the request. `scopes`: all that it grants. `texts_per_second`: for predictions; None for any number."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    texts_per_second: float | None = None

    def may(self, need: Need) -> bool:
        return need == "public" or need in self.scopes


current_principal: ContextVar[Principal | None] = ContextVar("current_principal", default=None)
"""Of the request that is being answered; None where keys are off, and outside of requests."""


def granted(scopes: list[str]) -> frozenset[Scope]:
    """All that these scopes allow."""
    return frozenset(scope for given, implied in _GRANTED.items() if given in scopes for scope in implied)


def needs(need: Need) -> Callable[[F], F]:
    """Marks an endpoint. One without a mark needs `read` if it is asked by GET, else `write`."""

    def marked(endpoint: F) -> F:
        setattr(endpoint, _NEED, need)
        return endpoint

    return marked


def need_of(endpoint: object, method: str) -> Need:
    found: Need | None = getattr(endpoint, _NEED, None)
    return found or ("read" if method in {"GET", "HEAD", "OPTIONS"} else "write")
