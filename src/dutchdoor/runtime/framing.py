"""Cutting a stream of bytes into frames: a 4-byte big-endian length, then so many bytes."""

from __future__ import annotations

from dutchdoor.errors import Invalid
from dutchdoor.runtime.protocol import FRAME_BYTES_MAX

__all__ = ["FrameReader"]

_LENGTH_BYTES = 4


class FrameReader:
    """Collects bytes as they come and gives whole frames; the cut of the bytes does not matter."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete once `data` (unverified bytes) has come.

        Raises Invalid: a frame is empty or larger than it may be; the stream is then lost.
        """
        self._data += data
        frames: list[bytes] = []
        start = 0
        while len(self._data) - start >= _LENGTH_BYTES:
            length = int.from_bytes(self._data[start : start + _LENGTH_BYTES], "big")
            # Checked before the bytes are awaited: nobody makes us collect gigabytes.
            if not 0 < length <= FRAME_BYTES_MAX:
                raise Invalid(f"a frame of {length} bytes", code="frame_too_large")
            end = start + _LENGTH_BYTES + length
            if len(self._data) < end:
                break
            frames.append(bytes(self._data[start + _LENGTH_BYTES : end]))
            start = end
        del self._data[:start]
        return frames
