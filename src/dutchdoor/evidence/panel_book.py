"""Which panels there are and which votes count, by the log's order and its times.

The rules, for each panel:
1. It is called at most once, and opened at most once. A call stands in the log before the seed of
   its draw is known; its opening stands after that, with as many seeds as the call has sources.
2. No vote opens in the past: `opens_ms` is not before the opening's entry.
3. A vote counts if it is signed by the key that the opening names for that member, stands in the
   log from `opens_ms` on and before `closes_ms`, and is the member's first. There is no second.
4. A panel closes once, from `closes_ms` on, with exactly the outcome that a recount gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dutchdoor import canonical
from dutchdoor.clock import to_iso
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.panel_claims import open_ballot, open_call, open_opening, open_result
from dutchdoor.evidence.panels import Ballot, Call, Opening
from dutchdoor.evidence.panels import bad_panel as _bad
from dutchdoor.evidence.tally import Tally, count

__all__ = ["PANEL_KINDS", "Panel", "PanelBook", "result_body"]

PANEL_KINDS = frozenset(
    {
        EntryKind.PANEL_CALLED,
        EntryKind.PANEL_OPENED,
        EntryKind.PANEL_VOTED,
        EntryKind.PANEL_CLOSED,
    }
)


@dataclass
class Panel:
    """A panel as the log knows it. votes: by member, in the log's order, with the entry's index.

    called, opened, closed: indexes of its entries, -1 where there is none yet.
    """

    id: str
    call: Call | None = None
    opening: Opening | None = None
    votes: dict[str, tuple[int, Ballot]] = field(default_factory=dict)
    result: dict[str, Any] | None = None
    called: int = -1
    opened: int = -1
    closed: int = -1

    def tally(self) -> Tally:
        """The votes so far, counted."""
        assert self.opening is not None, "nobody votes before the opening"
        return count(self.opening, [ballot for _, ballot in self.votes.values()])


def result_body(opening: Opening, tally: Tally) -> dict[str, Any]:
    """What a closing says: the body of its statement."""
    return {
        "panel": opening.panel,
        "bundle": opening.bundle,
        "about": opening.about,
        "question": opening.question,
        "outcome": tally.outcome,
        "counts": dict(tally.counts),
        "pairwise": {option: dict(row) for option, row in tally.pairwise.items()},
        "members": len(opening.members),
        "voted": tally.voted,
        "quorum": opening.quorum,
        "quorum_met": tally.quorum_met,
        "minority": list(tally.minority),
    }


class PanelBook:
    """Follows panels. Not safe to share: the register's lock is held."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._panels: dict[str, Panel] = {}

    def panels(self) -> tuple[Panel, ...]:
        """All panels as they are now, in the order in which the log first named them."""
        return tuple(replace(row, votes=dict(row.votes)) for row in self._panels.values())

    def check(self, entry: Entry) -> None:
        """Raises Invalid: `entry` would not count, and why."""
        self._judge(entry)

    def take(self, index: int, entry: Entry) -> None:
        """Follow `entry`. Raises Invalid: as `check`; nothing changed then."""
        found = self._judge(entry)
        panel = self._panels.setdefault(str(entry.body["panel"]), Panel(str(entry.body["panel"])))
        if isinstance(found, Call):
            panel.call, panel.called = found, index
        elif isinstance(found, Opening):
            panel.opening, panel.opened = found, index
        elif isinstance(found, Ballot):
            panel.votes[found.member] = (index, found)
        else:
            panel.result, panel.closed = found, index

    def _judge(self, entry: Entry) -> Call | Opening | Ballot | dict[str, Any]:
        body: Mapping[str, Any] = entry.body
        panel = self._panels.get(str(body.get("panel")))
        if entry.kind is EntryKind.PANEL_CALLED:
            return self._call(body, entry.time_ms, panel)
        if entry.kind is EntryKind.PANEL_OPENED:
            return self._opening(body, entry.time_ms, panel)
        if panel is None or panel.opening is None:
            raise _bad("no such panel was opened")
        if panel.closed >= 0:
            raise _bad("the panel is closed")
        if entry.kind is EntryKind.PANEL_VOTED:
            return _vote(body, entry.time_ms, panel, panel.opening)
        if entry.time_ms < panel.opening.closes_ms:
            raise _bad("the vote is still going on")
        claim = open_result(body, self._trust)
        expected = result_body(panel.opening, panel.tally())
        if canonical.encode(claim) != canonical.encode(expected):
            raise _bad("the outcome is not what a recount of the votes gives")
        return claim

    def _call(self, body: Mapping[str, Any], time_ms: int, panel: Panel | None) -> Call:
        call = open_call(body, self._trust)
        if panel is not None:
            raise _bad("the panel stands in the log already")
        if time_ms >= call.seed_from_ms:
            raise _bad("the call comes when the seed may be known already")
        return call

    def _opening(self, body: Mapping[str, Any], time_ms: int, panel: Panel | None) -> Opening:
        opening = open_opening(body, self._trust)
        call = None if panel is None else panel.call
        if panel is not None and panel.opened >= 0:
            raise _bad("the panel stands in the log already")
        if time_ms > opening.opens_ms:
            raise _bad("the vote opens in the past")
        if call is None:
            if opening.seeds or opening.declined:
                raise _bad("a panel that was never called is not drawn")
            return opening
        if (call.bundle, len(call.sources)) != (opening.bundle, len(opening.seeds)):
            raise _bad("the opening is not the one that was called: another bundle, or seeds")
        if time_ms < call.seed_from_ms:
            raise _bad("the seed was not known yet")
        if len(opening.members) != call.seats:
            raise _bad(f"{call.seats} seats were called, not {len(opening.members)}")
        return opening


def _vote(body: Mapping[str, Any], time_ms: int, panel: Panel, opening: Opening) -> Ballot:
    ballot = open_ballot(body, opening)
    if not opening.opens_ms <= time_ms < opening.closes_ms:
        window = f"votes count from {to_iso(opening.opens_ms)} until {to_iso(opening.closes_ms)}"
        early = time_ms < opening.opens_ms
        raise _bad(f"it is too {'early' if early else 'late'} to vote: {window}")
    if ballot.member in panel.votes:
        raise _bad(f"{ballot.member} has voted already")
    return ballot
