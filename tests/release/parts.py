"""A workspace with a real log, a completed audit, and a release room over both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dutchdoor.clock import FixedClock
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Audience, Decision
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.release.birth import sign_birth
from dutchdoor.release.model import Proposal, audience
from dutchdoor.release.service import Release
from tests.audit.parts import BUNDLE, People, completed

HIDDEN_SIZE = 576
STAGE = "1: vetted researchers"
AUDITOR = "person_" + "1" * 26


class Workspace:
    """Everything real but the disk's fullness, which `full` decides."""

    def __init__(self, folder: Path, *, approvals_min: int = 2) -> None:
        self.folder = folder
        self.people = People(approvals_min)
        self.clock = FixedClock()
        self.log = Log.create(folder / "evidence", self.people.log, "example.org/test", self.clock)
        self.register = DecisionRegister(LogReader(folder / "evidence"), self.people.trust)
        self.full = False
        self.release = Release(
            folder / "release",
            audits=folder / "audits",
            trust=self.people.trust,
            register=self.register,
            record=self.record,
            clock=self.clock,
        )

    def record(self, entry: Entry) -> Recorded:
        if self.full:
            raise Unavailable("the disk is full", code="log_unavailable")
        return self.log.append([entry])[0]

    def born(self, auditors: Sequence[str] = (AUDITOR,)) -> Decision:
        decision = sign_birth(
            bundle=BUNDLE,
            model="smol",
            hidden_size=HIDDEN_SIZE,
            auditors=auditors,
            holder=self.people.holder,
            record=self.record,
            clock=self.clock,
        )
        self.register.refresh()
        return decision

    def audited(self) -> str:
        """The digest of a completed audit."""
        return completed(self.folder / "audits", self.people, self.record).digest

    def proposed(
        self,
        *,
        audit: str = "",
        audiences: Sequence[Audience] = (),
        level: str = "cloud_api",
        reasons: str = "Researchers cannot study what they cannot reach.",
        proposer: str = "wanda",
        vectors_max: int | None = None,
    ) -> Proposal:
        return self.release.propose(
            audit=audit or self.audited(),
            level=level,
            stage=STAGE,
            audiences=audiences or (RESEARCHERS, DEVELOPERS),
            hidden_size=HIDDEN_SIZE,
            proposer=proposer,
            reasons=reasons,
            heard=["an external red team"],
            vectors_max=vectors_max,
        )

    def decided(self) -> Decision:
        """A decision in force, by the whole way."""
        self.born()
        proposal = self.proposed()
        self.release.approve(proposal.id, self.people.first)
        return self.release.approve(proposal.id, self.people.second).decision

    def kinds(self) -> list[EntryKind]:
        self.log.refresh()
        reader = LogReader(self.folder / "evidence")
        return [Entry.decode(data).kind for _, data in reader.entries()]


RESEARCHERS = audience("researcher", ["sampling", "logprobs", "activations"])
DEVELOPERS = audience("developer", ["sampling"])
