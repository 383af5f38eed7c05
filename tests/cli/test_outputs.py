"""`dutchdoor audit outputs`: written, recorded, checked; and the verifier holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.audit.service import Audit
from dutchdoor.cli.main import app
from dutchdoor.evidence.verify.verifier import verify

BUNDLE = "sha256:" + "a" * 64


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def house(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "house")
    Audit.start(
        workspace.places.audits,
        workspace.trust,
        workspace.clock,
        bundle=BUNDLE,
        model="smol",
        auditor="Ada",
    )
    return workspace


def test_a_draft_is_written_recorded_and_checked(house: Workspace, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    at = ("--workspace", str(house.places.root))
    made = run("audit", "outputs", folder, "--as", "auditor-1", "--only", "mof", *at)
    assert made.exit_code == 0, made.output
    assert "DRAFT" in made.output
    checked = run("audit", "outputs", "--check", folder, "--json", *at)
    value = json.loads(checked.output)
    assert (value["bundle"], value["draft"], list(value["files"])) == (BUNDLE, True, ["mof.yml"])
    report = verify(house.places.evidence, house.places.trust.read_bytes())
    assert (report.holds, report.entries) == (True, 3)
    (tmp_path / "out" / "mof.yml").write_text("changed")
    failed = run("audit", "outputs", "--check", folder, *at)
    assert failed.exit_code == 2
    assert "outputs_changed" in failed.output


def test_an_approver_signs_no_outputs(house: Workspace, tmp_path: Path) -> None:
    at = ("--workspace", str(house.places.root))
    folder = str(tmp_path / "out")
    refused = run("audit", "outputs", folder, "--as", "approver-1", "--only", "mof", *at)
    assert (refused.exit_code, "signer_unknown" in refused.output) == (1, True)
    nobody = run("audit", "outputs", folder, *at)
    assert (nobody.exit_code, "no_signer" in nobody.output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_stranger_checks_a_set_with_trust_json_alone(house: Workspace, tmp_path: Path) -> None:
    folder, trust = str(tmp_path / "out"), str(tmp_path / "trust.json")
    at = ("--workspace", str(house.places.root))
    assert run("audit", "outputs", folder, "--as", "auditor-1", "--only", "mof", *at).exit_code == 0
    Path(trust).write_bytes(house.places.trust.read_bytes())
    house.places.root.rename(tmp_path / "gone")
    checked = run("audit", "outputs", "--check", folder, "--trust", trust, "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["bundle"] == BUNDLE
    (tmp_path / "out" / "mof.yml").write_text("changed")
    assert run("audit", "outputs", "--check", folder, "--trust", trust).exit_code == 2
    other = make_workspace(tmp_path / "other").places.trust
    stranger = run("audit", "outputs", "--check", folder, "--trust", str(other))
    assert stranger.exit_code == 2
    nobody = run("audit", "outputs", "--check", folder, "--trust", str(tmp_path / "none.json"))
    assert nobody.exit_code == 2


def test_trust_json_writes_no_outputs(house: Workspace, tmp_path: Path) -> None:
    ran = run("audit", "outputs", str(tmp_path / "out"), "--trust", str(house.places.trust))
    assert (ran.exit_code, "wrong_use" in ran.output) == (2, True)
    assert not (tmp_path / "out").exists()
