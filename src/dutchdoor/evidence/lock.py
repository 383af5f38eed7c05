"""One writer at a time: an exclusive lock that the system takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dutchdoor.errors import Unavailable

__all__ = ["LOCK_WAIT_MS_MAX", "FolderLock", "or_unavailable"]

LOCK_WAIT_MS_MAX = 5_000
_POLL_S = 0.0005


class FolderLock:
    """The lock of one log's folder, against threads and processes alike.

    The file `lock` stays empty; only the system's lock on it means something.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError: the folder is missing or may not be written to."""
        self._mutex = threading.Lock()
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock. Raises Unavailable: closed, or somebody else holds it too long."""
        with self._mutex:
            if self._descriptor < 0:
                raise Unavailable("the log is closed", code="log_closed")
            self._wait()
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back, once nobody holds the lock."""
        with self._mutex:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _wait(self) -> None:
        deadline = time.monotonic() + LOCK_WAIT_MS_MAX / 1000
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another process has held the log for {LOCK_WAIT_MS_MAX} ms"
                    hint = "look for a process that stands still while it writes to the log"
                    raise Unavailable(message, code="log_locked", hint=hint) from None
                time.sleep(_POLL_S)
            else:
                return


@contextmanager
def or_unavailable() -> Iterator[None]:
    """Turn what the disk refuses into Unavailable: we stop, closed."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or "input or output failed"
        message = f"the log cannot be used: {reason.lower()}"
        hint = "free space on the log's disk or repair it; nothing was acknowledged"
        raise Unavailable(message, code="log_unavailable", hint=hint) from error
