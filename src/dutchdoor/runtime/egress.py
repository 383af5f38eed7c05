"""How many bytes leave the runtime a day, counted before they leave, through restarts.

The file says how much may have left today. The runtime takes a block of it at a time and writes
that down first, so that a crash counts too much and never too little. It inherits the open file:
it may open none itself. Who may write the workspace can change the file while no runtime has it;
a lost file stops an opening that has a limit (`app.opening`), a changed one is seen by its sum.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dutchdoor.clock import Clock
from dutchdoor.errors import Refused, Unavailable

__all__ = ["EgressMeter", "open_meter"]

DAY_MS = 86_400_000
BLOCK_BYTES = 65_536
BLOCKS_MIN = 16
RECORD_BYTES = 41


class EgressMeter:
    """Counts, and says no at the limit. For one process and one thread."""

    def __init__(self, handle: int, bytes_day_max: int, clock: Clock) -> None:
        """handle: the file's descriptor, -1 for none. bytes_day_max: 0 for any number.

        Raises Unavailable: there is a limit and no file to count in, or the file cannot be read.
        Raises Refused: it is not what a meter wrote.
        """
        if bytes_day_max and handle < 0:
            raise _broken("there is a limit on what may leave, and nothing that counts it")
        self.bytes_day_max = bytes_day_max
        self._handle = handle
        self._clock = clock
        self._block = BLOCK_BYTES
        if bytes_day_max:
            self._block = max(1, min(BLOCK_BYTES, bytes_day_max // BLOCKS_MIN))
        self._day, self._reserved = self._read()
        self._used = self._reserved
        self._turn()

    @property
    def bytes_today(self) -> int:
        """Bytes that left today (UTC), or may have left before a crash."""
        self._turn()
        return self._used

    def check(self) -> None:
        """Raises Refused: nothing more may leave today."""
        self._turn()
        if self.bytes_day_max and self._used >= self.bytes_day_max:
            raise _spent(self.bytes_day_max)

    def take(self, size: int, *, always: bool = False) -> None:
        """Count `size` bytes that are about to leave. always: also beyond the limit.

        Raises Refused: they do not fit into today. Raises Unavailable: they cannot be written
        down. Nothing may leave then.
        """
        self._turn()
        if self.bytes_day_max and not always and self._used + size > self.bytes_day_max:
            raise _spent(self.bytes_day_max)
        if self._used + size > self._reserved:
            reserved = self._used + size + self._block
            if self.bytes_day_max:
                reserved = max(self._used + size, min(reserved, self.bytes_day_max))
            self._write(self._day, reserved)
            self._reserved = reserved
        self._used += size

    def _turn(self) -> None:
        today = self._clock.now_ms() // DAY_MS
        # A clock that was set back does not give the day before again.
        if today > self._day:
            self._day, self._used, self._reserved = today, 0, 0

    def _read(self) -> tuple[int, int]:
        if self._handle < 0:
            return 0, 0
        try:
            data = os.pread(self._handle, RECORD_BYTES + 1, 0)
        except OSError as error:
            raise _broken("the meter of what leaves cannot be read") from error
        if not data:
            return 0, 0
        parts = data.split(b" ")
        try:
            day, used = int(parts[0]), int(parts[1])
        except (ValueError, IndexError):
            day, used = -1, -1
        if day < 0 or used < 0 or data != _record(day, used):
            message = "the meter of what leaves is not what a runtime wrote"
            hint = "find out who changed it; tomorrow's first opening may begin with a new one"
            raise Refused(message, code="egress_meter_changed", hint=hint)
        return day, used

    def _write(self, day: int, reserved: int) -> None:
        if self._handle < 0:
            return
        record = _record(day, reserved)
        try:
            if os.pwrite(self._handle, record, 0) != len(record):
                raise _broken("the meter of what leaves was half written")
            os.fdatasync(self._handle)
        except OSError as error:
            raise _broken("what leaves cannot be written down") from error


@contextmanager
def open_meter(path: Path) -> Iterator[int]:
    """The descriptor of the meter's file, made where there is none, for a runtime to inherit.

    Raises Unavailable: it cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise _broken("the meter of what leaves cannot be opened") from error
    try:
        yield handle
    finally:
        os.close(handle)


def _record(day: int, used: int) -> bytes:
    text = f"{day:010d} {used:020d} ".encode()
    return text + f"{zlib.crc32(text):08x}\n".encode()


def _spent(most: int) -> Refused:
    message = f"the {most} bytes that may leave the model a day have left"
    hint = "ask again tomorrow (UTC); the release decision sets the limit"
    return Refused(message, code="egress_exhausted", hint=hint)


def _broken(message: str) -> Unavailable:
    hint = "nothing leaves that is not counted: look at the folder 'meters' of the workspace"
    return Unavailable(message, code="egress_meter_broken", hint=hint)
