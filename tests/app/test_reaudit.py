"""What makes an audit due is found, recorded once, and settled by auditors alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.app import bundles, keys
from dutchdoor.app.people import ensure_person
from dutchdoor.app.reaudit import Attention, matters, record_dues, renew, reopen, trigger
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.audit.triggers import DAY_MS, TERMS, TriggerKind
from dutchdoor.cli.main import app
from dutchdoor.clock import FixedClock, SystemClock, to_iso
from dutchdoor.errors import Invalid, NotFound, NotInForce, Refused
from dutchdoor.evidence.decision import DECISION_KIND, Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.model import EntryKind
from dutchdoor.evidence.reaudit import GRACE_MS, PERIOD_MS
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import new_decision_id
from dutchdoor.release.birth import put_decision
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model


@dataclass
class Sealed:
    """A workspace with a sealed bundle, and decisions on it."""

    workspace: Workspace
    clock: FixedClock
    bundle: bundles.Bundle

    def decide(self, reasons: str = "a test") -> Decision:
        """A decision above fully closed that lasts for two years."""
        now_ms = self.clock.now_ms()
        decision = Decision(
            id=new_decision_id(),
            bundle=self.bundle.digest,
            model="tiny",
            level=Level.CLOUD_API,
            stage="1",
            audiences=(Audience("researcher", (Depth.SAMPLING,)),),
            guard=GuardTerms("sha256:" + "1" * 64, "fpr_0.01"),
            hidden_size=64,
            vectors_max=16,
            audit="sha256:" + "2" * 64,
            reasons=reasons,
            supersedes="",
            not_before_ms=now_ms,
            not_after_ms=now_ms + 730 * DAY_MS,
        )
        signers = [keys.approver(self.workspace.places, f"approver-{n}") for n in (1, 2)]
        envelope = sign_statement(DECISION_KIND, decision.to_body(), signers)
        put_decision(self.workspace.record, decision, envelope, now_ms)
        self.workspace.register.refresh()
        return decision

    def standing(self) -> str:
        """The decision in force, or why there is none."""
        register = self.workspace.register
        register.refresh()
        try:
            return register.in_force(self.bundle.digest, self.clock.now_ms()).decision.id
        except NotInForce as error:
            return error.code

    def count(self, kind: EntryKind) -> int:
        self.workspace.register.refresh()
        word = f'"kind":"{kind}"'.encode()
        return sum(word in data[-80:] for _, data in self.workspace.reader.entries())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("reaudit") / "model")


@pytest.fixture
def house(tmp_path: Path, model: Path) -> Sealed:
    clock = FixedClock(SystemClock().now_ms())
    workspace = make_workspace(tmp_path / "house", clock=clock)
    ada = ensure_person(workspace, "Ada", "auditor")
    born = bundles.seal(
        workspace, model, "tiny", quorum=(1, 1), custodians=("one",), auditors=[ada]
    )
    return Sealed(workspace, clock, born.bundle)


def cli(house: Sealed, *words: str) -> Result:
    root = str(house.workspace.places.root)
    return CliRunner().invoke(app, [*words, "--workspace", root, "--json"])


def test_a_birth_decision_rests_on_no_audit_and_nothing_is_due(house: Sealed) -> None:
    assert matters(house.workspace) == ()
    with pytest.raises(NotFound):
        trigger(
            house.workspace,
            None,
            TriggerKind.INCIDENT,
            "it leaked",
            keys.holder(house.workspace.places),
        )


def test_an_incident_ends_the_decision_after_its_grace_and_an_auditor_brings_it_back(
    house: Sealed,
) -> None:
    decision = house.decide()
    places = house.workspace.places
    due = trigger(
        house.workspace,
        "tiny",
        TriggerKind.INCIDENT,
        "it leaked",
        keys.approver(places, "approver-1"),
    )
    assert house.standing() == decision.id
    house.clock.advance(TERMS.incident_grace_days * DAY_MS)
    assert house.standing() == "audit_overdue"
    for signer in (keys.holder(places), keys.approver(places, "approver-1")):
        with pytest.raises(Refused) as caught:
            renew(house.workspace, None, "it was nothing", signer)
        assert caught.value.code == "not_an_auditor"
    auditor = keys.auditor(places, "auditor-1")
    with pytest.raises(NotFound):
        renew(house.workspace, None, "x", auditor, ["due_none"])
    with pytest.raises(Invalid):
        renew(house.workspace, None, " ", auditor)
    assert house.standing() == "audit_overdue"
    renewal = renew(house.workspace, None, "another model's weights", auditor)
    assert renewal.dues == (due.id,)
    assert house.standing() == decision.id
    check_log(places.evidence, places.trust)


def test_a_stranger_brings_nothing_up(house: Sealed) -> None:
    house.decide()
    with pytest.raises(Refused) as caught:
        record_dues(
            house.workspace,
            [row.due for row in matters(house.workspace)],
            keys.log_signer(house.workspace.places),
        )
    assert caught.value.code == "signer_unknown"
    assert house.count(EntryKind.AUDIT_DUE) == 0


def test_every_rule_is_evaluated_and_recording_twice_is_recording_once(
    house: Sealed, model: Path
) -> None:
    day = to_iso(house.clock.now_ms() + 10 * DAY_MS)[:10]
    house.decide(f"Because.\nAssumed until {day}: nothing better is open")
    house.clock.advance(1)
    shutil.move(house.bundle.path, house.bundle.path.with_name("old.sealed"))
    ada = ensure_person(house.workspace, "Ada", "auditor")
    bundles.seal(house.workspace, model, "tiny", quorum=(1, 1), custodians=("one",), auditors=[ada])
    words = {row.due.trigger: row.state(house.clock.now_ms()) for row in matters(house.workspace)}
    assert words == {"time": "coming", "assumption": "coming", "new_adapter": "due"}
    house.clock.advance(11 * DAY_MS)
    signer = keys.auditor(house.workspace.places, "auditor-1")
    now_ms = house.clock.now_ms()
    dues = [row.due for row in matters(house.workspace) if row.due.due_ms <= now_ms]
    assert len(record_dues(house.workspace, dues, signer)) == 2
    assert record_dues(house.workspace, dues, signer) == ()
    rows = matters(house.workspace)
    assert [row.recorded for row in rows] == [True, True, False]
    assert {row.state(house.clock.now_ms()) for row in rows[:2]} == {"due"}


def test_the_supervisor_records_what_is_due_by_date_once_a_day(house: Sealed) -> None:
    day = to_iso(house.clock.now_ms() + 10 * DAY_MS)[:10]
    decision = house.decide(f"Assumed until {day}: nothing better is open")
    said: list[str] = []
    attention = Attention(house.workspace, said.append)
    for _ in range(12):
        assert attention.holds(decision, house.clock.now_ms())
        house.clock.advance(DAY_MS)
    assert house.count(EntryKind.AUDIT_DUE) == 1
    assert len(said) == 1
    house.clock.advance(TERMS.assumption_grace_days * DAY_MS)
    assert house.standing() == "audit_overdue"


def test_what_cannot_be_recorded_ends_the_service_all_the_same(house: Sealed) -> None:
    day = to_iso(house.clock.now_ms() + DAY_MS)[:10]
    decision = house.decide(f"Assumed until {day}: nothing better is open")
    (house.workspace.places.keyring / "holder.key").unlink()
    attention = Attention(house.workspace, print)
    house.clock.advance(2 * DAY_MS)
    assert attention.holds(decision, house.clock.now_ms())
    house.clock.advance(TERMS.assumption_grace_days * DAY_MS)
    assert not attention.holds(decision, house.clock.now_ms())
    assert house.count(EntryKind.AUDIT_DUE) == 0
    # An auditor's review settles it, and the next look, a minute later, knows.
    auditor = keys.auditor(house.workspace.places, "auditor-1")
    renew(house.workspace, None, "it still holds", auditor)
    house.clock.advance(60_000)
    assert attention.holds(decision, house.clock.now_ms())


def test_an_unattended_workspace_goes_out_of_force_without_any_entry(house: Sealed) -> None:
    decision = house.decide()
    house.clock.advance(PERIOD_MS + GRACE_MS - 1)
    assert house.standing() == decision.id
    house.clock.advance(1)
    assert house.standing() == "audit_overdue"
    assert house.count(EntryKind.AUDIT_DUE) == 0


def test_auditors_are_let_in_again_only_where_nothing_is_in_force(house: Sealed) -> None:
    decision = house.decide()
    ada = house.workspace.access.find_person("Ada")
    with pytest.raises(Refused) as caught:
        reopen(house.workspace, None, [ada])
    assert caught.value.code == "decision_in_force"
    house.clock.advance(PERIOD_MS + GRACE_MS)
    closed = reopen(house.workspace, None, [ada])
    assert house.standing() == closed.id
    assert closed.level is Level.FULLY_CLOSED
    assert closed.supersedes == decision.id
    assert closed.depths_for("auditor", ada.id)
    house.clock.advance(PERIOD_MS)
    assert house.standing() == "expired", "a closed one ends by its own date alone"
    check_log(house.workspace.places.evidence, house.workspace.places.trust)


def test_the_command_line_shows_records_and_renews(house: Sealed) -> None:
    assert json.loads(cli(house, "audit", "due").stdout) == []
    house.decide()
    (row,) = json.loads(cli(house, "audit", "due").stdout)
    assert (row["trigger"], row["state"], row["recorded"]) == ("time", "coming", False)
    words = ["audit", "trigger", "--kind", "incident", "--reason", "it leaked"]
    given = cli(house, *words, "--as", "auditor-1", "--grace-days", "0")
    assert given.exit_code == 0, given.output
    due = json.loads(given.stdout)["due"]
    rows = json.loads(cli(house, "audit", "due", "--record").stdout)
    assert [(row["due"], row["state"]) for row in rows][:1] == [(due, "overdue")]
    (history,) = json.loads(cli(house, "release", "history").stdout)[1:]
    assert history["state"] == "audit overdue"
    wrong = cli(house, "audit", "trigger", "--kind", "gossip", "--reason", "x", "--as", "holder")
    assert wrong.exit_code == 2
    assert "unknown_trigger" in wrong.stderr
    renewed = cli(house, "audit", "renew", "--reason", "nothing", "--as", "auditor-1")
    assert json.loads(renewed.stdout)["dues"] == [due]
    told = CliRunner().invoke(
        app, ["audit", "due", "--workspace", str(house.workspace.places.root)]
    )
    assert "tiny: time, coming: due" in told.stdout
    assert cli(house, "audit", "reopen", "--auditor", "Ada").exit_code == 1
