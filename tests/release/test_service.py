"""Two people decide word for word, a changed text has no approvals, and revoked is for good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.audit.document import read_document, write_document
from dutchdoor.errors import (
    DutchdoorError,
    Invalid,
    NotFound,
    NotInForce,
    Refused,
    Tampered,
    Unavailable,
)
from dutchdoor.evidence.decision import Decision, Level
from dutchdoor.evidence.model import EntryKind
from dutchdoor.release.model import DAY_MS, State, audience, level_of
from tests.audit.parts import BUNDLE, OTHER_BUNDLE
from tests.release.parts import AUDITOR, DEVELOPERS, HIDDEN_SIZE, STAGE, Workspace


def in_force(workspace: Workspace) -> Decision:
    workspace.register.refresh()
    return workspace.register.in_force(BUNDLE, workspace.clock.now_ms()).decision


def edit(workspace: Workspace, proposal: str, old: str, new: str) -> None:
    path = workspace.release.document(proposal)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_bundle_is_born_closed_to_all_but_its_named_auditors(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    decision = workspace.born()
    assert in_force(workspace) == decision
    assert decision.level is Level.FULLY_CLOSED
    assert decision.depths_for("auditor", AUDITOR)
    assert not decision.depths_for("auditor", "person_" + "2" * 26)
    assert not decision.depths_for("researcher", AUDITOR)
    with pytest.raises(Invalid):
        workspace.born(auditors=())


def test_a_birth_that_cannot_be_recorded_is_no_birth(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.full = True
    with pytest.raises(Unavailable):
        workspace.born()
    with pytest.raises(NotInForce):
        in_force(workspace)


def test_two_approvals_bring_a_decision_into_force_and_one_does_not(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    birth = workspace.born()
    proposal = workspace.proposed()
    assert proposal.state is State.PROPOSED
    assert proposal.decision.vectors_max == HIDDEN_SIZE // 4
    first = workspace.release.approve(proposal.id, workspace.people.first)
    assert not first.in_force
    assert in_force(workspace) == birth
    second = workspace.release.approve(proposal.id, workspace.people.second)
    assert second.in_force
    assert in_force(workspace) == second.decision
    assert second.decision.supersedes == birth.id
    assert workspace.release.proposal(proposal.id).state is State.IN_FORCE
    states = [(row.decision, row.state) for row in workspace.release.history()]
    assert states == [(birth.id, State.SUPERSEDED), (second.decision.id, State.IN_FORCE)]


def test_nobody_approves_twice_and_only_approvers_do(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    workspace.release.approve(proposal.id, workspace.people.first)
    for key, code in (
        (workspace.people.first, "already_approved"),
        (workspace.people.stranger, "not_an_approver"),
        (workspace.people.holder, "not_an_approver"),
    ):
        with pytest.raises(Refused) as caught:
            workspace.release.approve(proposal.id, key)
        assert caught.value.code == code
    assert EntryKind.DECISION_SIGNED not in workspace.kinds()[2:]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Researchers cannot study", "Anybody may study"),
        ("vectors_max: 144", "vectors_max: 200"),
        ("observation_days: 30", "observation_days: 1"),
        ("proposed_by: wanda", "proposed_by: somebody"),
        ("- an external red team", "- nobody"),
        ("- logprobs", "- logits"),
    ],
)
def test_a_text_changed_after_an_approval_voids_it_and_says_so(
    tmp_path: Path, old: str, new: str
) -> None:
    workspace = Workspace(tmp_path)
    birth = workspace.born()
    proposal = workspace.proposed()
    workspace.release.approve(proposal.id, workspace.people.first)
    edit(workspace, proposal.id, old, new)
    found = workspace.release.proposal(proposal.id)
    assert (found.approved_by, found.voided) == ((), ("ines",))
    assert "changed after ines approved it" in workspace.release.show(proposal.id)
    second = workspace.release.approve(proposal.id, workspace.people.second)
    assert second.voided == ("ines",)
    assert not second.in_force
    assert in_force(workspace) == birth
    # Who approved the old text may approve the new one: it is another text.
    assert workspace.release.approve(proposal.id, workspace.people.first).in_force


def test_approvals_that_were_tampered_with_count_for_nothing(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    workspace.release.approve(proposal.id, workspace.people.first)
    path = workspace.release.document(proposal.id).with_name("approvals.json")
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"sig":"', b'"sig":"A', 1))
    with pytest.raises(Tampered):
        workspace.release.approve(proposal.id, workspace.people.second)


def test_the_proposer_does_not_decide_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, approvals_min=1)
    birth = workspace.born()
    proposal = workspace.proposed(proposer=workspace.people.first.name)
    assert not workspace.release.approve(proposal.id, workspace.people.first).in_force
    assert in_force(workspace) == birth
    assert workspace.release.approve(proposal.id, workspace.people.second).in_force


def test_a_decision_that_cannot_be_recorded_is_not_in_force_and_can_be_tried_again(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    birth = workspace.born()
    proposal = workspace.proposed()
    workspace.release.approve(proposal.id, workspace.people.first)
    workspace.full = True
    with pytest.raises(Unavailable):
        workspace.release.approve(proposal.id, workspace.people.second)
    assert in_force(workspace) == birth
    assert workspace.release.proposal(proposal.id).approved_by == ("ines",)
    workspace.full = False
    assert workspace.release.approve(proposal.id, workspace.people.second).in_force


def test_a_revoked_decision_never_returns(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    decision = workspace.decided()
    (name,) = workspace.release.proposals()
    revocation = workspace.release.revoke(decision.id, "a way around", workspace.people.third)
    assert revocation.decision == decision.id
    with pytest.raises(NotInForce) as caught:
        in_force(workspace)
    assert caught.value.code == "revoked"
    for key in (workspace.people.first, workspace.people.third):
        with pytest.raises(Refused) as refused:
            workspace.release.approve(name, key)
        assert refused.value.code == "decision_known"
    # Nor by taking the files away: the log knows.
    workspace.release.document(name).with_name("approvals.json").unlink()
    with pytest.raises(Refused):
        workspace.release.approve(name, workspace.people.first)
    with pytest.raises(Refused) as again:
        workspace.release.revoke(decision.id, "again", workspace.people.first)
    assert again.value.code == "already_revoked"
    assert "Revoked because: a way around" in workspace.release.show(decision.id)


def test_a_revocation_needs_a_reason_a_known_decision_and_an_approver_or_the_holder(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    decision = workspace.decided()
    with pytest.raises(Invalid):
        workspace.release.revoke(decision.id, " ", workspace.people.first)
    with pytest.raises(NotFound):
        workspace.release.revoke("decision_none", "why", workspace.people.first)
    with pytest.raises(Refused):
        workspace.release.revoke(decision.id, "why", workspace.people.stranger)
    workspace.full = True
    with pytest.raises(Unavailable):
        workspace.release.revoke(decision.id, "why", workspace.people.first)
    assert in_force(workspace) == decision
    workspace.full = False
    workspace.release.revoke(decision.id, "why", workspace.people.holder)
    with pytest.raises(NotInForce):
        in_force(workspace)


def test_a_proposal_overtaken_by_another_decision_has_to_be_made_anew(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    audit = workspace.audited()
    one, other = workspace.proposed(audit=audit), workspace.proposed(audit=audit)
    for key in (workspace.people.first, workspace.people.second):
        workspace.release.approve(one.id, key)
    with pytest.raises(Refused) as caught:
        workspace.release.approve(other.id, workspace.people.first)
    assert caught.value.code == "decision_replaced"


def test_no_level_above_closed_without_the_audit_of_exactly_this_bundle_and_guard(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    with pytest.raises(NotFound):
        workspace.proposed(audit="sha256:" + "0" * 64)
    proposal = workspace.proposed()
    digest = proposal.decision.audit
    probe = proposal.decision.guard.probe
    for old, new in (
        (digest, "sha256:" + "0" * 64),
        (f"audit: {digest}", "audit: ''"),
        (BUNDLE, OTHER_BUNDLE),
        (probe, "sha256:" + "9" * 64),
        (f"probe: {probe}", "probe: ''"),
    ):
        text = workspace.release.document(proposal.id).read_text()
        edit(workspace, proposal.id, old, new)
        with pytest.raises(DutchdoorError):
            workspace.release.approve(proposal.id, workspace.people.first)
        workspace.release.document(proposal.id).write_text(text)
    assert workspace.release.approve(proposal.id, workspace.people.first).approved_by == ("ines",)


def test_weights_leave_by_no_decision_that_does_not_open_and_test_them(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    audit = workspace.audited()
    for level in ("fully_closed", "wide_open"):
        with pytest.raises(Invalid) as caught:
            workspace.proposed(audit=audit, level=level)
        assert "cloud_api" in caught.value.hint
    for level in ("downloadable", "fully_open"):
        with pytest.raises(DutchdoorError):
            workspace.proposed(audit=audit, level=level)
    proposal = workspace.proposed(audit=audit)
    edit(workspace, proposal.id, "level: cloud_api", "level: fully_open")
    with pytest.raises(Invalid):
        workspace.release.approve(proposal.id, workspace.people.first)
    proposal = workspace.proposed(audit=audit)
    edit(workspace, proposal.id, "threshold: fpr_0.01", "threshold: fpr_0.5")
    with pytest.raises(Invalid) as caught:
        workspace.release.approve(proposal.id, workspace.people.first)
    assert "fpr_0.05" in caught.value.hint
    assert level_of("hosted") is Level.HOSTED


def test_unknown_words_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        audience("everybody", ["sampling"])
    assert "researcher" in caught.value.hint
    with pytest.raises(Invalid) as caught:
        audience("researcher", ["weights"])
    assert "logprobs" in caught.value.hint
    with pytest.raises(Invalid):
        audience("researcher", [])
    assert audience("developer", ["sampling", "sampling"]) == DEVELOPERS


def test_a_proposal_without_reasons_cannot_be_approved(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed(reasons="")
    with pytest.raises(Invalid, match="write here"):
        workspace.release.approve(proposal.id, workspace.people.first)


def test_more_vectors_than_give_a_layer_away_cannot_be_decided(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    with pytest.raises(Invalid):
        workspace.proposed(vectors_max=HIDDEN_SIZE)
    assert not workspace.release.proposals()


def test_a_proposal_whose_time_is_over_cannot_be_approved(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    workspace.clock.advance(91 * DAY_MS)
    with pytest.raises(Refused) as caught:
        workspace.release.approve(proposal.id, workspace.people.first)
    assert caught.value.code == "decision_over"


def test_fields_that_are_missing_unknown_or_of_the_wrong_kind_are_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    path = workspace.release.document(proposal.id)
    document = read_document(path)
    for name in document.front:
        broken = [document.with_front(**{name: True})]
        if name != "assumptions":  # Proposals from before there were any stay valid.
            front = {key: value for key, value in document.front.items() if key != name}
            broken.append(replace(document, front=front))
        for text in broken:
            write_document(path, text)
            with pytest.raises(Invalid, match=name):
                workspace.release.proposal(proposal.id)
    write_document(path, document.with_front(also="this"))
    with pytest.raises(Invalid, match="also"):
        workspace.release.proposal(proposal.id)


def test_the_page_says_in_plain_words_what_was_decided(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.decided()
    page = workspace.release.show()
    for words in (
        "**In force.** It is what the server obeys now.",
        "the weights do not leave",
        STAGE,
        "Vetted researchers",
        "At most 144 inner vectors may ever leave, over all people: 25 %",
        "The fitted probe finds 71 %",
        "Researchers cannot study what they cannot reach.",
        "2 of 2 needed: ines, tomas.",
    ):
        assert words in page
    assert page == workspace.release.show(BUNDLE)
    with pytest.raises(NotFound):
        workspace.release.show("decision_none")
    with pytest.raises(NotFound):
        workspace.release.proposal("../audits")


def test_dated_assumptions_are_among_what_approvers_sign(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    path = workspace.release.document(proposal.id)
    row = {"text": "nothing better is open", "expires": "2028-01-01"}
    write_document(path, read_document(path).with_front(assumptions=[row]))
    workspace.release.approve(proposal.id, workspace.people.first)
    write_document(path, read_document(path).with_front(assumptions=[]))
    assert workspace.release.approve(proposal.id, workspace.people.second).voided
    write_document(path, read_document(path).with_front(assumptions=[row]))
    workspace.release.approve(proposal.id, workspace.people.first)
    decision = workspace.release.approve(proposal.id, workspace.people.second).decision
    assert "Assumed until 2028-01-01: nothing better is open" in decision.reasons
