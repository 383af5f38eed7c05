"""What the audit needs from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dutchdoor.evidence.model import Entry, Recorded

__all__ = ["Fan", "Leases", "Progress", "Reader", "Reading", "Record"]

Record = Callable[[Entry], Recorded]
"""Makes an entry durable in the log before it returns; raises Unavailable where it cannot."""

Progress = Callable[[str, int, int], None]
"""Hears (evaluation, samples done, samples in all) after each sample."""


class Fan(Protocol):
    """Where evaluations run. A job is JSON; secrets reach the processes' environment alone."""

    def run(
        self,
        job: Mapping[str, Any],
        secrets: Mapping[str, str],
        total_s_max: int,
        hear: Callable[[dict[str, Any]], None],
    ) -> None:
        """Run every evaluation of `job`; rows are heard as they come. Raises Unavailable."""


class Leases(Protocol):
    """Says whether a grant lets somebody audit now; `app.reading.GrantLeases` is one."""

    def refusal(self, grant: str, person: str, bundle: str) -> str | None:
        """Why the grant does not hold for this person and bundle now; None where it does."""
        ...


class Reading(Protocol):
    """What the rules say of one document; `access.cedar.Ruling` is one."""

    @property
    def permits(self) -> bool: ...
    @property
    def rule(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Reader(Protocol):
    """Somebody who wants to read; `access.reading.DocumentReader` is one."""

    @property
    def name(self) -> str: ...
    def reads(self, kind: str, sensitivity: str) -> Reading: ...
