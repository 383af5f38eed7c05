"""A panel from its call to its outcome; the log says what counts (`evidence.panel_book`)."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.clock import Clock, to_iso
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.panel_book import Panel, result_body
from dutchdoor.evidence.panel_claims import open_ballot, panel_keys
from dutchdoor.evidence.panels import (
    BALLOT_KIND,
    CALL_KIND,
    OPENING_KIND,
    RESULT_KIND,
    Ballot,
    Call,
    Opening,
)
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id, sign_statement
from dutchdoor.evidence.tally import Tally
from dutchdoor.ids import random_part
from dutchdoor.release.panels.draw import draw, must_have_seats, read_list
from dutchdoor.release.ports import Record

__all__ = ["BALLOT_BYTES_MAX", "Panels", "Standing", "new_panel_id"]

BALLOT_BYTES_MAX = 1 << 16


class Standing(NamedTuple):
    """Where a panel stands. state: `called`, `to come`, `open`, `over` or `closed`.

    tally: of the votes so far, None before the opening. missing: who has not voted.
    """

    panel: Panel
    state: str
    tally: Tally | None
    missing: tuple[str, ...]


def new_panel_id() -> str:
    """A new panel's name."""
    return "panel_" + random_part(12)


class Panels:
    """The panels of a workspace."""

    def __init__(
        self, *, trust: Trust, register: DecisionRegister, record: Record, clock: Clock
    ) -> None:
        self._trust = trust
        self._register = register
        self._record = record
        self._clock = clock

    def call(
        self,
        bundle: str,
        people: bytes,
        *,
        seats: int,
        sources: Sequence[str],
        seed_from_ms: int,
        signer: Signer,
        stratum: str = "",
        quotas: Mapping[str, int] | None = None,
    ) -> Call:
        """Promise to draw a panel from the list `people`; from now on neither list nor rule change.

        sources: where the seed will be published, in words that name one value, for instance a
        beacon's round. seed_from_ms: when at the earliest.
        Raises Invalid: the list or the terms. Raises Refused: the time is past, or the signer is
        neither holder, approver nor somebody outside. Raises Unavailable: it cannot be recorded.
        """
        rows = read_list(people, stratum)
        chosen = dict(quotas or {})
        must_have_seats(rows, seats, chosen)
        call = Call(
            panel=new_panel_id(),
            bundle=bundle,
            list_digest=_digest(people),
            rows=len(rows),
            seats=seats,
            stratum=stratum,
            quotas=chosen,
            sources=tuple(sources),
            seed_from_ms=seed_from_ms,
        )
        call.check()
        self._put(EntryKind.PANEL_CALLED, CALL_KIND, call.to_body(), signer)
        return call

    def drawn(
        self, name: str, people: bytes, seeds: Sequence[str], declined: Collection[str] = ()
    ) -> tuple[str, ...]:
        """Who a called panel consists of, by the seeds that were published since.

        Raises NotFound: it was not called. Raises Tampered: another list. Raises Refused: nobody
        can know the seeds yet. Raises Invalid: too few seeds, or somebody declined who was not
        drawn.
        """
        call = self.panel(name).call
        if call is None:
            message = f"{name} was not called, so nobody is drawn"
            raise NotFound(message, code="no_panel", hint="dutchdoor panel call")
        if self._clock.now_ms() < call.seed_from_ms:
            message = f"the seed is not known before {to_iso(call.seed_from_ms)}"
            raise Refused(message, code="seed_too_early", hint="come back then")
        return _drawn(call, people, seeds, declined)

    def open(self, opening: Opening, signer: Signer, people: bytes | None = None) -> Opening:
        """Open a panel: its members, its question and its window stand in the log.

        people: the list, where the panel was called; its members must be those drawn.
        Raises Invalid: a rule of panels is broken. Raises Refused: as `call`, or the members are
        not those drawn. Raises Unavailable: it cannot be recorded.
        """
        opening.check(self._trust)
        self._register.refresh()
        panel = next((row for row in self._register.panels() if row.id == opening.panel), None)
        if panel is not None and panel.call is not None:
            if people is None:
                hint = "name the list that was called: --list FILE"
                raise Invalid("a drawn panel takes its list", code="bad_list", hint=hint)
            seated = self.drawn(opening.panel, people, opening.seeds, opening.declined)
            if {row.name for row in opening.members} != set(seated):
                message = "the members are not those that the seed draws"
                hint = f"drawn are: {', '.join(seated)}; who declines is named as such"
                raise Refused(message, code="not_drawn", hint=hint)
        self._put(EntryKind.PANEL_OPENED, OPENING_KIND, opening.to_body(), signer)
        return opening

    def ballot(
        self, name: str, signer: Signer, choice: Sequence[Sequence[str]], reason: str = ""
    ) -> bytes:
        """A signed vote, not recorded: a member signs it wherever their key is.

        Raises NotFound: no such panel. Raises Refused: the key is no member's. Raises Invalid: no
        vote on its question.
        """
        opening = self._opening(name)
        key = key_id(signer.public_key)
        member = next((row for row in opening.members if row.key == key), None)
        if member is None:
            message = f"the key of {signer.name} is no member's of {name}"
            hint = "the opening names the members and their keys: dutchdoor panel state"
            raise Refused(message, code="not_a_member", hint=hint)
        ranks = tuple(tuple(rank) for rank in choice)
        ballot = Ballot(name, member.name, ranks, reason.strip(), self._clock.now_ms())
        ballot.check(opening)
        return sign_statement(BALLOT_KIND, ballot.to_body(), [signer])

    def vote(self, envelope: bytes) -> Ballot:
        """Record a signed vote (unverified); it is final.

        Raises Invalid: it is no member's vote. Raises Refused: the window is not open, or the
        member has voted. Raises Unavailable: it cannot be recorded, and does not count then.
        """
        body = _claimed(envelope)
        opening = self._opening(str(body.get("panel")))
        entry_body = {**body, "envelope": base64.b64encode(envelope).decode()}
        ballot = open_ballot(entry_body, opening)
        self._append(Entry(EntryKind.PANEL_VOTED, self._clock.now_ms(), entry_body))
        return ballot

    def close(self, name: str, signer: Signer) -> dict[str, Any]:
        """Count the votes and record the outcome, once the window is over; gives its body.

        Raises NotFound: no such panel. Raises Refused: the vote goes on, or it is closed. Raises
        Unavailable: it cannot be recorded.
        """
        opening = self._opening(name)
        body = result_body(opening, self.panel(name).tally())
        self._put(EntryKind.PANEL_CLOSED, RESULT_KIND, body, signer)
        return body

    def panel(self, name: str) -> Panel:
        """The panel of this id. Raises NotFound: the log has none."""
        self._register.refresh()
        found = next((row for row in self._register.panels() if row.id == name), None)
        if found is None:
            message = f"no panel '{name}'"
            raise NotFound(message, code="no_panel", hint="dutchdoor panel state lists them")
        return found

    def standings(self) -> tuple[Standing, ...]:
        """All panels, in the log's order."""
        self._register.refresh()
        now_ms = self._clock.now_ms()
        return tuple(_standing(panel, now_ms) for panel in self._register.panels())

    def standing(self, name: str) -> Standing:
        """Where one panel stands. Raises NotFound: the log has none of this id."""
        return _standing(self.panel(name), self._clock.now_ms())

    def recount(self, name: str, people: bytes | None = None) -> Tally:
        """The outcome, counted anew from the signed votes, and the draw made anew from its list.

        Raises NotFound: no such panel. Raises Tampered: the recorded outcome or the members are
        others.
        """
        opening = self._opening(name)
        panel = self.panel(name)
        tally = panel.tally()
        if panel.result is not None and panel.result != result_body(opening, tally):
            message = "the recorded outcome is not what a recount gives"
            raise Tampered(message, code="outcome_changed", where=f"entry {panel.closed}")
        if people is not None and panel.call is not None:
            seated = _drawn(panel.call, people, opening.seeds, opening.declined)
            if {row.name for row in opening.members} != set(seated):
                message = "the members are not those that list and seed draw"
                raise Tampered(message, code="draw_changed", where=f"entry {panel.opened}")
        return tally

    def _opening(self, name: str) -> Opening:
        opening = self.panel(name).opening
        if opening is None:
            message = f"{name} is not opened yet"
            raise NotFound(message, code="no_panel", hint="dutchdoor panel open")
        return opening

    def _put(self, kind: EntryKind, statement: str, body: dict[str, Any], signer: Signer) -> None:
        key = key_id(signer.public_key)
        if panel_keys(self._trust).get(key) != signer.public_key:
            message = f"the key of {signer.name} may not hold a panel"
            hint = "the holder, an approver or somebody outside that trust.json names does"
            raise Refused(message, code="signer_unknown", hint=hint)
        envelope = sign_statement(statement, body, [signer])
        encoded = base64.b64encode(envelope).decode()
        self._append(Entry(kind, self._clock.now_ms(), {**body, "envelope": encoded}))

    def _append(self, entry: Entry) -> Recorded:
        self._register.refresh()
        # Asked here too, so that no log without a gate takes what would not count.
        self._register.admit(entry)
        recorded = self._record(entry)
        self._register.refresh()
        return recorded


