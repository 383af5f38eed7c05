"""Stages in a workspace: gates from its log and audits, roll-backs written down and obeyed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.app import stages
from dutchdoor.app.governance import approve, release_of
from dutchdoor.app.incidents import incidents, record_incident
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.cli.main import app
from dutchdoor.clock import FixedClock, SystemClock
from dutchdoor.errors import Invalid, NotFound, NotInForce, Refused, Unavailable
from dutchdoor.evidence.decision import Audience, Depth, Level
from dutchdoor.evidence.incidents import IncidentClass, IncidentNature
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.terms import Condition, StageTerms, Terms
from dutchdoor.evidence.trust import save_trust
from dutchdoor.release.birth import sign_birth
from dutchdoor.release.model import DAY_MS
from dutchdoor.release.stages.gates import State
from tests.audit.parts import BUNDLE, People, completed
from tests.check_log import check_log

SERIOUS = Condition("incident_at_least", {"class": "serious"})
RESEARCHERS = Audience("researcher", (Depth.SAMPLING,))
DEVELOPERS = Audience("developer", (Depth.SAMPLING,))
PLAN = (
    StageTerms("few", Level.GRADUAL_STAGED, (RESEARCHERS,)),
    StageTerms(
        "wide",
        Level.CLOUD_API,
        (RESEARCHERS, DEVELOPERS),
        gates=(
            Condition("no_open_findings", {"severity": "high"}),
            Condition("audit_current", {}),
            Condition("approvals", {"count": "2"}),
        ),
        observation_days=10,
        roll_back=(SERIOUS,),
    ),
)


class House:
    """A workspace with a completed audit and a decision at the first stage of `PLAN`."""

    def __init__(self, folder: Path) -> None:
        # Early enough that what is decided after the observation is in force for the commands too.
        self.clock = FixedClock(SystemClock().now_ms() - 11 * DAY_MS)
        self.people = People()
        made = make_workspace(folder, clock=self.clock)
        # The keys of the tests decide; the log is the workspace's own.
        trust = replace(
            self.people.trust, log_origin=made.trust.log_origin, log_key=made.trust.log_key
        )
        save_trust(made.places.trust, trust)
        self.workspace = Workspace(made.places, made.config, self.clock)
        sign_birth(
            bundle=BUNDLE,
            model="smol",
            hidden_size=576,
            auditors=("person_" + "1" * 26,),
            holder=self.people.holder,
            record=self.workspace.record,
            clock=self.clock,
        )
        summary = completed(made.places.audits, self.people, self.workspace.record)
        first = PLAN[0]
        self.proposal = release_of(self.workspace).propose(
            audit=summary.digest,
            level=str(first.level),
            stage=first.name,
            audiences=first.audiences,
            hidden_size=576,
            proposer="wanda",
            reasons="Researchers first.",
            terms=Terms(stages=PLAN),
            in_force_days=365,
        )
        self.approve(self.proposal.id)

    def approve(self, proposal: str) -> None:
        for signer in (self.people.second, self.people.third):
            approve(self.workspace, proposal, signer)

    def widened(self) -> None:
        """The next stage, by its gates and two approvals."""
        self.clock.advance(10 * DAY_MS)
        self.approve(stages.propose_next(self.workspace, None, "wanda").id)

    def standing(self) -> str:
        register = self.workspace.register
        register.refresh()
        try:
            return register.in_force(BUNDLE, self.clock.now_ms()).decision.stage
        except NotInForce as error:
            return error.code

    def policies(self) -> str:
        return (self.workspace.places.policies / "decision.cedar").read_text()

    def cli(self, *words: str) -> Result:
        root = str(self.workspace.places.root)
        return CliRunner().invoke(app, [*words, "--workspace", root, "--json"])


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "house")
    yield made
    check_log(made.workspace.places.evidence, made.workspace.trust)


def test_the_next_stage_is_proposed_when_its_gates_are_open_and_people_approve_it(
    house: House,
) -> None:
    assert house.standing() == "few"
    found = stages.outlook(house.workspace, None)
    states = {row.gate.kind: row.state for row in found.answers}
    assert states == {
        "no_open_findings": State.MET,
        "audit_current": State.MET,
        "approvals": State.UNKNOWN,
        "days_observed": State.NOT_MET,
    }
    with pytest.raises(Refused) as caught:
        stages.propose_next(house.workspace, None, "wanda")
    assert caught.value.code == "gate_shut"
    house.clock.advance(10 * DAY_MS)
    proposal = stages.propose_next(house.workspace, None, "wanda")
    assert house.standing() == "few"
    assert "entry" in proposal.decision.reasons
    approve(house.workspace, proposal.id, house.people.second)
    assert house.standing() == "few"
    approve(house.workspace, proposal.id, house.people.third)
    assert house.standing() == "wide"
    with pytest.raises(NotFound):
        stages.propose_next(house.workspace, None, "wanda")


def test_a_proposal_of_a_later_stage_says_which_gates_are_shut(house: House) -> None:
    wide = PLAN[1]
    (summary,) = house.workspace.places.audits.glob("*/summary.json")
    early = release_of(house.workspace).propose(
        audit="sha256:" + hashlib.sha256(summary.read_bytes()).hexdigest(),
        level=str(wide.level),
        stage=wide.name,
        audiences=wide.audiences,
        hidden_size=576,
        proposer="wanda",
        reasons="We cannot wait.",
        terms=Terms(stages=PLAN),
    )
    said = place(house, early.id)
    assert "later stage, 'wide'" in said[0]
    assert "which stands in 'few'" in said[0]
    shut = [line for line in said if line.startswith("Shut:")]
    assert [line.split(": ")[1] for line in shut] == ["days_observed"]
    page = release_of(house.workspace).show(early.id, said)
    assert all(line in page for line in said)
    assert place(house, house.proposal.id) == ()
    house.clock.advance(10 * DAY_MS)
    assert place(house, early.id)[-1] == "All gates before it are open."
    # The commands say so too, by the clock on the wall.
    shown = json.loads(house.cli("release", "show", early.id).stdout)["page"]
    assert "## Where it stands in the plan" in shown
    assert json.loads(house.cli("release", "check", early.id).stdout)["in_plan"]


def place(house: House, proposal: str) -> tuple[str, ...]:
    decision = release_of(house.workspace).proposal(proposal).decision
    return stages.place_in_plan(house.workspace, decision)


def test_the_page_after_a_roll_back_names_only_those_who_are_still_let_in(house: House) -> None:
    house.widened()
    release = release_of(house.workspace)
    assert "Developers" in release.show()
    stages.roll_back(house.workspace, None, None, "too early", house.people.third)
    page = release.show()
    assert "researchers" in page.lower()
    assert "**Developers" not in page
    stages.roll_back(house.workspace, None, "", "stop", house.people.holder)
    page = release.show()
    assert "Nobody may do anything." in page
    assert "under a lease" not in page


def test_a_roll_back_is_one_command_and_the_rules_follow(house: House) -> None:
    house.widened()
    assert "developers" in house.policies()
    with pytest.raises(Refused):
        stages.roll_back(house.workspace, None, None, "too early", house.people.stranger)
    with pytest.raises(Invalid):
        stages.roll_back(house.workspace, None, None, " ", house.people.holder)
    done = stages.roll_back(house.workspace, None, None, "too early", house.people.third)
    assert (done.source, done.stage) == ("wide", "few")
    assert house.standing() == "few"
    assert "developers" not in house.policies()
    for stage in ("wide", "few", "elsewhere"):
        with pytest.raises(Refused):
            stages.roll_back(house.workspace, None, stage, "again", house.people.third)
    stages.roll_back(house.workspace, None, "", "stop", house.people.holder)
    assert house.standing() == "rolled_back"
    assert "No decision is in force" in house.policies()
    with pytest.raises(Refused):
        stages.roll_back(house.workspace, None, None, "again", house.people.holder)


def test_recording_an_incident_rolls_back_at_once(house: House) -> None:
    house.widened()
    assert record_incident(house.workspace, BUNDLE, house.people.first).falls == ()
    found, falls, _ = record_incident(
        house.workspace,
        BUNDLE,
        house.people.first,
        grade=IncidentClass.CRITICAL,
        nature=IncidentNature.WEIGHTS_LEAKED,
        told={"harm": "a copy lay on a public server"},
    )
    assert [fall.stage for fall in falls] == ["few"]
    assert house.standing() == "few"
    assert "developers" not in house.policies()
    told = incidents(house.workspace)[-1]
    assert told.now == found
    assert [clock.report for clock in told.clocks] == ["initial"]
    text = told.document.read_text()
    assert "public server" in text
    assert text.count("unknown") == 10
    entries = [Entry.decode(data) for _, data in house.workspace.reader.entries()]
    assert not any("public server" in str(entry.body) for entry in entries)


def test_an_incident_that_a_server_rolls_back_for_first_is_recorded_and_its_id_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.widened()
    # Its own view of the log, as the supervisor of a running server has.
    server = Workspace(house.workspace.places, house.workspace.config, house.clock)
    look = stages.RollBacks(server, BUNDLE, lambda _: None)
    record = Workspace.record

    def raced(self: Workspace, entry: Entry) -> Recorded:
        if self is not server and entry.kind is EntryKind.STAGE_ROLLED_BACK:
            server.register.refresh()
            look.look()
        return record(self, entry)

    monkeypatch.setattr(Workspace, "record", raced)
    found, falls, problem = record_incident(
        house.workspace, BUNDLE, house.people.first, grade=IncidentClass.SERIOUS
    )
    assert problem is None
    assert [fall.stage for fall in falls] == ["few"]
    assert [told.now.id for told in incidents(house.workspace)] == [found.id]
    kinds = [Entry.decode(data).kind for _, data in house.workspace.reader.entries()]
    assert kinds.count(EntryKind.STAGE_ROLLED_BACK) == 1
    assert "developers" not in house.policies()


def test_an_incident_whose_roll_back_cannot_be_written_down_is_recorded_and_its_id_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.widened()

    def full(*_: object) -> None:
        raise Unavailable("the disk is full", code="log_unavailable")

    monkeypatch.setattr("dutchdoor.app.incidents.record_pending", full)
    found, falls, problem = record_incident(
        house.workspace, BUNDLE, house.people.first, grade=IncidentClass.SERIOUS
    )
    assert found.id.startswith("incident_")
    assert [fall.stage for fall in falls] == ["few"]
    assert problem is not None
    assert problem.code == "log_unavailable"
    assert house.standing() == "few"


def test_more_about_an_incident_keeps_what_was_known_and_needs_its_keys(house: House) -> None:
    found = record_incident(
        house.workspace, BUNDLE, house.people.first, told={"harm": "a scare"}
    ).incident
    house.clock.advance(1_000)
    again = record_incident(
        house.workspace,
        BUNDLE,
        house.people.holder,
        incident=found.id,
        told={"response": "a patch"},
        report="initial",
    ).incident
    assert (again.revision, again.aware_ms) == (2, found.aware_ms)
    (told,) = incidents(house.workspace)
    assert "a scare" in told.document.read_text()
    told.document.write_text("{}")
    assert not incidents(house.workspace)[0].at_hand
    for wrong in ({"weather": "fine"},):
        with pytest.raises(Invalid):
            record_incident(house.workspace, BUNDLE, house.people.first, told=wrong)
    with pytest.raises(Refused):
        record_incident(house.workspace, BUNDLE, house.people.stranger)
    with pytest.raises(NotFound):
        record_incident(house.workspace, BUNDLE, house.people.first, incident="incident_none")
    later_ms = house.clock.now_ms() + 1
    with pytest.raises(Invalid):
        record_incident(house.workspace, BUNDLE, house.people.first, aware_ms=later_ms)


def test_the_supervisor_writes_down_what_holds_already_and_a_full_disk_changes_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.widened()
    said: list[str] = []
    look = stages.RollBacks(house.workspace, BUNDLE, said.append)
    look.look()
    assert said == []
    monkeypatch.setattr("dutchdoor.app.incidents.record_pending", lambda *_: ())
    record_incident(house.workspace, BUNDLE, house.people.first, grade=IncidentClass.SERIOUS)
    assert house.standing() == "few"

    def full(_self: Workspace, _entry: Entry) -> None:
        raise Unavailable("the disk is full", code="log_unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "record", full)
        look.look()
        look.look()
    assert len(said) == 1
    assert "cannot be recorded" in said[0]
    assert house.standing() == "few"
    house.clock.advance(stages.RETRY_MS)
    look.look()
    look.look()
    assert len(said) == 2
    kinds = [Entry.decode(data).kind for _, data in house.workspace.reader.entries()]
    assert kinds.count(EntryKind.STAGE_ROLLED_BACK) == 1


def test_an_audit_that_is_not_at_hand_or_was_changed_opens_no_gate(house: House) -> None:
    (summary,) = house.workspace.places.audits.glob("*/summary.json")
    data = summary.read_bytes()
    summary.write_bytes(data.replace(b'"sig":"', b'"sig":"A', 1))
    states = {row.gate.kind: row.state for row in stages.outlook(house.workspace, None).answers}
    assert states["no_open_findings"] is State.UNKNOWN


def test_the_commands_say_what_they_did(house: House, tmp_path: Path) -> None:
    house.widened()
    shown = json.loads(house.cli("release", "gates").stdout)
    assert (shown["stage"], shown["next"]) == ("wide", "")
    document = str(release_of(house.workspace).document(house.proposal.id))
    house.workspace.reader.refresh()
    before = house.workspace.reader.size()
    events = json.loads(house.cli("release", "simulate", document, "--days", "30").stdout)
    assert events[0]["what"] == "entered"
    assert "wide" in {row["stage"] for row in events if row["what"] == "entered"}
    lines = tmp_path / "entries.jsonl"
    lines.write_text('{"kind": "incident_recorded", "time_ms": 5, "body": {"class": "minor"}}\n')
    made = house.cli("release", "simulate", document, "--entries", str(lines), "--days", "1")
    assert made.exit_code == 0, made.stdout
    lines.write_text("nonsense")
    assert house.cli("release", "simulate", document, "--entries", str(lines)).exit_code != 0
    house.workspace.reader.refresh()
    assert house.workspace.reader.size() == before
    assert json.loads(house.cli("incidents", "list").stdout) == []
    history = json.loads(house.cli("release", "history").stdout)
    assert history[-1]["state"] == "in force"
    stages.roll_back(house.workspace, None, "", "stop", house.people.holder)
    history = json.loads(house.cli("release", "history").stdout)
    assert history[-1]["state"] == "rolled back"
    assert "nobody" in house.cli("release", "show").stdout
