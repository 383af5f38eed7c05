"""A real workspace: what an estimate reads of custody, and what a proposal then names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest
import yaml
from typer.testing import CliRunner, Result

from dutchdoor.access.model import Budget
from dutchdoor.app import bundles, keys
from dutchdoor.app.governance import find_audit, release_of
from dutchdoor.app.people import ensure_person
from dutchdoor.app.risk import Changes, custody_facts, make_estimate, name_in_proposal
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.audit.document import Document, read_document, write_document
from dutchdoor.cli.main import app
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.openness import Level
from dutchdoor.release.model import audience
from dutchdoor.release.risk.worksheet import BASELINES, STEPS
from tests.audit.parts import Key, People, examined, settle_all
from tests.runtime.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("risk") / "model")


@pytest.fixture
def house(tmp_path: Path, model: Path) -> Workspace:
    """A workspace with a sealed bundle, two of three keys here, and a completed audit."""
    workspace = make_workspace(tmp_path / "house")
    ada = ensure_person(workspace, "Ada", "auditor")
    names = ("one", "two", "three")
    born = bundles.seal(workspace, model, "smol", quorum=(2, 3), custodians=names, auditors=[ada])
    keys.custodian_path(workspace.places, "three").unlink()
    people = People()
    people.trust = workspace.trust
    people.first = cast("Key", keys.auditor(workspace.places, "auditor-1"))
    audit = examined(workspace.places.audits, people, bundle=born.bundle.digest)
    settle_all(audit)
    audit.sign(people.first)
    audit.complete(people.first, workspace.record)
    return workspace


DOCS = Path(__file__).parents[2] / "docs"


def cli(house: Workspace, *words: str) -> Result:
    root = str(house.places.root)
    return CliRunner().invoke(app, [*words, "--workspace", root, "--json"])


def propose(house: Workspace) -> str:
    summary = find_audit(house, None).summary()
    assert summary is not None
    return (
        release_of(house)
        .propose(
            audit=summary.digest,
            level="cloud_api",
            stage="1: vetted researchers",
            audiences=[audience("researcher", ["sampling"])],
            hidden_size=64,
            proposer="wanda",
            reasons="Researchers cannot study what they cannot reach.",
        )
        .id
    )


def write_worksheet(house: Workspace) -> None:
    """All steps of both rows that the assumptions name."""
    path = house.places.release / "worksheet.md"
    document = read_document(path)
    listed = json.loads(cli(house, "release", "worksheet", "evidence").output)
    link = next(row for row in listed if row["name"] == "refusal")
    rows = [
        {
            "id": name,
            "threat": name,
            "actor": "people without skill",
            "baselines": list(BASELINES),
            "marginal_risk": "small",
            "confidence": "medium",
            "evidence": [{"finding": "refusal", "digest": link["digest"]}],
        }
        for name in ("fraud", "wrong-advice")
    ]
    text = "Next to a search engine, open models and closed APIs."
    steps = "\n".join(f"### {step}\n{text}" for step in STEPS)
    body = "\n".join(f"## {row['id']}: x\n{steps}" for row in rows)
    front = {
        **document.front,
        "written_by": "Ada",
        "baselines": [{"id": name, "what": "seen in May"} for name in BASELINES],
        "rows": rows,
    }
    write_document(path, Document(front, body))


def test_custody_is_read_from_the_workspace_and_says_where_from(house: Workspace) -> None:
    bundle = bundles.find_bundle(house, None)
    facts = custody_facts(house, bundle)
    assert (facts.threshold, facts.custodians, facts.keys_here) == (2, 3, 2)
    assert facts.keys_together
    assert facts.people == 0
    assert facts.copies == 1
    assert facts.sealed_bytes == bundle.manifest.sealed_bytes
    assert facts.sources["egress_bytes_day"].startswith("read: decision_")
    ada = house.access.find_person("Ada")
    house.access.make_grant(
        ada.id,
        bundle.digest,
        purpose="audit",
        depths=[Depth.SAMPLING],
        budget=Budget(10, 1000),
        not_before_ms=0,
        not_after_ms=house.clock.now_ms() + 1000,
        record=house.record,
    )
    assert custody_facts(house, bundle).people == 1
    keys.custodian_path(house.places, "two").unlink()
    assert not custody_facts(house, bundle).keys_together


def test_from_nothing_to_a_proposal_that_names_what_it_rests_on(house: Workspace) -> None:
    assert cli(house, "release", "estimate").exit_code == 2, "no assumptions yet"
    assert cli(house, "release", "estimate", "--new").exit_code == 0
    assert cli(house, "release", "estimate", "--new").exit_code == 1, "never over what is written"
    assert cli(house, "release", "worksheet", "check").exit_code == 2, "no worksheet yet"
    assert cli(house, "release", "worksheet", "make").exit_code == 0
    left = cli(house, "release", "worksheet", "check")
    assert left.exit_code == 1
    assert json.loads(left.output)
    proposal = propose(house)
    audit = find_audit(house, None)
    path = house.places.release / "assumptions.yaml"
    text = path.read_text()
    path.write_text(text.replace("row: fraud", "row: another"))
    with pytest.raises(Invalid) as caught:
        make_estimate(house, audit, Changes())
    assert caught.value.code == "no_worksheet_row"
    path.write_text(text)
    write_worksheet(house)
    assert cli(house, "release", "worksheet", "check").exit_code == 0
    ran = cli(house, "release", "estimate", "--proposal", proposal)
    assert ran.exit_code == 0, ran.output
    value = json.loads(ran.stdout)
    front = read_document(release_of(house).document(proposal)).front
    named = {row["name"]: row["digest"] for row in front["terms"]["references"]}
    assert named["risk estimate"] == value["digest"]
    assert named["worksheet of marginal risk"] == value["estimate"]["rests_on"]["worksheet"]
    decision = release_of(house).proposal(proposal).decision
    assert {row.digest for row in decision.terms.references} == set(named.values())
    folder = house.places.release / "estimate"
    data = (folder / "estimate.json").read_bytes()
    again = make_estimate(house, audit, Changes())
    assert data == again.data
    name_in_proposal(house, audit, proposal, again)
    front = read_document(release_of(house).document(proposal)).front
    assert len(front["terms"]["references"]) == 3, "naming it twice is naming it once"
    assert (folder / "estimate.html").read_text().count("<svg") >= 6


def test_the_commands_that_the_page_on_risk_lists_work_on_their_own_templates(
    house: Workspace,
) -> None:
    block = (DOCS / "concepts" / "risk.md").read_text().split("```")[1]
    listed = [line.split("  ")[0].split()[1:] for line in block.strip().splitlines()]
    assert len(listed) == 6
    proposal = propose(house)
    sheet = house.places.release / "worksheet.md"
    for words in listed:
        if words[-1] == "proposal_…":
            words = [*words[:-1], proposal]
            sheet.write_text(sheet.read_text().replace("[write here: ", "").replace("[write", ""))
        ran = cli(house, *words)
        # A worksheet that nobody has written in yet is not complete, and the page says so.
        assert ran.exit_code == (1 if words[-1] == "check" else 0), f"{words}: {ran.output}"
    front = read_document(release_of(house).document(proposal)).front
    assert len(front["terms"]["references"]) == 3
    shown = CliRunner().invoke(app, ["release", "estimate", "--workspace", str(house.places.root)])
    table = shown.output.split("(in ")[0].splitlines()[1:]
    assert len(table) == len(Level)
    assert all(line.count(" to ") == 3 for line in table), "a number without its range"


def test_an_estimate_of_another_level_or_with_a_gap_in_the_worksheet_is_not_named(
    house: Workspace,
) -> None:
    cli(house, "release", "estimate", "--new")
    cli(house, "release", "worksheet", "make")
    write_worksheet(house)
    proposal = propose(house)
    before = release_of(house).document(proposal).read_bytes()
    other = cli(house, "release", "estimate", "--level", "hosted", "--proposal", proposal)
    assert other.exit_code == 1
    audit = find_audit(house, None)
    path = house.places.release / "worksheet.md"
    document = read_document(path)
    write_document(path, document.with_front(level="hosted"))
    with pytest.raises(Refused) as refused:
        name_in_proposal(house, audit, proposal, make_estimate(house, audit, Changes()))
    assert refused.value.code == "other_level"
    write_document(path, document.with_front(written_by=""))
    with pytest.raises(Invalid) as caught:
        name_in_proposal(house, audit, proposal, make_estimate(house, audit, Changes()))
    assert caught.value.code == "worksheet_incomplete"
    assert release_of(house).document(proposal).read_bytes() == before


def test_the_assumptions_that_were_edited_are_the_ones_that_are_named(house: Workspace) -> None:
    cli(house, "release", "estimate", "--new")
    audit = find_audit(house, None)
    path = house.places.release / "assumptions.yaml"
    text = path.read_text().replace("row: fraud", "row: ''").replace("row: wrong-advice", "row: ''")
    path.write_text(text)
    first = make_estimate(house, audit, Changes(seed=3))
    assert yaml.safe_load(text)["settings"]["seed"] == 1
    assert first.body["settings"]["seed"] == 3
    path.write_text(text.replace("0.002 to 0.05", "0.02 to 0.05"))
    second = make_estimate(house, audit, Changes(seed=3))
    assert first.body["rests_on"]["assumptions"] != second.body["rests_on"]["assumptions"]
    assert float(second.body["leak"]["chance"]["50"]) > float(first.body["leak"]["chance"]["50"])
    with pytest.raises(Refused):
        propose_without_terms(house, first)


def propose_without_terms(house: Workspace, made: object) -> None:
    proposal = propose(house)
    path = release_of(house).document(proposal)
    document = read_document(path)
    front = {key: value for key, value in document.front.items() if key != "terms"}
    write_document(path, Document(front, document.body))
    audit = find_audit(house, None)
    name_in_proposal(house, audit, proposal, make_estimate(house, audit, Changes(seed=3)))
