"""A whole house for tests: a workspace with a small sealed model, served by real processes."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor.access.model import Budget, MonitorMode, Person
from dutchdoor.app import bundles
from dutchdoor.app.background import start_background, stop_background
from dutchdoor.app.people import ensure_person
from dutchdoor.app.running import Running
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Depth

__all__ = ["House", "make_house", "served"]

DAY_MS = 86_400_000


@dataclass(frozen=True)
class House:
    """A workspace, its bundle, and an auditor who may run it."""

    workspace: Workspace
    bundle: bundles.Bundle
    auditor: Person
    api_key: str

    def ask(self, url: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """One request as the auditor: status and JSON body."""
        request = urllib.request.Request(
            f"{url}{path}",
            data=json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self.api_key}",
                "content-type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def make_house(root: Path, model_folder: Path) -> House:
    """A workspace in `root` with `model_folder` sealed, and its auditor's grant and key."""
    workspace = make_workspace(root)
    auditor = ensure_person(workspace, "Ada", "auditor")
    born = bundles.seal(
        workspace,
        model_folder,
        "tiny",
        quorum=(2, 3),
        custodians=("one", "two", "three"),
        auditors=[auditor],
    )
    workspace.access.make_grant(
        auditor.id,
        born.bundle.digest,
        purpose="test",
        depths=(Depth.SAMPLING, Depth.LOGPROBS, Depth.AUDIT),
        budget=Budget(requests=100_000, tokens=100_000_000, vectors=8),
        not_after_ms=workspace.clock.now_ms() + DAY_MS,
        monitor_mode=MonitorMode.OBSERVE,
        concurrency_max=16,
        record=workspace.record,
    )
    issued = workspace.access.issue_key(auditor.id, record=workspace.record)
    return House(workspace, born.bundle, auditor, issued.secret.reveal())


@contextmanager
def served(house: House) -> Iterator[Running]:
    """The house served in the background, stopped at the end."""
    running = start_background(house.workspace.places, port=0)
    try:
        yield running
    finally:
        with contextlib.suppress(Unavailable):
            stop_background(house.workspace.places)
