"""The journal: what makes an entry durable. Everything else in the folder derives from it.

A segment `journal/<6 digits>` holds frames, one a batch; each ends with the checkpoint signed over
everything up to its last entry, so that a batch counts whole or not at all:

    bytes 0-3    "ddj1"
          4-7    number of entries
          8-11   length of the entries in bytes, each after its length in 2 bytes
         12-15   length of the checkpoint in bytes
         16-19   CRC-32 of bytes 0-15 and of all that follows
         20-     the entries, then the checkpoint (a signed note)

Integers are big-endian. Segment k begins at entry k * 65,536, where two rows of tiles are full, so
that opening a log reads one segment. The CRC recognises what a dying writer left, cut short or
zeroed; the signature is what a forger has to beat.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dutchdoor.errors import Invalid
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.tiles import TILE_WIDTH, decode_bundle, encode_bundle

__all__ = [
    "FRAME_BODY_BYTES_MAX",
    "FRAME_ENTRIES_MAX",
    "SEGMENT_ENTRIES",
    "Frame",
    "Segment",
    "encode_frame",
    "holds_frame",
    "read_frames",
    "segment_numbers",
    "segment_path",
]

SEGMENT_ENTRIES = TILE_WIDTH * TILE_WIDTH
FRAME_ENTRIES_MAX = 4096
FRAME_BODY_BYTES_MAX = 16 * 1024 * 1024
NOTE_BYTES_MAX = 4096
SEGMENT_MAX = 999_999
MAGIC = b"ddj1"
_HEADER = struct.Struct(">4sIII")
_CHECKSUM = struct.Struct(">I")
_HEADER_BYTES = _HEADER.size + _CHECKSUM.size


class Frame(NamedTuple):
    """One batch. end: the place of the first byte after it, in the bytes that were read."""

    entries: list[bytes]
    note: bytes
    end: int


def encode_frame(entries: Sequence[bytes], note: bytes) -> bytes:
    """The bytes of one batch."""
    assert 1 <= len(entries) <= FRAME_ENTRIES_MAX, "a frame holds 1 to 4,096 entries"
    assert len(note) <= NOTE_BYTES_MAX, "our notes have one signature"
    body = encode_bundle(entries)
    header = _HEADER.pack(MAGIC, len(entries), len(body), len(note))
    checksum = zlib.crc32(note, zlib.crc32(body, zlib.crc32(header)))
    return b"".join([header, _CHECKSUM.pack(checksum), body, note])


def read_frames(data: bytes, start: int = 0) -> Iterator[Frame]:
    """The whole frames of `data` (unverified bytes) from `start`, up to the first bad one."""
    while (frame := _read_frame(data, start)) is not None:
        yield frame
        start = frame.end


def holds_frame(data: bytes, start: int) -> bool:
    """Whether a whole frame begins anywhere in `data` at or after `start`.

    Behind a torn batch there is none: where there is one, somebody changed what was durable.
    """
    place = data.find(MAGIC, start)
    while place >= 0:
        if _read_frame(data, place) is not None:
            return True
        place = data.find(MAGIC, place + 1)
    return False


def segment_path(folder: Path, number: int) -> Path:
    """Where segment `number` of the log in `folder` lies."""
    assert 0 <= number <= SEGMENT_MAX, "a segment's number has six digits"
    return folder / "journal" / f"{number:06d}"


def segment_numbers(folder: Path) -> list[int]:
    """The numbers of the segments that exist, ascending."""
    try:
        names = [path.name for path in (folder / "journal").iterdir()]
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if re.fullmatch(r"[0-9]{6}", name))


class Segment:
    """One segment, open for appending; only who holds the log's lock may change it."""

    def __init__(self, folder: Path, number: int, files: Files) -> None:
        self.number = number
        self._files = files
        self._descriptor = os.open(segment_path(folder, number), os.O_RDWR)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def bytes_count(self) -> int:
        """The segment's length in bytes: one system call."""
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, end: int) -> bytes:
        """The bytes start..end."""
        parts = []
        while start < end and (part := os.pread(self._descriptor, end - start, start)):
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def put(self, data: bytes, position: int) -> None:
        """Write `data` at `position` and return once it is durable."""
        self._files.write(self._descriptor, data, position)
        self._files.flush(self._descriptor)

    def cut(self, position: int) -> None:
        """Forget everything from `position` on."""
        self._files.cut(self._descriptor, position)


def _read_frame(data: bytes, start: int) -> Frame | None:
    if len(data) - start < _HEADER_BYTES:
        return None
    magic, count, body_bytes, note_bytes = _HEADER.unpack_from(data, start)
    body = start + _HEADER_BYTES
    end = body + body_bytes + note_bytes
    if magic != MAGIC or end > len(data) or not 1 <= count <= FRAME_ENTRIES_MAX:
        return None
    (checksum,) = _CHECKSUM.unpack_from(data, body - _CHECKSUM.size)
    view = memoryview(data)
    header = view[start : start + _HEADER.size]
    if zlib.crc32(view[body:end], zlib.crc32(header)) != checksum:
        return None
    try:
        entries = decode_bundle(data[body : body + body_bytes], count)
    except Invalid:
        return None
    return Frame(entries, data[body + body_bytes : end], end)
