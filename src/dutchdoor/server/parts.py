"""What the server is handed: the gateway, and what its pages and routes show besides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from dutchdoor.config import Config
from dutchdoor.evidence.tree import View
from dutchdoor.gateway.service import Gateway
from dutchdoor.server.metrics import Metrics

__all__ = ["LogSource", "Parts"]


class LogSource(Protocol):
    """Gives the log as it is now. Blocking; `gateway.ledger.Ledger` is one."""

    def view(self) -> View: ...


@dataclass(frozen=True)
class Parts:
    """The pieces of one server. on_close: called after the gateway has closed, in order."""

    gateway: Gateway
    log: LogSource
    config: Config
    version: str
    metrics: Metrics = field(default_factory=Metrics)
    on_close: tuple[Callable[[], Awaitable[None]], ...] = ()
