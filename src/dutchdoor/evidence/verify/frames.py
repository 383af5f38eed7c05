"""The journal's frames, read a second time, and the byte that was changed in a damaged one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Frame", "candidates", "next_frame", "read_entries", "read_frame"]

MAGIC = b"ddj1"
HEADER_BYTES = 20
SEARCH_BYTES_MAX = 1 << 20


class Frame(NamedTuple):
    """start, end: its bytes in the segment. entries: each with its first byte there."""

    start: int
    end: int
    entries: list[tuple[int, bytes]]
    note: bytes


def read_frame(data: bytes, start: int) -> Frame | None:
    """The whole frame at `start`, or None."""
    if data[start : start + 4] != MAGIC or len(data) < start + HEADER_BYTES:
        return None
    count, body_bytes, note_bytes, checksum = struct.unpack_from(">IIII", data, start + 4)
    body = start + HEADER_BYTES
    end = body + body_bytes + note_bytes
    if end > len(data) or zlib.crc32(data[start : start + 16] + data[body:end]) != checksum:
        return None
    entries = read_entries(data, body, body + body_bytes)
    if entries is None or len(entries) != count or count == 0:
        return None
    return Frame(start, end, entries, data[body + body_bytes : end])


def read_entries(data: bytes, start: int, end: int) -> list[tuple[int, bytes]] | None:
    """The entries between `start` and `end`, each with its first byte; None: out of form."""
    entries = []
    while start < end:
        stop = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if start + 2 > end or stop > end:
            return None
        entries.append((start + 2, data[start + 2 : stop]))
        start = stop
    return entries


def next_frame(data: bytes, start: int) -> int:
    """Where the next whole frame at or after `start` begins, or the end of `data`."""
    place = data.find(MAGIC, start)
    while place >= 0:
        if read_frame(data, place) is not None:
            return place
        place = data.find(MAGIC, place + 1)
    return len(data)


def candidates(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each single byte of a damaged frame that, changed, gives a frame whose checksum holds.

    Gives its place and the frame mended so. A CRC is linear: one wrong byte changes it by a value
    that depends on the byte's distance from the end and on the difference alone; so the checksum's
    difference is taken back byte by byte until it is what one byte could have caused.
    """
    if not HEADER_BYTES < len(data) <= SEARCH_BYTES_MAX:
        return
    stored = int.from_bytes(data[16:20], "big")
    difference = zlib.crc32(data[:16] + data[20:]) ^ stored
    for place in range(16, 20):
        if difference.bit_count() and difference & ~(0xFF << 8 * (19 - place)) == 0:
            yield place, _mended(data, place, difference >> 8 * (19 - place))
    table = [_table_row(value) for value in range(256)]
    by_top = {row >> 24: value for value, row in enumerate(table)}
    causes = {row: value for value, row in enumerate(table) if value}
    for place in [*range(len(data) - 1, 19, -1), *range(15, -1, -1)]:
        if difference in causes:
            yield place, _mended(data, place, causes[difference])
        low = by_top[difference >> 24]
        difference = (difference ^ table[low]) << 8 & 0xFFFFFFFF | low


def _mended(data: bytes, place: int, difference: int) -> bytes:
    return data[:place] + bytes([data[place] ^ difference]) + data[place + 1 :]


def _table_row(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value
