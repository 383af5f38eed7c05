"""What the audit needs from others."""

from __future__ import annotations

from collections.abc import Callable

from dutchdoor.evidence.model import Entry, Recorded

__all__ = ["Progress", "Record"]

Record = Callable[[Entry], Recorded]
"""Makes an entry durable in the log before it returns; raises Unavailable where it cannot."""

Progress = Callable[[str, int, int], None]
"""Hears (evaluation, samples done, samples in all) after each sample."""
