"""Who audits a bundle does not decide on it, by people.yaml as by keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.audit.people import Member, People, Role, write_people
from dutchdoor.errors import Refused
from tests.release.parts import Workspace


def named(workspace: Workspace, audit: str, *members: Member) -> None:
    write_people(workspace.folder / "audits" / audit, People(members))


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.EXTERNAL_AUDITOR])
def test_an_auditor_of_the_bundle_cannot_approve(tmp_path: Path, role: Role) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    (audit,) = [path.name for path in (tmp_path / "audits").iterdir() if path.is_dir()]
    key = workspace.people.first
    ids = {"key": key.id, "person": "person_1", "grant": "grant_1"}
    named(workspace, audit, Member("Ada", frozenset({role}), **ids))
    with pytest.raises(Refused) as caught:
        workspace.release.approve(proposal.id, key)
    assert caught.value.code == "duties_not_separate"
    assert not workspace.release.proposal(proposal.id).approved_by


def test_where_deciders_are_named_only_they_approve(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    (audit,) = [path.name for path in (tmp_path / "audits").iterdir() if path.is_dir()]
    ines = Member("Ines", frozenset({Role.DECIDER}), key=workspace.people.first.id)
    named(workspace, audit, ines)
    workspace.release.approve(proposal.id, workspace.people.first)
    with pytest.raises(Refused) as caught:
        workspace.release.approve(proposal.id, workspace.people.second)
    assert caught.value.code == "not_in_role"
    assert workspace.release.proposal(proposal.id).state != "in_force"
