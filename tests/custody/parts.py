"""Real parts for the tests of custody: keys, a decision, and a log that lives in a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.opening import Custodian, QuorumTerms
from dutchdoor.custody.replay import FileSeen
from dutchdoor.custody.shares import WrappedShares, wrap_shares
from dutchdoor.errors import NotInForce
from dutchdoor.evidence.decision import Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.ids import BundleDigest, DecisionId

BUNDLE = BundleDigest("sha256:" + "a" * 64)
OTHER_BUNDLE = BundleDigest("sha256:" + "b" * 64)


def decision_on(bundle: BundleDigest, clock: FixedClock, name: str = "decision_one") -> Decision:
    now_ms = clock.now_ms()
    return Decision(
        id=DecisionId(name),
        bundle=bundle,
        model="a model",
        level=Level.FULLY_CLOSED,
        stage="born",
        audiences=(Audience("auditors", (Depth.SAMPLING,), ("person_a",)),),
        guard=GuardTerms(),
        hidden_size=576,
        vectors_max=0,
        audit="",
        reasons="an audit needs the model",
        supersedes="",
        not_before_ms=now_ms - 1000,
        not_after_ms=now_ms + 86_400_000,
    )


@dataclass(frozen=True)
class InForceNow:
    decision: Decision
    index: int


class Decisions:
    """Which decision is in force: held in the hand of the test, asked like the register."""

    def __init__(self, *decisions: Decision) -> None:
        self.by_bundle = {decision.bundle: decision for decision in decisions}

    def in_force(self, bundle: BundleDigest, now_ms: int) -> InForceNow:
        if bundle not in self.by_bundle:
            raise NotInForce("no decision in force", code="no_decision_in_force")
        return InForceNow(self.by_bundle[bundle], 7)


class FileRecorder:
    """Entries in a file, each on disk before it is returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []

    def __call__(self, entry: Entry) -> Recorded:
        data = entry.encode()
        with self.path.open("ab") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)
        return Recorded(len(self.entries) - 1, data)


class Quorum:
    """Three custodians, two of whom open one bundle together."""

    def __init__(self, folder: Path, clock: FixedClock, count: int = 3, threshold: int = 2) -> None:
        self.folder = folder
        self.clock = clock
        self.decisions = Decisions(decision_on(BUNDLE, clock))
        self.key = ContentKey.generate()
        self.keys = [CustodianKey(f"custodian-{n}", os.urandom(96)) for n in range(count)]
        self.shares = self.wrap(BUNDLE, threshold)
        self.custodians = [self.custodian(key) for key in self.keys]
        self.record = FileRecorder(folder / "log")

    def wrap(self, bundle: BundleDigest, threshold: int = 2) -> WrappedShares:
        custodians = [key.public for key in self.keys]
        return wrap_shares(self.key, bundle=bundle, custodians=custodians, threshold=threshold)

    def custodian(self, key: CustodianKey) -> Custodian:
        seen = FileSeen(self.folder / f"{key.name}.seen")
        return Custodian(key, decisions=self.decisions, clock=self.clock, seen=seen)

    @property
    def terms(self) -> QuorumTerms:
        ids: Sequence[str] = [key.key_id for key in self.keys]
        return QuorumTerms(BUNDLE, self.shares.commitment, self.shares.threshold, tuple(ids))
