"""Files that people carry between machines: read with a bound, written whole and never over."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dutchdoor.errors import Invalid, NotFound, Refused, Unavailable

__all__ = ["read_input", "write_new"]


def read_input(path: Path, bytes_max: int) -> bytes:
    """The bytes of a file that somebody gave. Raises NotFound, Invalid: none, or too long."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise NotFound(message, code="no_such_file", hint="check the path") from error
    if len(data) > bytes_max:
        raise Invalid(f"{path} is too long", code="file_too_large", hint="is it the right file?")
    return data


def write_new(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Raises Refused: there is something already. Raises Unavailable: the disk; nothing is left.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError as error:
        message = f"there is something at {path}"
        raise Refused(
            message, code="target_exists", hint="name a file that is not there"
        ) from error
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise Unavailable(message, code="not_written", hint="make room on the disk") from error
    finally:
        draft.unlink(missing_ok=True)
