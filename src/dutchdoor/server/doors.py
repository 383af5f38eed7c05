"""What a route is, and how the route of a request is found."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["Handler", "Match", "Route", "Router", "Who"]

Handler = Callable[[Exchange, Parts], Awaitable[None]]


class Who(StrEnum):
    """Who may call a route.

    ANYBODY: without a key. PERSON: whoever holds a key; the dispatcher checks it before the
    handler runs. GRANTED: the gateway authenticates as its first step and records each refusal.
    """

    ANYBODY = "anybody"
    PERSON = "person"
    GRANTED = "granted"


@dataclass(frozen=True)
class Route:
    """A door. path: `{name}` stands for one segment, `{rest}` for all that follows.

    body: the type of its JSON body, for the OpenAPI document. gives: the answer's media type.
    """

    method: str
    path: str
    handler: Handler
    who: Who
    summary: str
    body: Any = None
    gives: str = "application/json"


@dataclass(frozen=True)
class Match:
    """A route, and what its path took out of the request's."""

    route: Route
    arguments: dict[str, str]


class Router:
    """Finds the route of a request.

    Asserts that every route says who may call it, and that no two are the same door: a mistake
    here is ours, and the server does not start with it.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        self._paths: set[str] = set()
        for route in routes:
            assert isinstance(route.who, Who), f"{route.path} does not say who may call it"
            door = (route.method, route.path)
            assert door not in self._exact, f"{route.path} is there twice"
            self._exact[door] = route
            if "{" in route.path:
                self._patterns.append((_pattern(route.path), route))
            else:
                self._paths.add(route.path)

    def find(self, method: str, path: str) -> Match | None:
        """The route of a request, or None."""
        if "{" not in path and (exact := self._exact.get((method, path))) is not None:
            return Match(exact, {})
        for pattern, route in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None and route.method == method:
                return Match(route, found.groupdict())
        return None

    def methods(self, path: str) -> list[str]:
        """The methods that `path` takes, where it is a door at all."""
        found = {method for method, known in self._exact if known == path and "{" not in path}
        found |= {route.method for pattern, route in self._patterns if pattern.fullmatch(path)}
        return sorted(found)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    text = re.escape(parts[0])
    for name, literal in zip(parts[1::2], parts[2::2], strict=True):
        inside = r"[\w./-]{1,128}" if name == "rest" else r"[\w-]{1,64}"
        text += f"(?P<{name}>{inside}){re.escape(literal)}"
    return re.compile(text, re.ASCII)
