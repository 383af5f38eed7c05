"""Which gateway processes are alive, so that none declares another's inferences lost."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from dutchdoor.errors import Unavailable
from dutchdoor.ids import random_part

__all__ = ["Presence"]

_NAME = re.compile(r"gateway_[0-9a-z]{12}")


class Presence:
    """A lock file that this process holds for as long as it lives.

    The kernel drops the lock with the process, however it dies; a name whose lock can be taken, or
    whose file is gone, belongs to nobody alive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = "gateway_" + random_part(12)
        self._descriptor: int | None = None

    def enter(self) -> None:
        """Take the lock. Raises Unavailable: the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / self.name
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            message = f"no lock file can be kept in {self._folder}"
            raise Unavailable(message, code="presence_unavailable") from error

    def leave(self) -> None:
        """Drop the lock and its file."""
        if self._descriptor is not None:
            (self._folder / self.name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def alive(self, name: str) -> bool:
        """Whether the gateway of this name still runs (this one included)."""
        if name == self.name:
            return True
        if not _NAME.fullmatch(name):
            return False
        try:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            (self._folder / name).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def others_live(self) -> bool:
        """Whether any other gateway of this workspace runs."""
        names = [path.name for path in self._folder.glob("gateway_*")]
        return any(name != self.name and self.alive(name) for name in names)
