"""Text that others wrote, made fit to be written elsewhere."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from dutchdoor.clock import to_iso

__all__ = ["NOT_STATED", "clean", "cleaned", "day", "label", "moment", "percent", "short"]

NOT_STATED = "not stated"
"""What is written where nobody said it. Nothing is ever guessed in its place."""

_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})


def clean(text: str) -> str:
    """`text` without control, format and unassigned characters, except newline and tab.

    Each becomes U+FFFD, so that a reader sees that something was there.
    """
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in _HIDDEN
        else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def cleaned(value: Any) -> Any:
    """`value`, plain values only, with every text in it made clean."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return type(value)(cleaned(item) for item in value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return value


def moment(time_ms: int) -> str:
    """A time as ISO 8601 in UTC, to the second, ending in Z."""
    return to_iso(time_ms)[:19] + "Z"


def day(time_ms: int) -> str:
    """The date of a time, as ISO 8601 in UTC."""
    return to_iso(time_ms)[:10]


def percent(rate: str) -> str:
    """A rate between 0 and 1 as people read it; `rate` itself where it is no number."""
    try:
        return f"{float(rate) * 100:.0f} %"
    except ValueError:
        return rate


def label(name: str) -> str:
    """A name from the program as people read it."""
    return name.replace("_", " ").replace("-", " ")


def short(digest: str) -> str:
    """The beginning of a digest, enough to recognise it."""
    return f"{digest[:19]}…" if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else digest
