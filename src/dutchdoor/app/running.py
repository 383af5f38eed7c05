"""What is running in a workspace: written by the supervisor, read by every other command."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass

from dutchdoor.config import Places
from dutchdoor.errors import Unavailable

__all__ = ["Running", "find_running", "forget_running", "write_running"]

NAME = "gateway.json"


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
    with contextlib.suppress(PermissionError):
        try:
            os.kill(running.supervisor_pid, 0)
        except ProcessLookupError as error:
            message = "the server of this workspace has died"
            raise Unavailable(message, code="not_running", hint=hint) from error
    return running
