"""Looks up what runs, and holds it against the decision in force: for all processes alike."""

from __future__ import annotations

import time

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.release.compile import POLICIES_NAME
from dutchdoor.release.enforcement.compare import Row, Seen, check_rows, compare
from dutchdoor.release.standing import to_compile
from dutchdoor.runtime.protocol import Description
from dutchdoor.weights.folder import open_folder

__all__ = ["Enforcement"]

GRACE_S = 2.0
"""After a decision was seen to change: its rules are written, and its runtime opened, just then."""
POLICIES_BYTES_MAX = 1 << 20


class Enforcement:
    """Compares one bundle's decision with what runs. Call it from one thread at a time."""

    def __init__(self, workspace: Workspace, bundle: str) -> None:
        """bundle: its digest. The folder it lies in is found by its manifest, at each look."""
        self._workspace = workspace
        self._bundle = bundle
        reader = LogReader(workspace.places.evidence)
        self._register = DecisionRegister(reader, workspace.trust)
        self._decision = ""
        self._grace_until_s = 0.0

    def check(self, decision: Decision, runtime: Description | None, *, patient: bool) -> None:
        """Raises Unavailable with the code of what differs from `decision`; else nothing.

        runtime: what it says of itself, None where it is closed. patient: where the decision was
        seen to change, wait a moment for its rules and its runtime.
        """
        now_s = time.monotonic()
        # A step back to an earlier stage changes the rules as another decision does.
        seen = f"{decision.id} {decision.stage}"
        if seen != self._decision:
            if self._decision and patient:
                self._grace_until_s = now_s + GRACE_S
            self._decision = seen
        if not patient or now_s >= self._grace_until_s:
            check_rows(self.rows(decision, runtime))

    def rows(
        self,
        decision: Decision,
        runtime: Description | None = None,
        opened_under: str | None = None,
    ) -> tuple[Row, ...]:
        """Every row of the comparison. Raises Tampered, Unavailable: the log cannot be read."""
        self._register.refresh()
        places, copies = self._workspace.places, None
        if decision.terms.custody.copies_max:
            copies = self._workspace.copies.count(decision.bundle)
        seen = Seen(
            policies=_policies(places),
            forms=self._forms(decision),
            others=self._others(decision),
            shares=self._shares(),
            copies=copies,
            opened_under=opened_under,
            runtime=runtime,
        )
        return compare(decision, seen)

    def _forms(self, decision: Decision) -> tuple[Decision, ...]:
        """The decision as it was signed: after a roll-back the one in force is narrower."""
        steps = self._register.history(decision.bundle)
        signed = [step.decision for step in steps if step.decision is not None]
        return tuple(row for row in signed if row.id == decision.id)

    def _others(self, decision: Decision) -> tuple[Decision, ...]:
        """What may stand in decision.cedar on other bundles: also what ended since it was made."""
        found = list(to_compile(self._register, self._workspace.clock.now_ms()))
        for bundle in self._register.bundles():
            steps = self._register.history(bundle)
            found += [step.decision for step in steps if step.decision is not None]
        return tuple(row for row in found if row.bundle != decision.bundle)

    def _shares(self) -> WrappedShares | None:
        """Of the bundle as it lies there now: somebody may have put another quorum in its place."""
        try:
            bundle = find_bundle(self._workspace, self._bundle)
            return open_folder(bundle.path, self._workspace.trust.holder).shares
        except DutchdoorError:
            return None


def _policies(places: Places) -> str | None:
    try:
        with (places.policies / POLICIES_NAME).open("rb") as file:
            return file.read(POLICIES_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError):
        return None
