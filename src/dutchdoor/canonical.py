"""One value, one sequence of bytes: the canonical JSON under every digest and signature here.

A subset of RFC 8785 (JSON Canonicalization Scheme): objects with string keys sorted by UTF-16 code
units, arrays, strings, true, false, null, and integers of at most 53 bits. Floating-point numbers
are refused in both directions: a measurement inside signed bytes is written as a string.
`parse` accepts only bytes that `encode` would write, so what verifies is also what was written.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

from dutchdoor.errors import Invalid

__all__ = ["Value", "digest", "encode", "parse", "sha256_hex"]

Value = None | bool | int | str | list[Any] | dict[str, Any]

INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 32
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def encode(value: Value) -> bytes:
    """The canonical bytes of `value`, UTF-8 without a newline.

    Raises Invalid: a float, an integer beyond 53 bits, a lone surrogate, a key that is not a
    string, or nesting deeper than 32.
    Source: RFC 8785, sections 3.2.1 to 3.2.4.
    """
    try:
        if _is_plain(value, 0):
            # Keys of ASCII sort the same by code points and by UTF-16 code units.
            return _encoder.encode(value).encode()
    except UnicodeEncodeError as error:
        raise Invalid("a string holds a lone surrogate", code="not_canonical") from error
    ordered = _ordered(value, 0)
    try:
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise Invalid("a string holds a lone surrogate", code="not_canonical") from error


def parse(data: bytes) -> Any:
    """The value of `data` (unverified bytes), which must be canonical already.

    Raises Invalid: not JSON, a duplicate key, a float, or any other bytes than `encode` writes.
    """
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_without_duplicates,
            parse_float=_refuse_float,
            parse_constant=_refuse_float,
        )
    except (ValueError, RecursionError) as error:
        raise Invalid("not canonical JSON", code="not_canonical") from error
    if encode(value) != data:
        raise Invalid("JSON, but not in canonical form", code="not_canonical")
    return value


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Value) -> str:
    """`sha256:` and the SHA-256 of the canonical bytes of `value`."""
    return "sha256:" + sha256_hex(encode(value))


def _is_plain(value: Any, depth: int) -> bool:
    """Whether the fast encoder writes `value` exactly as the slow one would: the common case."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-INTEGER_MAX <= value <= INTEGER_MAX)
    if depth >= DEPTH_MAX:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or not _is_plain(item, depth + 1):
                return False
        return True
    if kind is list or kind is tuple:
        return all([_is_plain(item, depth + 1) for item in value])  # noqa: C419 - quicker
    return False


def _ordered(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise Invalid(f"nested deeper than {DEPTH_MAX}", code="not_canonical")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise Invalid("an integer beyond 53 bits", code="not_canonical")
        return int(value)
    if isinstance(value, list | tuple):
        return [_ordered(item, depth + 1) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise Invalid("an object key that is not a string", code="not_canonical")
        # Code-unit order differs from code-point order beyond the basic plane (RFC 8785, 3.2.3).
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _ordered(value[key], depth + 1) for key in keys}
    message = f"a {type(value).__name__} has no canonical form"
    raise Invalid(message, code="not_canonical", hint="write measurements as strings")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def _refuse_float(text: str) -> NoReturn:
    raise ValueError(f"a floating-point number: {text}")
