"""A client of our own server for evaluations that ask more than a completion.

The address and the key come from the environment of the evaluation process, where nothing else
can read them; they are in no argument, no log and no error.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from dutchdoor.errors import DutchdoorError

__all__ = ["Door", "NotMeasured", "Reply", "door_of_environment"]

ANSWER_BYTES_MAX = 64 << 20
ANSWER_S_MAX = 300


class NotMeasured(DutchdoorError):
    """An evaluation cannot measure anything here; the message says why."""


class Reply(NamedTuple):
    """A server's answer. code: of its error, "" where there is none."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        error = self.body.get("error")
        return str(error.get("code", "")) if isinstance(error, dict) else ""

    @property
    def missing(self) -> str:
        """The depths that our server says are missing, "" where it says nothing of depths."""
        if self.code != "depth_not_granted":
            return ""
        own = self.body["error"].get("dutchdoor")
        names = own.get("missing") if isinstance(own, dict) else None
        return ", ".join(str(name) for name in names or ["unknown"])


class Door:
    """One server, one model, one caller. base_url: ends in `/v1`."""

    def __init__(self, base_url: str, model: str, key: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._key = key

    def get(self, path: str) -> Reply:
        """What `path` says; status 0 where nobody answers."""
        return self._ask(path, None)

    def post(self, path: str, body: dict[str, Any], *, wait_s: int = ANSWER_S_MAX) -> Reply:
        """What `path` answers to `body`, asked of this door's model; 0 where nobody answers."""
        return self._ask(path, {"model": self._model, **body}, wait_s)

    def _ask(self, path: str, body: dict[str, Any] | None, wait_s: int = ANSWER_S_MAX) -> Reply:
        request = urllib.request.Request(  # noqa: S310 - the auditor's own server
            f"{self._base_url}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self._key}",
                "content-type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=wait_s) as response:  # noqa: S310
                return Reply(response.status, _object(response.read(ANSWER_BYTES_MAX)))
        except urllib.error.HTTPError as error:
            return Reply(error.code, _object(error.read(ANSWER_BYTES_MAX)))
        except OSError:
            return Reply(0, {})


def door_of_environment(model: str) -> Door:
    """The door that this process was given.

    Raises NotMeasured: there is none, because the evaluation runs against another provider.
    """
    try:
        return Door(os.environ["DUTCHDOOR_BASE_URL"], model, os.environ["DUTCHDOOR_API_KEY"])
    except KeyError as error:
        message = "it needs routes that only our own server has"
        raise NotMeasured(message, code="not_measured") from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
