"""What the audit needs from others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dutchdoor.evidence.model import Entry, Recorded

__all__ = ["Fan", "Progress", "Record"]

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
