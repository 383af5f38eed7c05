"""Changes of good inputs that get past the first check: of bytes, and of the JSON that they are."""

from __future__ import annotations

import base64
import binascii
import json
from random import Random
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid

__all__ = ["mutate"]

BYTES_MAX = 65_536
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53 - 1, -(2**53) + 1, 255, 4096, "", "a", "\0", "\ud7ff\uffff",
    "sha256:" + "0" * 64, "x" * 300, [], {}, [[]], [None], {"": {}}, "é", "٧", "1e3", "AAAA", "A=",
    "../x", "tpm:0011223344556677", "ed25519:0011223344556677",
)  # fmt: skip


def mutate(data: bytes, random: Random) -> bytes:
    """One changed form of `data`, at most 64 KiB."""
    if random.random() < 0.6:
        try:
            value = json.loads(data)
            for _ in range(random.choice((1, 1, 2, 4))):
                value = _value(value, random)
            return canonical.encode(value)[:BYTES_MAX]
        except (ValueError, RecursionError, Invalid):
            pass
    return _bytes(data, random)[:BYTES_MAX]


def _value(value: Any, random: Random) -> Any:
    """`value` changed at one place."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        name = random.choice(sorted(value))
        chosen, rest = value[name], {n: row for n, row in value.items() if n != name}
        kind = random.randrange(8)
        if kind == 0:
            return rest
        if kind == 1:
            return {**value, random.choice(("", "v", "kind", name + "x")): random.choice(ODD)}
        if kind == 2:
            return {**rest, name: value[random.choice(sorted(value))]}
        return {**rest, name: _value(chosen, random)}
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        kind = random.randrange(6)
        if kind == 0:
            return value[:place] + value[place + 1 :]
        if kind == 1:
            return [*value, value[place]]
        if kind == 2:
            return list(reversed(value))
        return [*value[:place], _value(value[place], random), *value[place + 1 :]]
    if isinstance(value, str) and value and random.random() < 0.6:
        return _text(value, random)
    if type(value) is int and random.random() < 0.6:
        return value + random.choice((-1, 1, 1 << 31, -(1 << 31), value))
    return random.choice(ODD)


def _text(value: str, random: Random) -> str:
    if random.random() < 0.5:
        try:
            inner = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            inner = b""
        if inner:
            return base64.b64encode(mutate(inner, random)).decode()
    place = random.randrange(len(value))
    put = random.choice(("", "0", "f", "A", " ", "\n", "é", "=", value[place] * 2))
    return value[:place] + put + value[place + 1 :]


def _bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data or b"\0")
    for _ in range(random.choice((1, 1, 2, 8))):
        place = random.randrange(len(changed) + 1)
        kind = random.randrange(6)
        if kind == 0:
            changed[place : place + random.choice((1, 1, 4, 64))] = b""
        elif kind == 1:
            changed[place:place] = random.randbytes(random.choice((1, 2, 8)))
        elif kind == 2:
            changed[place : place + 2] = random.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\1"))
        elif kind == 3:
            changed = changed[:place]
        elif kind == 4:
            changed[place:place] = changed[: random.choice((4, 16))]
        elif place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        changed = changed or bytearray(b"\0")
    return bytes(changed)
