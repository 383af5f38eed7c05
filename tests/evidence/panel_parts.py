"""Panels with real keys: calls, openings, votes and closings as entries."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.panel_book import result_body
from dutchdoor.evidence.panels import Ballot, Call, Member, Opening, Rule
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.tally import count
from tests.evidence.parts import BEGIN_MS, BUNDLE, HOLDER, TestSigner

MEMBERS = {name: TestSigner(name) for name in ("cleo", "dina", "ed", "fay", "gil")}
OPENS_MS, CLOSES_MS = BEGIN_MS + 1_000, BEGIN_MS + 9_000

OPENING = Opening(
    panel="panel_one",
    bundle=BUNDLE,
    about="stage two",
    question="May researchers read activations?",
    options=("yes", "no"),
    rule=Rule.APPROVAL,
    quorum=3,
    percent_min=50,
    opens_ms=OPENS_MS,
    closes_ms=CLOSES_MS,
    members=tuple(Member(name, signer.public_key) for name, signer in MEMBERS.items()),
)
RANKED = replace(OPENING, rule=Rule.RANKED, percent_min=0, options=("wider", "same", "narrower"))
CALL = Call(
    panel="panel_one",
    bundle=BUNDLE,
    list_digest="sha256:" + "4" * 64,
    rows=50,
    seats=5,
    stratum="",
    quotas={},
    sources=("a beacon's round 1000",),
    seed_from_ms=BEGIN_MS + 500,
)
Choice = Sequence[Sequence[str]]


def _entry(
    kind: EntryKind, statement: str, claim: dict[str, Any], signer: TestSigner, at_ms: int
) -> Entry:
    envelope = sign_statement(statement, claim, [signer])
    return Entry(kind, at_ms, {**claim, "envelope": base64.b64encode(envelope).decode()})


def called(call: Call = CALL, signer: TestSigner = HOLDER, at_ms: int = BEGIN_MS) -> Entry:
    return _entry(EntryKind.PANEL_CALLED, "panel_call", call.to_body(), signer, at_ms)


def opened(opening: Opening = OPENING, signer: TestSigner = HOLDER, at_ms: int = BEGIN_MS) -> Entry:
    return _entry(EntryKind.PANEL_OPENED, "panel_opening", opening.to_body(), signer, at_ms)


def ballot(
    member: str, choice: Choice = (("yes",),), reason: str = "", at_ms: int = OPENS_MS + 1
) -> Ballot:
    return Ballot("panel_one", member, tuple(tuple(rank) for rank in choice), reason, at_ms)


def voted(
    member: str,
    choice: Choice = (("yes",),),
    reason: str = "",
    *,
    signer: TestSigner | None = None,
    at_ms: int = OPENS_MS + 1,
    cast_ms: int | None = None,
) -> Entry:
    claim = ballot(member, choice, reason, at_ms if cast_ms is None else cast_ms).to_body()
    by = signer or MEMBERS[member]
    return _entry(EntryKind.PANEL_VOTED, "panel_ballot", claim, by, at_ms)


def closed(
    ballots: Sequence[Ballot],
    opening: Opening = OPENING,
    signer: TestSigner = HOLDER,
    at_ms: int = CLOSES_MS,
    **said: Any,
) -> Entry:
    """`said` makes the closing lie, with a signature over the lie."""
    claim = {**result_body(opening, count(opening, ballots)), **said}
    return _entry(EntryKind.PANEL_CLOSED, "panel_result", claim, signer, at_ms)
