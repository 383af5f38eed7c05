"""A sealed tiny model with its custodians, and a supervisor that has it opened: all real parts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.clock import SystemClock
from dutchdoor.config import RuntimeConfig
from dutchdoor.custody.keyring import CustodianKey, FileSigner
from dutchdoor.custody.opening import Custodian, gather_releases
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import NotInForce
from dutchdoor.evidence.decision import Decision, GuardTerms, Level
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.statement import key_id
from dutchdoor.ids import BundleDigest, new_decision_id
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.supervisor import Opening, RuntimeStarted, RuntimeStopped, Supervisor
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.seal import seal_folder
from tests.runtime.tiny_model import write_tiny_model

HOLDER = FileSigner("holder", bytes(range(32)))
HOLDERS = {key_id(HOLDER.public_key): HOLDER.public_key}
HARDENING = ("not_dumpable", "no_core", "no_new_privileges")


@dataclass(frozen=True)
class _InForce:
    decision: Decision
    index: int


@dataclass
class SealedModel:
    """A sealed model and whoever opens it. decision: None once it is revoked."""

    path: Path
    digest: BundleDigest
    folder: Path
    keys: list[CustodianKey]
    decision: Decision | None = None
    companion: bytes = b""
    amends: bool = True
    entries: list[Entry] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    started: list[RuntimeStarted] = field(default_factory=list)
    stopped: list[RuntimeStopped] = field(default_factory=list)

    def in_force(self, bundle: BundleDigest, now_ms: int) -> _InForce:
        if self.decision is None or self.decision.bundle != bundle:
            raise NotInForce("no decision in force", code="no_decision_in_force")
        return _InForce(self.decision, 0)

    def decide(self, guard: GuardTerms | None = None) -> None:
        """A fully closed decision in force, with these terms of the guard."""
        now_ms = SystemClock().now_ms()
        self.decision = Decision(
            id=new_decision_id(),
            bundle=self.digest,
            model="tiny",
            level=Level.FULLY_CLOSED,
            stage="born",
            audiences=(),
            guard=guard or GuardTerms(),
            hidden_size=64,
            vectors_max=0,
            audit="",
            reasons="a test",
            supersedes="",
            not_before_ms=now_ms - 1000,
            not_after_ms=now_ms + 86_400_000,
        )

    def open(self, request: bytes) -> Opening:
        """What custody does: two of three custodians release their shares, recorded."""
        clock = SystemClock()
        self.requests.append(request)
        custodians = [
            Custodian(key, decisions=self, clock=clock, seen=FileSeen(self.folder / key.name))
            for key in self.keys
        ]
        releases = gather_releases(
            request,
            shares=open_folder(self.path, HOLDERS).shares,
            custodians=custodians,
            record=self._record,
            clock=clock,
        )
        assert self.decision is not None, "the custodians have seen one"
        return Opening(
            releases, self.decision.id, self.decision.guard, self.companion, amends=self.amends
        )

    def supervise(self, socket_path: Path, **config: Any) -> Supervisor:
        """A supervisor of this model, not yet started."""
        settings = {"dtype": "float32", "threads": 1, "require": HARDENING, **config}
        return Supervisor(
            bundle_path=self.path,
            bundle=self.digest,
            holders=HOLDERS,
            socket_path=socket_path,
            config=RuntimeConfig(**settings),
            limits=RuntimeLimits(),
            open_bundle=self.open,
            on_started=self.started.append,
            on_stopped=self.stopped.append,
        )

    def _record(self, entry: Entry) -> Recorded:
        self.entries.append(entry)
        return Recorded(len(self.entries) - 1, entry.encode())


def seal_tiny(folder: Path) -> SealedModel:
    """A new sealed tiny model below `folder`, under a decision; the plain one is gone."""
    plain = write_tiny_model(folder / "plain")
    keys = [CustodianKey(f"custodian-{n}", bytes([n + 1]) * 96) for n in range(3)]
    sealed = seal_folder(
        plain,
        folder / "tiny.sealed",
        model="tiny",
        holder=HOLDER,
        custodians=[key.public for key in keys],
        threshold=2,
        clock=SystemClock(),
    )
    shutil.rmtree(plain)
    model = SealedModel(folder / "tiny.sealed", sealed.digest, folder, keys)
    model.decide()
    return model
