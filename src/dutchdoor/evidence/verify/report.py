"""What the verifier says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Finding", "Findings", "Report"]

FINDINGS_MAX = 10_000


class Finding(NamedTuple):
    """One thing that is wrong. where: file and bytes, entry, or receipt. what: a sentence."""

    where: str
    what: str


class Findings:
    """Collects findings, at most 10,000: a folder full of noise must not fill the memory."""

    def __init__(self) -> None:
        self.rows: list[Finding] = []

    def add(self, where: str, what: str) -> None:
        """Remember one finding."""
        if len(self.rows) < FINDINGS_MAX:
            self.rows.append(Finding(where, what))


@dataclass(frozen=True)
class Report:
    """What was checked, and what is wrong with it.

    entries, inferences, decisions, receipts: how many were checked (inferences that began,
    decisions that came into force). open_inferences: began, and the log does not say how they
    ended. root: of all entries, in hexadecimal. since: checkpoints from before that were checked.
    notices: what a crash may leave, and is no fault.
    """

    origin: str
    root: str
    entries: int
    inferences: int
    decisions: int
    receipts: int
    open_inferences: tuple[str, ...]
    findings: tuple[Finding, ...]
    notices: tuple[str, ...]
    since: int = 0

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_value(self) -> dict[str, Any]:
        """The report as canonical values, for programs."""
        return {
            "holds": self.holds,
            "origin": self.origin,
            "root": self.root,
            "entries": self.entries,
            "inferences": self.inferences,
            "decisions": self.decisions,
            "receipts": self.receipts,
            "since": self.since,
            "open_inferences": list(self.open_inferences),
            "findings": [{"where": row.where, "what": row.what} for row in self.findings],
            "notices": list(self.notices),
        }