def _standing(panel: Panel, now_ms: int) -> Standing:
    opening = panel.opening
    if opening is None:
        return Standing(panel, "called", None, ())
    missing = tuple(row.name for row in opening.members if row.name not in panel.votes)
    state = "open"
    if panel.closed >= 0:
        state = "closed"
    elif now_ms < opening.opens_ms:
        state = "to come"
    elif now_ms >= opening.closes_ms:
        state = "over"
    return Standing(panel, state, panel.tally(), missing)


def _drawn(
    call: Call, people: bytes, seeds: Sequence[str], declined: Collection[str]
) -> tuple[str, ...]:
    if _digest(people) != call.list_digest:
        message = "this is not the list that was called"
        raise Tampered(message, code="list_changed", hint="name the very file, byte by byte")
    if len(seeds) != len(call.sources) or not all(seeds):
        message = f"{len(call.sources)} seeds are needed, one from each source"
        raise Invalid(message, code="bad_seed", hint="in order: " + "; ".join(call.sources))
    return draw(
        read_list(people, call.stratum),
        panel=call.panel,
        seeds=seeds,
        seats=call.seats,
        quotas=call.quotas,
        declined=declined,
    )


def _claimed(envelope: bytes) -> dict[str, Any]:
    """What a ballot says of itself: who it claims to be, to find the key that must have signed."""
    try:
        payload = base64.b64decode(canonical.parse(envelope)["payload"], validate=True)
        body = canonical.parse(payload)["body"]
    except (KeyError, TypeError, ValueError, Invalid) as error:
        hint = "a ballot is what 'dutchdoor panel vote --out FILE' wrote"
        raise Invalid("not a ballot", code="bad_panel", hint=hint) from error
    if not isinstance(body, dict):
        raise Invalid("not a ballot", code="bad_panel")
    return body


def _digest(data: bytes) -> str:
    return "sha256:" + canonical.sha256_hex(data)
