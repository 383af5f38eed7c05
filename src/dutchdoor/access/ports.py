"""What the access room needs from others."""

from __future__ import annotations

from collections.abc import Callable

from dutchdoor.evidence.model import Entry

__all__ = ["Record"]

Record = Callable[[Entry], object]
"""Makes an entry durable in the evidence log, or raises; what it returns is the caller's."""
