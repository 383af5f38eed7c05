"""A custodian's own machine: a request is judged by the custodian's own copy of the log.

The machine is a folder with `dutchdoor.toml`, `trust.json`, a copy of `evidence/` and one key. The
copy must hold the very entry that recorded the request, so it cannot be older than the request;
and it must continue the log that this custodian saw last time, so nothing was cut from it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from dutchdoor.app.ceremonies import Judged, judge
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody.attestation.verify import EnrolledHosts
from dutchdoor.custody.copies import Copies
from dutchdoor.custody.custodian import Custodian, check_fresh
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.opening import QuorumTerms
from dutchdoor.custody.ports import Identity
from dutchdoor.custody.replay import FileSeen
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.evidence.consistency import CHECKPOINT_BYTES_MAX, continues
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.trust import log_key

__all__ = ["Asked", "Desk", "Granted"]


class Asked(NamedTuple):
    """What a custodian is asked for, as their own copy of the log has it. Nothing is promised."""

    judged: Judged
    decision: Decision
    recorded: Recorded
    purpose: str
    reason: str

    @property
    def terms(self) -> QuorumTerms:
        """Who opens the bundle together, as its holder signed it."""
        return self.judged.manifest.terms


class Granted(NamedTuple):
    """A custodian's grant, to be carried back: encoded, and sealed to who asked."""

    data: bytes
    custodian: str


class Desk:
    """One custodian's look at the log, and their answers."""

    def __init__(self, workspace: Workspace, evidence: Path | None = None) -> None:
        """evidence: the copy of the log; default: the workspace's.

        Raises NotFound: there is none. Raises Invalid: not signed by the log that is trusted.
        Raises Tampered: it is not whole.
        """
        self._workspace = workspace
        folder = evidence or workspace.places.evidence
        self._reader = LogReader(folder, key=log_key(workspace.trust))
        self._register = DecisionRegister(self._reader, workspace.trust)
        self._copies = Copies(LogReader(folder, key=log_key(workspace.trust)))

    def look(self, data: bytes) -> Asked:
        """What the ceremony in `data` (unverified bytes) asks for, once it is worth looking at.

        Raises Invalid, Refused: malformed, expired, not signed, of several bundles, or not what
        was recorded. Raises NotInForce: no decision is. Raises Unavailable: the copy is too old.
        """
        judged = judge(data, self._workspace.trust)
        now_ms = self._workspace.clock.now_ms()
        check_fresh(judged.request, now_ms, CustodyLimits().ceremony_lifetime_ms_max)
        self._register.refresh()
        index = judged.ceremony.entry
        if index >= self._reader.size():
            message = f"your copy of the log ends at {self._reader.size()}, before the request"
            hint = "bring the folder 'evidence' up to date, then look again"
            raise Unavailable(message, code="log_behind", hint=hint)
        recorded = Recorded(index, self._reader.view.entry(index))
        entry = Entry.decode(recorded.data)
        body = entry.body
        if entry.kind is not EntryKind.KEY_REQUESTED or body["request"] != judged.request.digest:
            message = "the log has another entry where this request says it was recorded"
            raise Refused(message, code="not_recorded", hint="do not answer; ask who sent it")
        decision = self._register.in_force(judged.request.bundle, now_ms).decision
        return Asked(judged, decision, recorded, str(body["purpose"]), str(body["reason"]))

    def grant(self, data: bytes, identity: Identity, place: Path) -> Granted:
        """The custodian's share for the ceremony in `data`, sealed to who asked.

        place: of the key's file; beside it lie the memory of requests and of the log.
        Raises as `look`, and as `Custodian.grant`. Raises Tampered: the log is not the one that
        this custodian saw last time, or was cut back.
        """
        asked = self.look(data)
        self._must_continue(place)
        custodian = self._custodian(identity, place)
        judged = asked.judged
        ceremony = judged.ceremony
        grant = custodian.grant(ceremony.request, judged.shares, asked.recorded, ceremony.evidence)
        return Granted(grant.encode(), identity.key_id)

    def prove(
        self, drill: bytes, shares: WrappedShares, identity: Identity, place: Path
    ) -> Granted:
        """The custodian's answer to a drill (unverified bytes). Raises as `Custodian.prove`."""
        proof = self._custodian(identity, place).prove(drill, shares)
        return Granted(proof.encode(), identity.key_id)

    def _custodian(self, identity: Identity, place: Path) -> Custodian:
        return Custodian(
            identity,
            decisions=self._register,
            clock=self._workspace.clock,
            seen=FileSeen(place.with_suffix(".seen")),
            copies=self._copies.count,
            hosts=EnrolledHosts(self._workspace.trust.hosts),
        )

    def _must_continue(self, place: Path) -> None:
        """The log goes on from where this custodian saw it last; then that is remembered."""
        memory = place.with_suffix(".head")
        with contextlib.suppress(FileNotFoundError):
            with memory.open("rb") as file:
                old = file.read(CHECKPOINT_BYTES_MAX)
            continues(self._reader.view, old, log_key(self._workspace.trust))
        try:
            Files().replace(memory, self._reader.view.note)
        except OSError as error:
            message = f"the memory of the log cannot be written: {error.strerror}"
            hint = "make room on the disk; nothing was granted"
            raise Unavailable(message, code="replay_memory_unavailable", hint=hint) from error
