"""A holder's house without any custodian's key, and each custodian on a machine of their own."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from dutchdoor.app import bundles
from dutchdoor.app.ceremonies import Plan, hold, waiting
from dutchdoor.app.people import ensure_person
from dutchdoor.app.workspace import Workspace, make_workspace, open_workspace
from dutchdoor.cli.main import app
from dutchdoor.custody.opening import Opened, Opening
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.reader import LogReader
from dutchdoor.weights.folder import open_folder
from tests.weights.parts import plain_files, write_files

NAMES = ("one", "two", "three")
WAIT_S_MAX = 30.0


class Ran:
    """One command, run in this process; `secret` comes through a real descriptor."""

    def __init__(self, *arguments: str, secret: str = "") -> None:
        given = [*arguments, "--json"]
        read_end, write_end = os.pipe()
        os.write(write_end, secret.encode())
        os.close(write_end)
        if secret:
            given += ["--secret-fd", str(read_end)]
        try:
            self.result: Result = CliRunner().invoke(app, given)
        finally:
            os.close(read_end)
        self.code, self.said = self.result.exit_code, self.result.stderr
        out = self.result.stdout.strip()
        self.value: Any = json.loads(out) if out else {}

    @property
    def error(self) -> str:
        """The code of the error, as programs read it; "" where there was none."""
        rows = [row for row in self.said.splitlines() if row.startswith('{"error"')]
        return str(json.loads(rows[-1])["error"]["code"]) if rows else ""


class Apart:
    """A workspace with a small sealed bundle, 2 of 3, whose custodians' keys are elsewhere."""

    def __init__(self, root: Path, source: Path | None = None) -> None:
        self.root = root
        made = make_workspace(root / "house")
        self.places = made.places
        model = source or write_files(root / "model", plain_files(70_000))
        self.bundle = bundles.seal(
            made,
            model,
            "tiny",
            quorum=(2, 3),
            custodians=NAMES,
            auditors=[ensure_person(made, "Ada", "auditor")],
        ).bundle
        for name in NAMES:
            folder = self.machine(name)
            (folder / "keyring" / "custodians").mkdir(mode=0o700, parents=True)
            (folder / "keyring").chmod(0o700)
            shutil.copy(self.places.config, folder / "dutchdoor.toml")
            shutil.copy(self.places.trust, folder / "trust.json")
            shutil.move(self.places.keyring / "custodians" / f"{name}.key", self.key(name))
            self.bring_log(name)

    @property
    def workspace(self) -> Workspace:
        """Opened anew, as another process would."""
        return open_workspace(self.places)

    def machine(self, name: str) -> Path:
        return self.root / f"machine-{name}"

    def key(self, name: str) -> Path:
        return self.machine(name) / "keyring" / "custodians" / f"{name}.key"

    def bring_log(self, name: str) -> None:
        """What a custodian does before they judge: the newest copy of the log."""
        target = self.machine(name) / "evidence"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.places.evidence, target)

    def home(self, *arguments: str) -> Ran:
        return Ran(*arguments, "--workspace", str(self.places.root))

    def at(self, name: str, *arguments: str, secret: str = "") -> Ran:
        return Ran(*arguments, "--workspace", str(self.machine(name)), secret=secret)

    def grant(self, name: str, request: Path, *more: str, secret: str = "") -> Ran:
        given = ("custody", "grant", str(request), "--as", name, "--yes", *more)
        return self.at(name, *given, secret=secret)

    def share(self, name: str, request: Path) -> str:
        """The path of this custodian's share, granted by the newest log."""
        self.bring_log(name)
        ran = self.grant(name, request)
        assert ran.code == 0, ran.said
        return str(ran.value["share"])

    def kinds(self) -> list[str]:
        reader = LogReader(self.places.evidence)
        return [json.loads(data)["kind"] for _, data in reader.entries()]

    def decision(self) -> Decision:
        workspace = self.workspace
        now_ms = workspace.clock.now_ms()
        return workspace.register.in_force(self.bundle.digest, now_ms).decision

    @contextmanager
    def ceremony(self, reason: str = "a test", lifetime_ms: int = 600_000) -> Iterator[Waiter]:
        """A process's part of a ceremony, in a thread: it waits until it is stopped or opened."""
        waiter = Waiter(self, Plan("serve", reason, lifetime_ms))
        try:
            yield waiter
        finally:
            waiter.stop()


class Waiter:
    """What waits for custodians, as a runtime's supervisor does."""

    def __init__(self, apart: Apart, plan: Plan) -> None:
        workspace = apart.workspace
        self._apart = apart
        self._opening = Opening(apart.bundle.digest, workspace.clock, lifetime_ms=plan.lifetime_ms)
        self._ended = threading.Event()
        self.said: list[str] = []
        self.opened: Opened | None = None
        self.failure: DutchdoorError | None = None
        self._thread = threading.Thread(target=self._wait, args=(workspace, plan))
        self._thread.start()
        until(lambda: bool(waiting(apart.workspace)) or not self._thread.is_alive())
        self.request = apart.root / f"{os.urandom(4).hex()}.request"
        self.request.write_bytes(waiting(apart.workspace)[-1].judged.ceremony.encode())

    def _wait(self, workspace: Workspace, plan: Plan) -> None:
        bundle, terms = (
            self._apart.bundle,
            open_folder(self._apart.bundle.path, workspace.trust.holder).manifest.terms,
        )
        try:
            releases = hold(
                workspace,
                bundle,
                self._opening.request,
                plan,
                stopped=self._ended.is_set,
                say=self.said.append,
            )
            self.opened = self._opening.finish(releases, terms)
        except DutchdoorError as error:
            self.failure = error

    def finished(self) -> Waiter:
        """Once it has opened or given up by itself."""
        self._thread.join(WAIT_S_MAX)
        assert not self._thread.is_alive(), "it still waits"
        return self

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(WAIT_S_MAX)


def until(done: Callable[[], bool]) -> None:
    """Waits for it, and fails where it never comes."""
    end_s = time.monotonic() + WAIT_S_MAX
    while not done():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.02)
