"""The statements about panels, and what it takes to be one: called, opened, voted, closed.

A panel is people who are asked one question about one bundle. Whoever calls, opens and closes it
signs with a key of trust.json; each vote is signed by the member's own key, which the opening
names. `panel_claims` reads them from entries; `panel_book` follows them and says what counts.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.statement import key_id

__all__ = [
    "BALLOT_KIND",
    "CALL_KIND",
    "OPENING_KIND",
    "RESULT_KIND",
    "Ballot",
    "Call",
    "Member",
    "Opening",
    "PanelLimits",
    "Rule",
    "bad_panel",
]

CALL_KIND = "panel_call"
OPENING_KIND = "panel_opening"
BALLOT_KIND = "panel_ballot"
RESULT_KIND = "panel_result"


@dataclass(frozen=True)
class PanelLimits:
    """How large a panel and what it says may be; an entry of the log holds no more."""

    members_max: int = 120
    options_max: int = 12
    option_chars_max: int = 80
    question_chars_max: int = 2_000
    reason_bytes_max: int = 12_000
    sources_max: int = 8
    source_chars_max: int = 300
    seed_chars_max: int = 512
    name_chars_max: int = 64
    strata_max: int = 40
    rows_max: int = 1_000_000


LIMITS = PanelLimits()


class Rule(StrEnum):
    """How votes are counted: `tally` says it exactly."""

    APPROVAL = "approval"
    RANKED = "ranked"


@dataclass(frozen=True)
class Call:
    """A verified promise to draw a panel from a list, with a seed that nobody knows yet.

    list_digest: `sha256:` of the list's bytes. rows: people on it. quotas: seats by stratum, {}
    where all are drawn together. sources: where each part of the seed will be published.
    seed_from_ms: before that nobody knows it; the call must stand in the log earlier.
    """

    panel: str
    bundle: str
    list_digest: str
    rows: int
    seats: int
    stratum: str
    quotas: Mapping[str, int]
    sources: tuple[str, ...]
    seed_from_ms: int

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        return {
            "panel": self.panel,
            "bundle": self.bundle,
            "list": self.list_digest,
            "rows": self.rows,
            "seats": self.seats,
            "stratum": self.stratum,
            "quotas": dict(self.quotas),
            "sources": list(self.sources),
            "seed_from_ms": self.seed_from_ms,
        }

    def check(self) -> None:
        """Raises Invalid: a call that cannot count."""
        if not self.panel or not self.bundle or not self.sources:
            raise bad_panel("a call names its panel, its bundle and where the seed comes from")
        if not 0 < self.seats <= min(self.rows, LIMITS.members_max):
            raise bad_panel(
                f"a panel has 1 to {LIMITS.members_max} seats, and no more than its list"
            )
        if len(self.sources) > LIMITS.sources_max or len(self.quotas) > LIMITS.strata_max:
            raise bad_panel("a call with too many sources or strata")
        if any(not 0 < len(text) <= LIMITS.source_chars_max for text in self.sources):
            raise bad_panel("a source of the seed without a name, or with a very long one")
        if bool(self.stratum) != bool(self.quotas):
            raise bad_panel("quotas belong to a stratum, and a stratum has quotas")
        if self.quotas and (
            sum(self.quotas.values()) != self.seats or min(self.quotas.values()) < 0
        ):
            raise bad_panel("the quotas do not add up to the seats")


@dataclass(frozen=True)
class Member:
    """Somebody on a panel, and the Ed25519 key (32 bytes) that signs their vote."""

    name: str
    public_key: bytes

    @property
    def key(self) -> str:
        """The key's id."""
        return key_id(self.public_key)


