"""What is running in a workspace: written by the supervisor, read by every other command."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from dutchdoor.config import Places
from dutchdoor.errors import Refused, Unavailable

__all__ = ["Running", "alone", "find_running", "forget_running", "write_running"]

NAME = "gateway.json"
LOCK_NAME = "serve.lock"
LOCK_S_MAX = 1.0
LOCK_POLL_S = 0.02


@dataclass(frozen=True)
class Running:
    """A running server.

    url: where the gateway listens. decision: the runtime was opened under, "" while it is closed.
    *_pid: its processes, 0 while there is none.
    """

    url: str
    bundle: str
    model: str
    decision: str
    supervisor_pid: int
    gateway_pid: int
    runtime_pid: int


def write_running(places: Places, running: Running) -> None:
    """Say what runs here; readers see the old or the new, never half."""
    draft = places.run / f".{NAME}"
    draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
    draft.replace(places.run / NAME)


def forget_running(places: Places) -> None:
    """Say that nothing runs here."""
    (places.run / NAME).unlink(missing_ok=True)


def find_running(places: Places) -> Running:
    """The server running in this workspace.

    Raises Unavailable: none is.
    """
    hint = "start it with 'dutchdoor serve'"
    try:
        running = Running(**json.loads((places.run / NAME).read_text()))
    except (OSError, ValueError, TypeError) as error:
        message = "no server is running in this workspace"
        raise Unavailable(message, code="not_running", hint=hint) from error
    if not _is_held(places):
        message = "the server of this workspace has died"
        raise Unavailable(message, code="not_running", hint=hint)
    return running


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Held while a supervisor lives here; the kernel gives it back when the supervisor dies.

    Raises Refused: another one lives here.
    """
    with (places.run / LOCK_NAME).open("w") as file:
        end_s = time.monotonic() + LOCK_S_MAX
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                # Whoever asks whether somebody lives here holds the lock for a moment.
                if time.monotonic() > end_s:
                    message = "a server runs in this workspace already"
                    hint = "stop it with 'dutchdoor stop'"
                    raise Refused(message, code="already_running", hint=hint) from error
            time.sleep(LOCK_POLL_S)
        yield


def _is_held(places: Places) -> bool:
    """Whether a supervisor lives here; a process id alone could be somebody else's by now."""
    try:
        with (places.run / LOCK_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
