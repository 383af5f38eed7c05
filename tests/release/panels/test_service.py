"""A panel on its whole way through a real log, and what does not get in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import FileSigner, create_signing_key
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.panels import Call, Member, Opening, Rule
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.release.panels.service import Panels, new_panel_id

BUNDLE = "sha256:" + "ab" * 32
PEOPLE = b"name,region\n" + b"".join(
    f"p{n:02d},{'north' if n % 2 else 'south'}\n".encode() for n in range(30)
)
HOUR_MS = 3_600_000


class Town:
    """Keys in real files, a log without a gate, and the room over both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.full = folder, FixedClock(), False
        names = ("log", "holder", "ines", "tomas", "stranger")
        self.keys = {name: create_signing_key(folder / "k" / f"{name}.key", name) for name in names}
        self.trust = Trust(
            "example.org/town",
            self.keys["log"].public_key,
            self._of("holder"),
            self._of("ines", "tomas"),
            2,
        )
        self.log = Log.create(folder / "log", self.keys["log"], "example.org/town", self.clock)
        self.register = DecisionRegister(LogReader(folder / "log"), self.trust)
        self.panels = Panels(
            trust=self.trust, register=self.register, record=self.record, clock=self.clock
        )
        self.members = [self.member(f"p{n:02d}") for n in range(30)]

    def _of(self, *names: str) -> dict[str, bytes]:
        keys = [self.keys[name].public_key for name in names]
        return {key_id(key): key for key in keys}

    def member(self, name: str) -> FileSigner:
        return create_signing_key(self.folder / "m" / f"{name}.key", name)

    def record(self, entry: Entry) -> Recorded:
        if self.full:
            raise Unavailable("the disk is full", code="log_unavailable")
        return self.log.append([entry])[0]

    def opening(self, *names: str) -> Opening:
        chosen = [row for row in self.members if row.name in (names or ("p00", "p01", "p02"))]
        now_ms = self.clock.now_ms()
        return Opening(
            panel=new_panel_id(),
            bundle=BUNDLE,
            about="stage two",
            question="Wider?",
            options=("yes", "no"),
            rule=Rule.APPROVAL,
            quorum=2,
            percent_min=50,
            opens_ms=now_ms + HOUR_MS,
            closes_ms=now_ms + 3 * HOUR_MS,
            members=tuple(Member(row.name, row.public_key) for row in chosen),
        )

    def opened(self) -> Opening:
        """An open panel of three, its window begun."""
        opening = self.panels.open(self.opening(), self.keys["holder"])
        self.clock.advance(HOUR_MS)
        return opening

    def cast(self, panel: str, number: int, *choice: str, reason: str = "") -> None:
        ranks = [choice] if choice else []
        self.panels.vote(self.panels.ballot(panel, self.members[number], ranks, reason))

    def called(self) -> Call:
        return self.panels.call(
            BUNDLE,
            PEOPLE,
            seats=4,
            sources=["a beacon's round 1000"],
            seed_from_ms=self.clock.now_ms() + HOUR_MS,
            signer=self.keys["ines"],
            stratum="region",
            quotas={"north": 2, "south": 2},
        )

    def findings(self) -> list[str]:
        report = verify(self.folder / "log", encode_trust(self.trust))
        return [f"{row.where}: {row.what}" for row in report.findings]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def test_a_panel_votes_and_its_outcome_holds_for_the_lone_verifier(town: Town) -> None:
    panel = town.opened().panel
    town.cast(panel, 0, "yes")
    town.cast(panel, 1, "yes")
    town.cast(panel, 2, "no", reason="the guard is untested")
    town.clock.advance(2 * HOUR_MS)
    body = town.panels.close(panel, town.keys["holder"])
    assert (body["outcome"], body["counts"], body["quorum_met"]) == (
        "yes",
        {"yes": 2, "no": 1},
        True,
    )
    assert body["minority"] == ["p02"]
    assert town.panels.standing(panel).state == "closed"
    assert town.panels.recount(panel).outcome == "yes"
    assert town.findings() == []


def test_a_drawn_panel_seats_those_whom_list_and_seed_draw(town: Town) -> None:
    call = town.called()
    with pytest.raises(Refused, match="not known before"):
        town.panels.drawn(call.panel, PEOPLE, ["c0ffee"])
    town.clock.advance(HOUR_MS)
    seated = town.panels.drawn(call.panel, PEOPLE, ["c0ffee"])
    opening = replace(town.opening(*seated), panel=call.panel, seeds=("c0ffee",))
    town.panels.open(opening, town.keys["holder"], PEOPLE)
    assert town.panels.recount(call.panel, PEOPLE).outcome == ""
    assert town.findings() == []


