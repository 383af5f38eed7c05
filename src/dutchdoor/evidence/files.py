"""Each write of the log to disk goes through here, so that a test can break any one of them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["Files"]


class Files:
    """The disk. Each method raises OSError where the system does."""

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        """Write all of `data` at `position`; a short write is continued."""
        rest = memoryview(data)
        while rest:
            count = os.pwrite(descriptor, rest, position)
            rest, position = rest[count:], position + count

    def flush(self, descriptor: int) -> None:
        """Return once what was written, and the file's length, are durable."""
        os.fdatasync(descriptor)

    def cut(self, descriptor: int, size: int) -> None:
        """Make the file `size` bytes long."""
        os.ftruncate(descriptor, size)

    def create(self, path: Path) -> None:
        """Make the file empty where it is missing, durable together with its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        os.close(descriptor)
        self.flush_path(path.parent)

    def replace(self, path: Path, data: bytes) -> None:
        """Put `data` at `path` so that a reader sees the old bytes or the new ones, never a mix.

        It is not durable yet: what is written so can be derived from the journal.
        """
        new = path.with_name(path.name + ".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            try:
                self.write(descriptor, data, 0)
            finally:
                os.close(descriptor)
            self.rename(new, path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def rename(self, old: Path, new: Path) -> None:
        """The one step of `replace` that others can see."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        """Remove the file; nothing happens where it is missing."""
        path.unlink(missing_ok=True)

    def flush_path(self, path: Path) -> None:
        """Make a file or a folder durable."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
