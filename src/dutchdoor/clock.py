"""Time as a port: rules take a `Clock`, so that tests hold it in their hand.

All times in dutchdoor are whole milliseconds since the Unix epoch, UTC, in integers named `*_ms`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from dutchdoor.errors import Invalid

__all__ = ["Clock", "FixedClock", "SystemClock", "from_iso", "to_iso"]


class Clock(Protocol):
    """Tells the time, in milliseconds since the Unix epoch."""

    def now_ms(self) -> int: ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class FixedClock:
    """A clock that stands until it is moved: the twin of `SystemClock` for tests."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, by_ms: int) -> None:
        """Move the clock forward by `by_ms` milliseconds."""
        assert by_ms >= 0, "time goes forward"
        self._now_ms += by_ms


def to_iso(time_ms: int) -> str:
    """`time_ms` as RFC 3339 in UTC with milliseconds: `2026-11-24T08:00:00.000Z`."""
    moment = datetime.fromtimestamp(time_ms // 1000, tz=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03d}Z"


def from_iso(text: str) -> int:
    """The milliseconds of an RFC 3339 time or of a date (`2026-11-24`, midnight UTC).

    Raises Invalid: not such a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"'{text}' is not a time"
        hint = "write it as 2026-11-24 or 2026-11-24T08:00:00Z"
        raise Invalid(message, code="bad_time", hint=hint) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000