def test_a_friend_does_not_take_a_drawn_seat(town: Town) -> None:
    call = town.called()
    town.clock.advance(HOUR_MS)
    seated = town.panels.drawn(call.panel, PEOPLE, ["c0ffee"])
    friend = next(row.name for row in town.members if row.name not in seated)
    opening = replace(town.opening(friend, *seated[1:]), panel=call.panel, seeds=("c0ffee",))
    with pytest.raises(Refused) as caught:
        town.panels.open(opening, town.keys["holder"], PEOPLE)
    assert caught.value.code == "not_drawn"
    with pytest.raises(Invalid, match="takes its list"):
        town.panels.open(opening, town.keys["holder"])
    # Put into the log past this room, it is found by whoever has the list.
    lenient = Panels(trust=town.trust, register=town.register, record=town.record, clock=town.clock)
    names = tuple(row.name for row in opening.members)
    lenient.drawn = lambda *_: names  # type: ignore[method-assign]
    lenient.open(opening, town.keys["holder"], PEOPLE)
    with pytest.raises(Tampered) as changed:
        town.panels.recount(call.panel, PEOPLE)
    assert changed.value.code == "draw_changed"


def test_a_list_changed_after_the_call_draws_nobody(town: Town) -> None:
    call = town.called()
    town.clock.advance(HOUR_MS)
    with pytest.raises(Tampered, match="not the list"):
        town.panels.drawn(call.panel, PEOPLE.replace(b"p29", b"friend"), ["c0ffee"])
    with pytest.raises(Invalid, match="1 seeds"):
        town.panels.drawn(call.panel, PEOPLE, [])


def test_votes_too_early_too_late_twice_or_by_others_change_nothing(town: Town) -> None:
    panel = town.panels.open(town.opening(), town.keys["holder"]).panel
    with pytest.raises(Invalid, match="before the vote opened"):
        town.cast(panel, 0, "yes")
    town.clock.advance(HOUR_MS)
    with pytest.raises(Refused, match="no member's"):
        town.cast(panel, 7, "yes")
    for choice, said in ((["perhaps"], "is not asked about"), (["yes", "yes"], "'yes' twice")):
        with pytest.raises(Invalid, match=said):
            town.panels.ballot(panel, town.members[0], [choice])
    town.cast(panel, 0, "yes")
    with pytest.raises(Refused, match="has voted already"):
        town.cast(panel, 0, "no")
    late = town.panels.ballot(panel, town.members[1], [["no"]])
    town.clock.advance(2 * HOUR_MS)
    with pytest.raises(Refused, match=r"too late to vote: votes count from .* until "):
        town.panels.vote(late)
    standing = town.panels.standing(panel)
    assert (standing.state, standing.missing) == ("over", ("p01", "p02"))
    assert list(standing.panel.votes) == ["p00"]
    assert town.findings() == []


def test_a_ballot_signed_elsewhere_counts_and_a_changed_one_does_not(town: Town) -> None:
    panel = town.opened().panel
    ballot = town.panels.ballot(panel, town.members[0], [["no"]])
    for broken in (ballot[:-2], b"{}", ballot.replace(b"keyid", b"keyed"), b"\xff"):
        with pytest.raises(DutchdoorError):
            town.panels.vote(broken)
    forged = town.panels.ballot(panel, town.members[1], [["yes"]])
    swapped = forged.replace(
        key_id(town.members[1].public_key).encode(), key_id(town.members[0].public_key).encode()
    )
    with pytest.raises(Invalid):
        town.panels.vote(swapped)
    assert town.panels.vote(ballot).member == "p00"


def test_nobody_closes_early_twice_or_without_a_key_that_counts(town: Town) -> None:
    panel = town.opened().panel
    with pytest.raises(Refused, match="going on"):
        town.panels.close(panel, town.keys["holder"])
    town.clock.advance(2 * HOUR_MS)
    with pytest.raises(Refused) as caught:
        town.panels.close(panel, town.keys["stranger"])
    assert caught.value.code == "signer_unknown"
    assert town.panels.close(panel, town.keys["tomas"])["quorum_met"] is False
    with pytest.raises(Refused, match="closed"):
        town.panels.close(panel, town.keys["holder"])


def test_what_cannot_be_recorded_did_not_happen(town: Town) -> None:
    panel = town.opened().panel
    town.full = True
    with pytest.raises(Unavailable):
        town.cast(panel, 0, "yes")
    town.full = False
    assert not town.panels.panel(panel).votes
    town.cast(panel, 0, "no")


def test_an_unknown_panel_is_not_found(town: Town) -> None:
    for ask in (town.panels.panel, town.panels.standing, town.panels.recount):
        with pytest.raises(NotFound):
            ask("panel_nobody")
