"""Decisions with terms, in force by the holder's key alone: at level fully closed that suffices."""

from __future__ import annotations

from dataclasses import replace

from dutchdoor.app import keys
from dutchdoor.app.governance import compile_policies
from dutchdoor.evidence.decision import DECISION_KIND, Decision
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import CustodyTerms, RuntimeTerms, Terms
from dutchdoor.ids import new_decision_id
from dutchdoor.release.birth import put_decision
from tests.whole.house import House

__all__ = ["decide"]


def decide(
    house: House,
    *,
    custody: CustodyTerms | None = None,
    runtime: RuntimeTerms | None = None,
) -> Decision:
    """The decision in force once more, with these terms in place of the earlier ones."""
    workspace = house.workspace
    workspace.register.refresh()
    now_ms = workspace.clock.now_ms()
    before = workspace.register.in_force(house.bundle.digest, now_ms).decision
    decision = replace(
        before,
        id=new_decision_id(),
        supersedes=before.id,
        terms=Terms(custody=custody or CustodyTerms(), runtime=runtime or RuntimeTerms()),
    )
    envelope = sign_statement(DECISION_KIND, decision.to_body(), [keys.holder(workspace.places)])
    put_decision(workspace.record, decision, envelope, now_ms)
    workspace.register.refresh()
    compile_policies(workspace)
    return decision
