"""Keys apart: approvals signed on machines that cannot record, enacted where the log's key is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import cast

import pytest

from dutchdoor.app import keys
from dutchdoor.app.governance import approve, enact, release_of, signer_of
from dutchdoor.app.workspace import Workspace, make_workspace, open_workspace
from dutchdoor.config import Places
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reader import LogReader
from dutchdoor.release.birth import sign_birth
from dutchdoor.release.model import audience
from tests.audit.parts import BUNDLE, Key, People, completed
from tests.session import Shell, matches, read_commands

ROOT = Path(__file__).parents[2]
CARRIED = ("dutchdoor.toml", "trust.json", "evidence", "audits", "release")


@pytest.fixture
def house(tmp_path: Path) -> Workspace:
    """A workspace with an audited bundle and a proposal on it."""
    workspace = make_workspace(tmp_path / "house")
    sign_birth(
        bundle=BUNDLE,
        model="smol",
        hidden_size=576,
        auditors=["person_" + "1" * 26],
        holder=keys.holder(workspace.places),
        record=workspace.record,
        clock=workspace.clock,
    )
    people = People()
    people.trust = workspace.trust
    people.first = cast("Key", keys.auditor(workspace.places, "auditor-1"))
    summary = completed(workspace.places.audits, people, workspace.record)
    release_of(workspace).propose(
        audit=summary.digest,
        level="cloud_api",
        stage="1: vetted researchers",
        audiences=[audience("researcher", ["sampling"])],
        hidden_size=576,
        proposer="wanda",
        reasons="Researchers cannot study what they cannot reach.",
    )
    return workspace


def proposal_of(workspace: Workspace) -> str:
    return release_of(workspace).proposals()[0]


def machine(house: Workspace, name: str, approver: str) -> Workspace:
    """A copy of the workspace that has one approver's key and no other; `house` loses that key."""
    root = house.places.root.parent / name
    (root / "keyring" / "approvers").mkdir(parents=True, mode=0o700)
    (root / "keyring").chmod(0o700)
    for part in CARRIED:
        source = house.places.root / part
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, root / part)
    here, there = Places(root), house.places
    keys.approver_path(there, approver).replace(keys.approver_path(here, approver))
    return open_workspace(here)


def approvals_of(workspace: Workspace) -> bytes:
    path = workspace.places.release / proposal_of(workspace) / "approvals.json"
    return path.read_bytes()


def kinds(workspace: Workspace) -> list[EntryKind]:
    reader = LogReader(workspace.places.evidence)
    return [Entry.decode(data).kind for _, data in reader.entries()]


def edit(workspace: Workspace) -> None:
    path = release_of(workspace).document(proposal_of(workspace))
    path.write_text(path.read_text().replace("1: vetted researchers", "1: everybody"))


def test_the_guide_to_keys_apart_can_be_followed(house: Workspace) -> None:
    page = ROOT / "docs" / "guides" / "keys-apart.md"
    folder, name = house.places.root.parent, proposal_of(house)
    shell = Shell(folder, Path(sys.executable).parent, {"PROPOSAL": name})
    try:
        for command in read_commands(page.read_text()):
            printed, code = shell.run(command.text)
            assert matches(command.expected, printed), f"{command.text}\n{printed}"
            assert code == 0
    finally:
        shell.close()
    assert EntryKind.DECISION_SIGNED in kinds(house)[-2:], "then the policies were loaded"
    assert kinds(house)[-1] is EntryKind.POLICY_LOADED
    now_ms = house.clock.now_ms()
    house.register.refresh()
    in_force = house.register.in_force(BUNDLE, now_ms).decision
    policy = house.places.policies / "decision.cedar"
    assert in_force.id in policy.read_text()
    assert not (folder / "first" / "keyring" / "log.key").exists()
    assert "approver-1" not in keys.signer_names(house.places)


