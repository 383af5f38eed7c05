"""Typed reading of parsed values: each function gives the field, or refuses it.

What comes out of `canonical.parse` is any JSON; a parser reads each field through here and turns
`Invalid`, a missing key or a wrong type into its own refusal.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from dutchdoor.errors import Invalid

__all__ = ["BAD_FIELD", "base64_text", "bytes_of", "count", "digest", "hexadecimal", "text"]

COUNT_MAX = 2**53 - 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

BAD_FIELD = (KeyError, TypeError, AttributeError, Invalid)
"""What reading a malformed value may raise, for a parser's one `except`."""


def text(value: Any) -> str:
    """`value`, a string."""
    if not isinstance(value, str):
        raise _bad()
    return value


def count(value: Any, largest: int = COUNT_MAX) -> int:
    """`value`, an integer from 0 to `largest`; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise _bad()
    return value


def digest(value: Any) -> str:
    """`value`, `sha256:` and 64 lower-case hexadecimal digits."""
    if _DIGEST.fullmatch(text(value)) is None:
        raise _bad()
    return str(value)


def hexadecimal(value: Any, digits: int) -> str:
    """`value`, exactly so many lower-case hexadecimal digits."""
    if re.fullmatch(f"[0-9a-f]{{{digits}}}", text(value)) is None:
        raise _bad()
    return str(value)


def bytes_of(value: Any) -> bytes:
    """The bytes of padded base64, in the one form that `base64_text` writes."""
    try:
        data = base64.b64decode(text(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad() from error
    # Two texts for one value would be two digests for one message.
    if base64_text(data) != value:
        raise _bad()
    return data


def base64_text(data: bytes) -> str:
    """`data` in padded base64, one line."""
    return base64.b64encode(data).decode()


def _bad() -> Invalid:
    return Invalid("a field of another type or form", code="bad_field")
