"""What people are shown of a decision whose audit is overdue, and what stays compiled."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    path.write_text(text.replace(until, "in_force_until: '2099-01-01'"))
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


def test_the_defaults_name_the_period_of_the_log() -> None:
    assert DEFAULTS.reaudit_days * DAY_MS == PERIOD_MS
    assert DEFAULTS.reaudit_grace_days * DAY_MS == GRACE_MS