def test_an_approval_on_a_machine_without_the_logs_key_is_signed_and_not_recorded(
    house: Workspace,
) -> None:
    first = machine(house, "first", "approver-1")
    before = kinds(first)
    signed = approve(first, proposal_of(first), signer_of(first, "approver-1"))
    assert not signed.in_force
    assert signed.approved_by == ("approver-1",)
    assert kinds(first) == before


def test_one_machine_after_the_other_signs_the_same_text(house: Workspace) -> None:
    """The second approver's copy has the first's approval: one file comes back."""
    first = machine(house, "first", "approver-1")
    second = machine(house, "second", "approver-2")
    name = proposal_of(house)
    approve(first, name, signer_of(first, "approver-1"))
    carried = second.places.release / name / "approvals.json"
    carried.write_bytes(approvals_of(first))
    signed = approve(second, name, signer_of(second, "approver-2"))
    assert len(signed.approved_by) == 2
    assert not signed.in_force, "enough approvals, and no key that could record them"
    assert enact(house, name, {"second": approvals_of(second)}).in_force


def test_too_few_approvals_enact_nothing_and_are_kept(house: Workspace) -> None:
    first = machine(house, "first", "approver-1")
    second = machine(house, "second", "approver-2")
    name = proposal_of(house)
    with pytest.raises(Refused) as refusal:
        enact(house, name, {})
    assert refusal.value.code == "approvals_missing"
    approve(first, name, signer_of(first, "approver-1"))
    approve(second, name, signer_of(second, "approver-2"))
    twice = {"one": approvals_of(first), "the same": approvals_of(first)}
    with pytest.raises(Refused) as refusal:
        enact(house, name, twice)
    assert refusal.value.code == "approvals_missing"
    assert "1 of 2" in refusal.value.message
    assert enact(house, name, {"two": approvals_of(second)}).approved_by == (
        "approver-1",
        "approver-2",
    )
    with pytest.raises(Refused) as refusal:
        enact(house, name, {"two": approvals_of(second)})
    assert refusal.value.code == "decision_known"


@pytest.mark.parametrize("edited", ["house", "first"])
def test_approvals_of_an_edited_text_put_nothing_in_force(house: Workspace, edited: str) -> None:
    first = machine(house, "first", "approver-1")
    second = machine(house, "second", "approver-2")
    name = proposal_of(house)
    edit(house if edited == "house" else first)
    approve(first, name, signer_of(first, "approver-1"))
    approve(second, name, signer_of(second, "approver-2"))
    before = kinds(house)
    brought = {"1.json": approvals_of(first), "2.json": approvals_of(second)}
    with pytest.raises(Refused) as refusal:
        enact(house, name, brought)
    assert refusal.value.code == "text_changed"
    assert "stage" in refusal.value.message
    assert "1.json" in refusal.value.message
    assert kinds(house) == before
    kept = house.places.release / name / "approvals.json"
    assert not kept.exists(), "nothing of a refused set is kept"


def test_approvals_that_were_tampered_with_are_named_and_count_for_nothing(
    house: Workspace,
) -> None:
    first = machine(house, "first", "approver-1")
    second = machine(house, "second", "approver-2")
    name = proposal_of(house)
    approve(first, name, signer_of(first, "approver-1"))
    approve(second, name, signer_of(second, "approver-2"))
    good = approvals_of(first)
    # A signature that is one of the approver's key by name and of nobody by its bytes.
    place = good.index(b'"sig":"') + 10
    forged = good[:place] + (b"A" if good[place : place + 1] != b"A" else b"B") + good[place + 1 :]
    before = kinds(house)
    for data in (forged, b"", b"{}", good[:-1]):
        with pytest.raises(Invalid) as refusal:
            enact(house, name, {"carried.json": data, "2.json": approvals_of(second)})
        assert refusal.value.code == "bad_approvals"
        assert "carried.json" in refusal.value.message
    assert kinds(house) == before


def test_an_approvers_machine_has_no_other_key(house: Workspace) -> None:
    first = machine(house, "first", "approver-1")
    for other in ("approver-2", "auditor-1", "holder"):
        with pytest.raises(NotFound):
            signer_of(first, other)
