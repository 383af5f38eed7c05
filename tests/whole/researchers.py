"""A house opened to a researcher: a probe fitted inside, a decision that names it, a grant."""

from __future__ import annotations

from dataclasses import dataclass

from dutchdoor.access.model import Budget, MonitorMode
from dutchdoor.app import keys
from dutchdoor.app.auditing import AuditRun, fit_probe
from dutchdoor.app.background import wait_ready
from dutchdoor.app.governance import compile_policies
from dutchdoor.app.people import ensure_person
from dutchdoor.app.running import Running
from dutchdoor.audit.evaluate import Endpoint
from dutchdoor.clock import SystemClock
from dutchdoor.evidence.decision import DECISION_KIND, Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import new_decision_id
from dutchdoor.release.birth import put_decision
from tests.whole.house import DAY_MS, House

__all__ = ["Opened", "open_to_researcher"]

AUDIT = "sha256:" + "2" * 64


@dataclass(frozen=True)
class Opened:
    """What a researcher has. url: of the server as it serves now."""

    decision: Decision
    url: str
    key: str
    probe: str

    def endpoint(self, model: str = "tiny") -> Endpoint:
        """The researcher's own way in."""
        return Endpoint(f"{self.url}/v1", model, self.decision.bundle, self.key)


def open_to_researcher(
    house: House, running: Running, *, examples: int, threshold: str = "fpr_0.05"
) -> Opened:
    """Fit a probe, put a decision in force that requires it, wait until the server has followed."""
    workspace = house.workspace
    auditor = Endpoint(f"{running.url}/v1", "tiny", house.bundle.digest, house.api_key)
    run = AuditRun(examples=examples, evaluations=("guard_recall",))
    probe = fit_probe(auditor, house.bundle, run).digest
    now_ms = SystemClock().now_ms()
    workspace.register.refresh()
    born = workspace.register.in_force(house.bundle.digest, now_ms).decision
    decision = Decision(
        id=new_decision_id(),
        bundle=house.bundle.digest,
        model="tiny",
        level=Level.CLOUD_API,
        stage="1",
        audiences=(Audience("researcher", (Depth.SAMPLING,)),),
        guard=GuardTerms(probe, threshold),
        hidden_size=born.hidden_size,
        vectors_max=0,
        audit=AUDIT,
        reasons="a test",
        supersedes="",
        not_before_ms=now_ms,
        not_after_ms=now_ms + DAY_MS,
    )
    signers = [keys.approver(workspace.places, f"approver-{n}") for n in (1, 2)]
    envelope = sign_statement(DECISION_KIND, decision.to_body(), signers)
    put_decision(workspace.record, decision, envelope, now_ms)
    workspace.register.refresh()
    compile_policies(workspace)
    rosa = ensure_person(workspace, "Rosa", "researcher")
    workspace.access.make_grant(
        rosa.id,
        house.bundle.digest,
        purpose="a test",
        depths=(Depth.SAMPLING,),
        budget=Budget(requests=10_000, tokens=10_000_000),
        not_after_ms=now_ms + DAY_MS,
        monitor_mode=MonitorMode.BLOCK,
        concurrency_max=8,
        record=workspace.record,
    )
    issued = workspace.access.issue_key(rosa.id, record=workspace.record)
    now = wait_ready(workspace.places, decision.id)
    return Opened(decision, now.url, issued.secret.reveal(), probe)
