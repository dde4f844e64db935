"""What each route needs, looked up before its request is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path

from app.principals import Need, need_of


@dataclass(frozen=True)
class Rule:
    methods: frozenset[str]
    path: str
    pattern: re.Pattern[str]
    endpoint: object

    def need(self, method: str) -> Need:
        return need_of(self.endpoint, method)


class Rules:
    """Of the routes of an application, which match as its router does: in turn, by the same patterns."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self.rules = [
            Rule(frozenset(found.methods or ()), found.path or "", compile_path(found.path or "")[0], found.endpoint)
            for found in iter_route_contexts(routes)
        ]
        # Paths without parameters, `/predict` among them, are found at once. The first rule counts, as in the router.
        self._plain: dict[tuple[str, str], Rule] = {}
        for rule in self.rules:
            if "{" not in rule.path:
                for method in rule.methods:
                    self._plain.setdefault((method, rule.path), rule)

    def find(self, method: str, path: str) -> Rule | None:
        """None where no route takes the request."""
        if (found := self._plain.get((method, path))) is not None:
            return found
        return next((rule for rule in self.rules if method in rule.methods and rule.pattern.match(path)), None)
