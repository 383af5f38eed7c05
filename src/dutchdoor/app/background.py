"""The server in the background: started, waited for, asked how it is, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from dutchdoor.app.ceremonies import has_waiting
from dutchdoor.app.running import Running, find_running
from dutchdoor.config import Places
from dutchdoor.errors import Refused, Unavailable

__all__ = ["readiness", "start_background", "stop_background", "wait_ready"]

START_S_MAX = 300
STOP_S_MAX = 40
POLL_S = 0.1
LOG_NAME = "serve.log"
LOG_TAIL_CHARACTERS = 2_000


def start_background(
    places: Places,
    bundle: str | None = None,
    port: int | None = None,
    plan: Sequence[str] = (),
) -> Running:
    """Start `dutchdoor serve` as a process of its own and wait until it answers.

    plan: options of a ceremony; then it is waited for only until it asks its custodians.
    Raises Refused: one runs here already. Raises Unavailable: it ended, or is not ready in time;
    the hint quotes its last words.
    """
    with contextlib.suppress(Unavailable):
        running = find_running(places)
        message = f"a server runs here already, at {running.url}"
        raise Refused(message, code="already_running", hint="stop it with 'dutchdoor stop'")
    places.run.mkdir(mode=0o700, exist_ok=True)
    arguments = [sys.executable, "-m", "dutchdoor.cli.main", "serve"]
    arguments += ["--workspace", str(places.root)]
    if bundle is not None:
        arguments.append(bundle)
    if port is not None:
        arguments += ["--port", str(port)]
    arguments += plan
    with (places.run / LOG_NAME).open("wb") as log:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end_s = time.monotonic() + START_S_MAX
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise _unavailable(places, "the server ended at its start")
        with contextlib.suppress(Unavailable):
            running = find_running(places)
            asks = bool(plan) and has_waiting(places)
            if asks or readiness(running).get("ready"):
                return running
        time.sleep(POLL_S)
    process.terminate()
    raise _unavailable(places, f"the server is not ready after {START_S_MAX} s")


def wait_ready(places: Places, decision: str, s_max: float = START_S_MAX) -> Running:
    """Wait until the server answers under `decision`.

    Raises Unavailable: it does not in time.
    """
    end_s = time.monotonic() + s_max
    while time.monotonic() < end_s:
        with contextlib.suppress(Unavailable):
            running = find_running(places)
            if running.decision == decision and readiness(running).get("ready"):
                return running
        time.sleep(POLL_S)
    raise _unavailable(places, f"the server is not ready under {decision}")


def readiness(running: Running) -> dict[str, Any]:
    """What the gateway says of itself: `ready`, and why not.

    Raises Unavailable: it does not answer.
    """
    url = f"{running.url}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own, on http
            value = json.loads(response.read(1 << 20))
    except urllib.error.HTTPError as error:
        return {"ready": False, "why": f"HTTP {error.code}"}
    except (OSError, ValueError) as error:
        message = "the gateway does not answer"
        raise Unavailable(message, code="not_running", hint="see run/serve.log") from error
    return {**value, "ready": True} if isinstance(value, dict) else {"ready": True}


def stop_background(places: Places) -> None:
    """Stop the server of this workspace and wait until it has gone.

    Raises Unavailable: none runs, or it does not stop.
    """
    running = find_running(places)
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.supervisor_pid, signal.SIGTERM)
    end_s = time.monotonic() + STOP_S_MAX
    while time.monotonic() < end_s:
        try:
            find_running(places)
        except Unavailable:
            return
        time.sleep(POLL_S)
    hint = f"kill {running.supervisor_pid}; nothing that was acknowledged is lost by it"
    raise Unavailable("the server does not stop", code="not_stopping", hint=hint)


def _unavailable(places: Places, message: str) -> Unavailable:
    try:
        text = (places.run / LOG_NAME).read_text(errors="replace")
    except OSError:
        text = ""
    last = " / ".join(text[-LOG_TAIL_CHARACTERS:].strip().splitlines()[-4:])
    return Unavailable(message, code="cannot_start", hint=last or "see run/serve.log")
