"""What the release room needs from others."""

from __future__ import annotations

from collections.abc import Callable

from dutchdoor.evidence.model import Entry, Recorded

__all__ = ["Record"]

Record = Callable[[Entry], Recorded]
"""Makes an entry durable in the log before it returns; raises where it cannot or may not be."""
