"""Where tiles and entry bundles lie, and what their bytes are.

    tile/<L>/<N>[.p/<W>]        up to 256 hashes of 32 bytes: row L is every 8th level of the tree
    tile/entries/<N>[.p/<W>]    up to 256 entries, each after its length in 2 bytes, big-endian

`N` is written in groups of three digits, all but the last with an `x`: 1234067 is x001/x234/067.
Source: C2SP tlog-tiles v0.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable

from dutchdoor.errors import Invalid
from dutchdoor.evidence.merkle import HASH_BYTES

__all__ = [
    "TILE_HEIGHT",
    "TILE_WIDTH",
    "bundle_path",
    "decode_bundle",
    "decode_tile",
    "encode_bundle",
    "tile_path",
]

TILE_HEIGHT = 8
TILE_WIDTH = 256
LEVEL_MAX = 63
INDEX_MAX = 2**63 - 1


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """The path of hash tile `index` at tile level `level`, partial where width < 256."""
    assert 0 <= level <= LEVEL_MAX, "tile levels are 0 to 63"
    return f"tile/{level}/{_number(index)}{_suffix(width)}"


def bundle_path(index: int, width: int = TILE_WIDTH) -> str:
    """The path of entry bundle `index`, partial where width < 256."""
    return f"tile/entries/{_number(index)}{_suffix(width)}"


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The bytes of an entry bundle. Each entry has at most 65,535 bytes."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def decode_bundle(data: bytes, count: int) -> list[bytes]:
    """The `count` entries in `data` (unverified bytes).

    Raises Invalid: more or fewer entries, or a length that runs past the end.
    """
    entries = []
    position, end = 0, len(data)
    while position < end:
        # A length cut in two gives a start beyond the end, which the next line refuses.
        start = position + 2
        position = start + (data[position] << 8 | data[position + 1] if start <= end else 0)
        if position > end:
            raise Invalid("an entry runs past the end of its bundle", code="bad_bundle")
        entries.append(data[start:position])
    if len(entries) != count:
        message = f"a bundle of {len(entries)} entries, {count} were expected"
        raise Invalid(message, code="bad_bundle")
    return entries


def decode_tile(data: bytes, count: int) -> list[bytes]:
    """The `count` hashes in `data` (unverified bytes).

    Raises Invalid: another length.
    """
    if len(data) != count * HASH_BYTES:
        message = f"a tile of {len(data)} bytes, {count * HASH_BYTES} were expected"
        raise Invalid(message, code="bad_tile")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def _number(index: int) -> str:
    assert 0 <= index <= INDEX_MAX, "a tile's index has 63 bits"
    text = f"{index % 1000:03d}"
    while index := index // 1000:
        text = f"x{index % 1000:03d}/{text}"
    return text


def _suffix(width: int) -> str:
    assert 1 <= width <= TILE_WIDTH, "a tile holds 1 to 256 hashes"
    return "" if width == TILE_WIDTH else f".p/{width}"
