"""Whether those who signed are enough: approvers by count, those outside each by their key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dutchdoor.evidence.decision import Decision, Trust
from dutchdoor.release.names import Names
from dutchdoor.release.stages.gates import approvals_asked

__all__ = ["Quorum"]


class Quorum:
    """Tells approvers from those outside. names: for people to read."""

    def __init__(self, trust: Trust, names: Names) -> None:
        self._trust = trust
        self._names = names

    def approvers(self, keys: Collection[str]) -> tuple[str, ...]:
        """The names of the approvers among these keys."""
        return self._names.of(key for key in keys if key in self._trust.approvers)

    def outside(self, decision: Decision, keys: Collection[str]) -> tuple[str, ...]:
        """The names of those outside whom `decision` asks and whose keys are among these."""
        return self._names.of(decision.terms.outside_keys & set(keys))

    def missing(self, decision: Decision, keys: Collection[str]) -> tuple[str, ...]:
        """The names of those outside whom `decision` asks and whose keys are not among these."""
        return self._names.of(decision.terms.outside_keys - set(keys))

    def reached(
        self,
        decision: Decision,
        keys: Collection[str],
        front: Mapping[str, Any],
        named: Mapping[str, str],
    ) -> bool:
        """Whether `decision` may come into force, signed by these keys.

        Enough approvers, not the proposer alone, and everybody outside whom it asks: who is outside
        is no approver. front: of the proposal's document. named: names by key id, new ones too.
        """
        approved = [key for key in keys if key in self._trust.approvers]
        needed = max(self._trust.approvals_min, approvals_asked(decision))
        if len(approved) < needed or self.missing(decision, keys):
            return False
        names = {**self._names.known(), **named}
        return len(approved) > 1 or not any(
            front["proposed_by_key"] == key or front["proposed_by"] == names.get(key)
            for key in approved
        )