@dataclass(frozen=True)
class Opening:
    """A verified opening: who is asked what, by which rule, from when until when.

    about: what a "yes" would be a yes to, in the program's names: a stage, a proposal, a digest.
    quorum: how many members must vote for the outcome to count. percent_min: the winner of an
    approval vote is approved by more than that share of those who voted. opens_ms, closes_ms:
    votes recorded from the one on and before the other count. brief: digest of the briefing pack's
    index, or "". seeds, declined: only of a drawn panel; as many seeds as the call has sources.
    """

    panel: str
    bundle: str
    about: str
    question: str
    options: tuple[str, ...]
    rule: Rule
    quorum: int
    percent_min: int
    opens_ms: int
    closes_ms: int
    members: tuple[Member, ...]
    brief: str = ""
    seeds: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()

    def member(self, name: str) -> Member | None:
        """The member of that name, or None."""
        return next((row for row in self.members if row.name == name), None)

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        return {
            "panel": self.panel,
            "bundle": self.bundle,
            "about": self.about,
            "question": self.question,
            "options": list(self.options),
            "rule": str(self.rule),
            "quorum": self.quorum,
            "percent_min": self.percent_min,
            "opens_ms": self.opens_ms,
            "closes_ms": self.closes_ms,
            "members": [
                {"name": row.name, "key": base64.b64encode(row.public_key).decode()}
                for row in self.members
            ],
            "brief": self.brief,
            "seeds": list(self.seeds),
            "declined": list(self.declined),
        }

    def check(self, trust: Trust) -> None:
        """Raises Invalid: an opening that cannot count."""
        names = [row.name for row in self.members]
        keys = [row.public_key for row in self.members]
        if not self.panel or not self.bundle or not self.question.strip():
            raise bad_panel("an opening names its panel, its bundle and its question")
        if max(len(self.question), len(self.about)) > LIMITS.question_chars_max:
            raise bad_panel(f"a question has at most {LIMITS.question_chars_max} characters")
        if not 0 < len(names) <= LIMITS.members_max:
            raise bad_panel(f"a panel has 1 to {LIMITS.members_max} members")
        if len(set(names)) < len(names) or len(set(keys)) < len(keys):
            raise bad_panel("a name or a key is on the panel twice")
        if any(not 0 < len(name) <= LIMITS.name_chars_max for name in names):
            raise bad_panel("a member without a name, or with a very long one")
        mighty = {*trust.holder.values(), *trust.approvers.values(), *trust.auditors.values()}
        if mighty & set(keys):
            raise bad_panel("holder, approvers and auditors do not sit on a panel")
        if len(set(self.options)) < len(self.options) or any(
            not 0 < len(option) <= LIMITS.option_chars_max or set(option) & set(",>=\n")
            for option in self.options
        ):
            raise bad_panel("an option twice, without a name, or with a name that cannot be ranked")
        if not 2 <= len(self.options) <= LIMITS.options_max:
            raise bad_panel(f"a question has 2 to {LIMITS.options_max} options")
        if not 0 < self.quorum <= len(names):
            raise bad_panel("a quorum is at least one member and at most all")
        most = 99 if self.rule is Rule.APPROVAL else 0
        if not 0 <= self.percent_min <= most:
            raise bad_panel("percent_min is 0 to 99 in an approval vote, and 0 in a ranked one")
        if self.closes_ms <= self.opens_ms:
            raise bad_panel("the vote closes before it opens")
        if any(
            not 0 < len(seed) <= LIMITS.seed_chars_max or not seed.isascii() for seed in self.seeds
        ):
            raise bad_panel("a seed is a line of ASCII")


@dataclass(frozen=True)
class Ballot:
    """A verified vote. choice: options by rank, the best first; one rank in an approval vote.

    reason: what the member wants to be read beside the outcome; a minority's statement.
    """

    panel: str
    member: str
    choice: tuple[tuple[str, ...], ...]
    reason: str
    cast_ms: int

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        return {
            "panel": self.panel,
            "member": self.member,
            "choice": [list(rank) for rank in self.choice],
            "reason": self.reason,
            "cast_ms": self.cast_ms,
        }

    def check(self, opening: Opening) -> None:
        """Raises Invalid: no vote on that question."""
        named = [option for rank in self.choice for option in rank]
        strange = sorted(set(named) - set(opening.options))
        if strange:
            known = ", ".join(f"'{option}'" for option in opening.options)
            raise bad_panel(f"'{strange[0][:80]}' is not asked about; the options are {known}")
        if len(set(named)) < len(named):
            twice = next(option for option in named if named.count(option) > 1)
            raise bad_panel(f"a ballot names '{twice}' twice")
        if any(not rank for rank in self.choice):
            raise bad_panel("a ballot has an empty rank")
        if opening.rule is Rule.APPROVAL and len(self.choice) > 1:
            raise bad_panel("in an approval vote options are approved, not ranked")
        if len(self.reason.encode()) > LIMITS.reason_bytes_max:
            raise bad_panel(f"a reason has at most {LIMITS.reason_bytes_max} bytes")
        if not opening.opens_ms <= self.cast_ms < opening.closes_ms:
            late = self.cast_ms >= opening.closes_ms
            when = "after the vote closed" if late else "before the vote opened"
            window = f"{to_iso(opening.opens_ms)} until {to_iso(opening.closes_ms)}"
            raise bad_panel(f"the ballot was cast {when}: votes count from {window}")


def bad_panel(reason: str) -> Invalid:
    """The error for a statement about a panel that cannot count."""
    return Invalid(reason, code="bad_panel", hint="docs/concepts/panels.md has the rules")
