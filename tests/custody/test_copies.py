"""The copies are those of the log: made under a decision, never more than it lets there be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.custody.copies import Copies, destroyed, made
from dutchdoor.errors import Invalid, NotFound, NotInForce, Refused, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.terms import CustodyTerms, Terms
from tests.release.parts import Workspace

BUNDLE_PLACE = "vault in Turin"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """With a gate before its log, as every real one has."""
    found = Workspace(tmp_path)
    gate = DecisionRegister(None, found.people.trust)
    found.log = Log(tmp_path / "evidence", found.people.log, found.clock, gate=gate)
    return found


def copies_of(workspace: Workspace) -> Copies:
    return Copies(LogReader(workspace.folder / "evidence"))


def limited(decision: Decision, most: int) -> Decision:
    return replace(decision, terms=Terms(custody=CustodyTerms(copies_max=most)))


def make(workspace: Workspace, decision: Decision, place: str = BUNDLE_PLACE) -> str:
    return made(
        copies_of(workspace),
        decision,
        place,
        record=workspace.record,
        now_ms=workspace.clock.now_ms(),
    ).id


def test_a_copy_is_known_until_it_is_destroyed(workspace: Workspace) -> None:
    decision = workspace.born()
    copies = copies_of(workspace)
    name = make(workspace, decision)
    assert [(row.id, row.place) for row in copies.known(decision.bundle)] == [(name, BUNDLE_PLACE)]
    now_ms = workspace.clock.now_ms()
    with pytest.raises(NotFound):
        destroyed(copies, decision.bundle, "copy_x", "-", record=workspace.record, now_ms=now_ms)
    destroyed(copies, decision.bundle, name, "shredded", record=workspace.record, now_ms=now_ms)
    assert copies.count(decision.bundle) == 0


def test_one_more_than_was_decided_is_not_recorded_and_so_not_made(workspace: Workspace) -> None:
    decision = limited(workspace.born(), 1)
    make(workspace, decision)
    before = workspace.kinds()
    with pytest.raises(Refused) as caught:
        make(workspace, decision)
    assert caught.value.code == "custody_copies"
    assert workspace.kinds() == before


def test_without_a_decision_in_force_nothing_is_copied(workspace: Workspace) -> None:
    decision = workspace.born()
    workspace.release.revoke(decision.id, "over", workspace.people.holder)
    with pytest.raises(NotInForce):
        make(workspace, decision)
    assert EntryKind.COPY_MADE not in workspace.kinds()


def test_what_cannot_be_recorded_is_not_made(workspace: Workspace) -> None:
    decision = workspace.born()
    workspace.full = True
    with pytest.raises(Unavailable):
        make(workspace, decision)
    workspace.full = False
    assert copies_of(workspace).count(decision.bundle) == 0


@pytest.mark.parametrize("place", ["", "  ", "x" * 201, "a\nb", "\x1b[31mred"])
def test_a_place_is_a_few_printable_words(workspace: Workspace, place: str) -> None:
    with pytest.raises(Invalid):
        make(workspace, workspace.born(), place)


def test_a_package_below_the_open_levels_cannot_even_be_recorded(workspace: Workspace) -> None:
    decision = workspace.born()

    def exported(level: str) -> Recorded:
        body = {
            "bundle": decision.bundle,
            "decision": decision.id,
            "package": "package_x",
            "level": level,
            "key": "sha256:" + "0" * 64,
        }
        entry = Entry(EntryKind.PACKAGE_EXPORTED, workspace.clock.now_ms(), body)
        return workspace.record(entry)

    for level in ("fully_closed", "downloadable", "fully_open"):
        with pytest.raises(Refused):
            exported(level)
    assert EntryKind.PACKAGE_EXPORTED not in workspace.kinds()
