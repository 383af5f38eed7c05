"""What people are shown of a decision whose audit is overdue, and what stays compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.clock import to_iso
from dutchdoor.errors import NotInForce
from dutchdoor.evidence.reaudit import GRACE_MS, PERIOD_MS
from dutchdoor.release.model import DAY_MS, DEFAULTS, State
from dutchdoor.release.standing import to_compile
from tests.audit.parts import BUNDLE
from tests.release.parts import Workspace


def test_a_decision_on_an_old_audit_is_shown_as_overdue_and_stays_compiled(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    path = workspace.release.document(proposal.id)
    text = path.read_text()
    until = next(line for line in text.splitlines() if line.startswith("in_force_until"))
    review = next(line for line in text.splitlines() if line.startswith("  review_by"))
    text = text.replace(until, "in_force_until: '2099-01-01'")
    path.write_text(text.replace(review, "  review_by: '2099-01-01'"))
    workspace.release.approve(proposal.id, workspace.people.first)
    decision = workspace.release.approve(proposal.id, workspace.people.second).decision
    assert workspace.release.history()[-1].state is State.IN_FORCE
    workspace.clock.advance(PERIOD_MS + GRACE_MS)
    now_ms = workspace.clock.now_ms()
    with pytest.raises(NotInForce) as caught:
        workspace.register.in_force(BUNDLE, now_ms)
    assert caught.value.code == "audit_overdue"
    row = workspace.release.history()[-1]
    assert (row.state, row.decision) == (State.OVERDUE, decision.id)
    page = workspace.release.show(decision.id)
    assert "**Audit overdue.**" in page
    assert "Overdue because: the audit was last reviewed 183 days before" in page
    assert to_compile(workspace.register, now_ms) == [decision]


def test_a_decision_that_nobody_looked_at_again_says_so_and_is_not_compiled(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    path = workspace.release.document(proposal.id)
    text = path.read_text()
    review = next(line for line in text.splitlines() if line.startswith("  review_by"))
    day = to_iso(workspace.clock.now_ms() + 10 * DAY_MS)
    path.write_text(text.replace(review, f"  review_by: '{day}'"))
    workspace.release.approve(proposal.id, workspace.people.first)
    decision = workspace.release.approve(proposal.id, workspace.people.second).decision
    assert f"Looked at again by {day[:10]}" in workspace.release.show(decision.id)
    workspace.clock.advance(10 * DAY_MS)
    now_ms = workspace.clock.now_ms()
    with pytest.raises(NotInForce) as caught:
        workspace.register.in_force(BUNDLE, now_ms)
    assert caught.value.code == "review_overdue"
    assert workspace.release.history()[-1].state is State.UNREVIEWED
    assert "**Review overdue.** It opens nothing" in workspace.release.show(decision.id)
    assert to_compile(workspace.register, now_ms) == []


def test_the_defaults_name_the_period_of_the_log() -> None:
    assert DEFAULTS.reaudit_days * DAY_MS == PERIOD_MS
    assert DEFAULTS.reaudit_grace_days * DAY_MS == GRACE_MS
