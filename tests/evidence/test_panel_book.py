"""What counts on a panel: each rule broken once, before the register and before the verifier.

Both judge the same entries and share no code; they must say the same.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dutchdoor.errors import DutchdoorError, Invalid, Refused
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.panels import Member
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.verifier import verify
from tests.evidence.panel_parts import (
    CALL,
    CLOSES_MS,
    MEMBERS,
    OPENING,
    OPENS_MS,
    RANKED,
    ballot,
    called,
    closed,
    opened,
    voted,
)
from tests.evidence.parts import (
    ALICE,
    HOLDER,
    LOG,
    OTHER_BUNDLE,
    STRANGER,
    TRUST,
    Workspace,
)

SEEDED = replace(OPENING, seeds=("c0ffee",))
AFTER_MS = CALL.seed_from_ms
THREE = [voted("cleo"), voted("dina"), voted("ed", (("no",),), "it is too early")]
BALLOTS = [ballot("cleo"), ballot("dina"), ballot("ed", (("no",),), "it is too early")]
WHOLE = [opened(), *THREE, closed(BALLOTS)]

BAD: dict[str, list[Entry]] = {
    "a panel held by a stranger": [opened(signer=STRANGER)],
    "a panel of approvers": [
        opened(replace(OPENING, members=(Member("alice", ALICE.public_key),), quorum=1))
    ],
    "one key with two names": [
        opened(
            replace(OPENING, members=(*OPENING.members, Member("x", MEMBERS["cleo"].public_key)))
        )
    ],
    "a vote that opens in the past": [opened(at_ms=OPENS_MS + 1)],
    "a panel opened twice": [opened(), opened(replace(OPENING, quorum=1))],
    "a quorum of nobody": [opened(replace(OPENING, quorum=0))],
    "a quorum of more than all": [opened(replace(OPENING, quorum=6))],
    "one option alone": [opened(replace(OPENING, options=("yes",)))],
    "a drawn panel that was never called": [opened(SEEDED)],
    "a call when the seed was known": [called(at_ms=AFTER_MS)],
    "a call after the opening": [opened(), called()],
    "a call signed by a stranger": [called(signer=STRANGER)],
    "an opening before the seed was known": [called(), opened(SEEDED, at_ms=AFTER_MS - 1)],
    "an opening without the seed": [called(), opened(at_ms=AFTER_MS)],
    "an opening with fewer seats": [
        called(),
        opened(replace(SEEDED, members=OPENING.members[:4]), at_ms=AFTER_MS),
    ],
    "an opening on another bundle": [
        called(),
        opened(replace(SEEDED, bundle=OTHER_BUNDLE), at_ms=AFTER_MS),
    ],
    "an empty question": [opened(replace(OPENING, question=" "))],
    "an option that reads as a ranking": [opened(replace(OPENING, options=("a > b", "c")))],
    "too many options": [opened(replace(OPENING, options=tuple("abcdefghijklm")))],
    "a member without a name": [
        opened(replace(OPENING, members=(Member("", STRANGER.public_key),), quorum=1))
    ],
    "a seed that is no ASCII": [
        called(),
        opened(replace(OPENING, seeds=("caf\u00e9",)), at_ms=AFTER_MS),
    ],
    "a call with a quota below nothing": [
        called(replace(CALL, stratum="region", quotas={"n": 6, "s": -1}))
    ],
    "a call with quotas of no column": [called(replace(CALL, quotas={"n": 5}))],
    "a call for more seats than people": [called(replace(CALL, rows=4))],
    "a call without a source": [called(replace(CALL, sources=()))],
    "a vote before any opening": [voted("cleo")],
    "a vote before the window": [opened(), voted("cleo", at_ms=OPENS_MS - 1, cast_ms=OPENS_MS)],
    "a vote after the window": [opened(), voted("cleo", at_ms=CLOSES_MS, cast_ms=OPENS_MS)],
    "a vote cast before the window": [opened(), voted("cleo", cast_ms=OPENS_MS - 1)],
    "a second vote": [opened(), voted("cleo"), voted("cleo", (("no",),))],
    "the same vote again": [opened(), voted("cleo"), voted("cleo")],
    "a vote by another member's key": [opened(), voted("cleo", signer=MEMBERS["dina"])],
    "a vote by the holder": [opened(), voted("cleo", signer=HOLDER)],
    "a vote by nobody on the panel": [opened(), voted("stranger", signer=STRANGER)],
    "a vote for what was not asked": [opened(), voted("cleo", (("maybe",),))],
    "an option twice on a ballot": [opened(RANKED), voted("cleo", (("same",), ("same",)))],
    "a ranking where options are approved": [opened(), voted("cleo", (("yes",), ("no",)))],
    "an empty rank": [opened(RANKED), voted("cleo", ((), ("same",)))],
    "a closing while the vote goes on": [opened(), *THREE, closed(BALLOTS, at_ms=CLOSES_MS - 1)],
    "a closing by a stranger": [opened(), *THREE, closed(BALLOTS, signer=STRANGER)],
    "another outcome": [opened(), *THREE, closed(BALLOTS, outcome="no")],
    "a quorum that was not met": [opened(), *THREE[:2], closed(BALLOTS[:2], quorum_met=True)],
    "a closing without a vote that counts": [opened(), *THREE, closed(BALLOTS[:2])],
    "a closing without the minority": [opened(), *THREE, closed(BALLOTS, minority=[])],
    "another question": [opened(), *THREE, closed(BALLOTS, question="May everybody?")],
    "a vote after the closing": [*WHOLE, voted("fay")],
    "a second closing": [*WHOLE, closed(BALLOTS)],
    "a closing of nothing": [closed(BALLOTS)],
}


def followed(entries: list[Entry]) -> DecisionRegister:
    register = DecisionRegister(None, TRUST)
    for index, entry in enumerate(entries):
        register.follow(index, entry.encode())
    return register


def found_by_the_verifier(workspace: Workspace, entries: list[Entry]) -> list[str]:
    workspace.create().append(entries)
    report = verify(workspace.folder, encode_trust(TRUST))
    return [row.where.split(" (")[0] for row in report.findings]


@pytest.mark.parametrize("name", BAD)
def test_the_register_and_the_lone_verifier_refuse_what_breaks_a_rule(
    name: str, workspace: Workspace
) -> None:
    entries = BAD[name]
    register = followed(entries[:-1])
    assert not register.rejected
    before = register.panels()
    with pytest.raises(Refused) as caught:
        register.admit(entries[-1])
    assert caught.value.code == "decision_rejected"
    register.follow(len(entries) - 1, entries[-1].encode())
    assert [row.index for row in register.rejected] == [len(entries) - 1]
    assert register.panels() == before
    assert found_by_the_verifier(workspace, entries) == [f"entry {len(entries)}"]


def test_a_whole_panel_counts_and_the_lone_verifier_agrees(workspace: Workspace) -> None:
    register = followed(WHOLE)
    assert not register.rejected
    (panel,) = register.panels()
    assert panel.result is not None
    assert (panel.result["outcome"], panel.result["quorum_met"]) == ("yes", True)
    assert panel.result["minority"] == ["ed"]
    assert found_by_the_verifier(workspace, WHOLE) == []


def test_a_drawn_panel_opens_once_its_seed_is_known(workspace: Workspace) -> None:
    entries = [called(), opened(SEEDED, at_ms=AFTER_MS), voted("cleo")]
    assert not followed(entries).rejected
    assert found_by_the_verifier(workspace, entries) == []


def test_without_its_quorum_a_vote_has_no_outcome(workspace: Workspace) -> None:
    entries = [opened(), *THREE[:2], closed(BALLOTS[:2])]
    (panel,) = followed(entries).panels()
    assert panel.result is not None
    assert (panel.result["outcome"], panel.result["quorum_met"]) == ("", False)
    assert found_by_the_verifier(workspace, entries) == []


@pytest.mark.parametrize("entry", [opened(), voted("cleo"), closed(BALLOTS)])
def test_an_entry_that_says_more_than_its_envelope_does_not_count(
    entry: Entry, workspace: Workspace
) -> None:
    before = {
        EntryKind.PANEL_OPENED: [],
        EntryKind.PANEL_VOTED: [opened()],
        EntryKind.PANEL_CLOSED: [opened(), *THREE],
    }[entry.kind]
    entries = [*before, replace(entry, body={**entry.body, "note": "extra"})]
    assert len(followed(entries).rejected) == 1
    assert found_by_the_verifier(workspace, entries) == [f"entry {len(entries)}"]


def test_two_votes_of_one_member_in_one_batch_do_not_slip_past_the_gate(
    workspace: Workspace,
) -> None:
    workspace.create().close()
    log = Log(workspace.folder, LOG, workspace.clock, gate=DecisionRegister(None, TRUST))
    log.append([opened()])
    results = log.append_each([voted("cleo"), voted("cleo", (("no",),)), voted("dina")])
    log.close()
    assert [isinstance(row, DutchdoorError) for row in results] == [False, True, False]


def test_an_option_that_could_be_read_as_a_ranking_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot be ranked"):
        replace(OPENING, options=("a > b", "c")).check(TRUST)
