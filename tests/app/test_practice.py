"""The ten looks over a real workspace: its log, its grants, its audits."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.access.model import Budget
from dutchdoor.app import bundles, keys
from dutchdoor.app.people import ensure_person
from dutchdoor.app.practice import check_practice, practice_folder, write_practice
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.clock import FixedClock, SystemClock
from dutchdoor.evidence.decision import DECISION_KIND, Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import GRACE_MS, PERIOD_MS
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import RuntimeTerms, Terms
from dutchdoor.ids import new_decision_id
from dutchdoor.release.birth import put_decision
from tests.runtime.tiny_model import write_tiny_model

DAY_MS = 86_400_000


class House:
    """A workspace with a sealed bundle, and a red team of another organisation."""

    def __init__(self, root: Path) -> None:
        self.clock = FixedClock(SystemClock().now_ms())
        self.workspace: Workspace = make_workspace(root / "house", clock=self.clock)
        ada = ensure_person(self.workspace, "Ada", "auditor")
        model = write_tiny_model(root / "model")
        sealed = bundles.seal(
            self.workspace, model, "tiny", quorum=(1, 1), custodians=("one",), auditors=[ada]
        )
        self.bundle = sealed.bundle.digest
        record = self.workspace.record
        person = self.workspace.access.add_person("Rea", "Lab", "red_teamer", record=record)
        self.workspace.access.make_grant(
            person.id,
            self.bundle,
            purpose="attack it",
            depths=[Depth.SAMPLING],
            budget=Budget(10, 100),
            not_after_ms=self.clock.now_ms() + 400 * DAY_MS,
            record=record,
        )
        self.clock.advance(1_000)

    def audited(self) -> str:
        """The digest of an audit's summary, as the log holds it."""
        now_ms = self.clock.now_ms()
        claim = {"audit": "audit_one", "bundle": self.bundle, "completed_ms": now_ms}
        signer = keys.auditor(self.workspace.places, "auditor-1")
        envelope = sign_statement("audit_summary", dict(claim), [signer])
        digest = "sha256:" + canonical.sha256_hex(envelope)
        body = {
            "audit": "audit_one",
            "bundle": self.bundle,
            "summary": digest,
            "envelope": base64.b64encode(envelope).decode(),
        }
        self.workspace.record(Entry(EntryKind.AUDIT_SIGNED, now_ms, body))
        return digest

    def decide(self, audit: str, terms: Terms) -> None:
        now_ms = self.clock.now_ms()
        decision = Decision(
            id=new_decision_id(),
            bundle=self.bundle,
            model="tiny",
            level=Level.CLOUD_API,
            stage="1",
            audiences=(Audience("red_teamer", (Depth.SAMPLING,)),),
            guard=GuardTerms("sha256:" + "1" * 64, "fpr_0.01"),
            hidden_size=64,
            vectors_max=16,
            audit=audit,
            reasons="a test",
            supersedes="",
            not_before_ms=now_ms,
            not_after_ms=now_ms + 730 * DAY_MS,
            terms=terms,
        )
        signers = [keys.approver(self.workspace.places, f"approver-{n}") for n in (1, 2)]
        envelope = sign_statement(DECISION_KIND, decision.to_body(), signers)
        put_decision(self.workspace.record, decision, envelope, now_ms)

    def statuses(self) -> dict[str, str]:
        rows = check_practice(self.workspace, None).rows
        return {row.recommendation.name: str(row.status) for row in rows}


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    write_practice(house.workspace, check_practice(house.workspace, None))
    page = practice_folder(house.workspace) / "practice.yaml"
    text = page.read_text().replace('holder: ""', 'holder: "House"')
    page.write_text(text.replace("claim: open", "claim: adopted"))
    return house


def test_an_audited_decision_shows_what_its_holder_claims(house: House) -> None:
    tools = RuntimeTerms(tools=False)
    house.decide(house.audited(), Terms(limitations=("It invents facts.",), runtime=tools))
    found = house.statuses()
    for name in (
        "safety_before_speed",
        "regular_audits",
        "external_feedback",
        "structured_access",
        "agentic_limits",
        "limitations_told",
    ):
        assert found[name] == "adopted", name
    for name in ("public_commitments", "training_exclusions", "moderation_data"):
        assert found[name] == "missing", name
    house.clock.advance(PERIOD_MS + GRACE_MS)
    assert house.statuses()["regular_audits"] == "contradicted"


def test_a_decision_on_an_audit_that_the_log_does_not_hold_contradicts_the_claim(
    house: House,
) -> None:
    house.decide("sha256:" + "2" * 64, Terms())
    found = house.statuses()
    assert found["safety_before_speed"] == "contradicted"
    # An audit that comes after the decision does not mend it.
    house.audited()
    assert house.statuses()["safety_before_speed"] == "contradicted"
