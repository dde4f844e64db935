"""Who asks, and what a route asks of them."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

from app.contracts.projects import DEFAULT_PROJECT

Scope = Literal["read", "predict", "write", "admin", "metrics", "operator"]
Need = Scope | Literal["public"]
SCOPES: dict[Scope, str] = {
    "read": "See datasets, jobs, reports, texts and students.",
    "predict": "Ask students, one text or a whole file.",
    "write": "All that `read` may, and make, change and delete datasets, jobs and students.",
    "admin": "Everything in its project, keys and webhooks too.",
    "metrics": "See the figures of the whole service, which name students of all projects.",
    "operator": "All that `admin` may, and look after the whole service: its projects, their quotas and keys, and its storage.",
}
_GRANTED: dict[Scope, set[Scope]] = {
    "read": {"read"},
    "predict": {"predict"},
    "write": {"read", "write"},
    "admin": {"read", "predict", "write", "admin"},
    "metrics": {"metrics"},
    "operator": {"read", "predict", "write", "admin", "metrics", "operator"},
}
_NEED = "__needed_scope__"
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose API key came with the request. `scopes`: all that it grants.

    `texts_per_second`: for predictions; None for any number; `project_texts_per_second`: by all keys of its project together.
    """

    key_id: str
    name: str
    scopes: frozenset[Scope]
    texts_per_second: float | None = None
    project: str = DEFAULT_PROJECT
    project_texts_per_second: float | None = None

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
