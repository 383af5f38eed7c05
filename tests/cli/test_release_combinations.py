"""`dutchdoor release combinations`, `what-if` and `mof`: told before it is decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.app import keys
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.cli.main import app
from dutchdoor.ids import BundleDigest
from dutchdoor.release.birth import sign_birth

BUNDLE = BundleDigest("sha256:" + "a" * 64)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("combinations") / "house")
    sign_birth(
        bundle=BUNDLE,
        model="smol",
        hidden_size=576,
        auditors=["person_" + "1" * 26],
        holder=keys.holder(workspace.places),
        record=workspace.record,
        clock=workspace.clock,
    )
    return workspace


def test_an_opening_can_be_asked_about_without_a_workspace(tmp_path: Path) -> None:
    asked = run(
        "release",
        "combinations",
        "--level",
        "downloadable",
        "--component",
        "Model card=public",
        "--audience",
        "researcher=sampling,logits",
    )
    assert asked.exit_code == 0, asked.output
    assert "Modify (change what it does): whoever accepts a licence" in asked.output
    assert "The holder can take it back: no." in asked.output
    assert "Weights and nothing else still allow fine-tuning" in asked.output


def test_a_forbidden_combination_ends_with_one() -> None:
    asked = run("release", "combinations", "--level", "cloud_api", "--json", "--audience",
                "public=activations,logits")  # fmt: skip
    assert asked.exit_code == 1
    value = json.loads(asked.output)
    assert value["forbidden"]
    assert "last_layer_bracketed" in {flag["name"] for flag in value["flags"]}


def test_the_rules_are_printed_with_their_reasons() -> None:
    page = run("release", "combinations", "--rules").output
    assert "`train_a_copy`" in page
    assert "forbidden from users outward" in page


def test_every_step_further_of_the_decision_in_force_is_told(house: Workspace) -> None:
    at = ("--workspace", str(house.places.root))
    told = run("release", "what-if", *at)
    assert told.exit_code == 0, told.output
    assert "Model parameters (Final): public" in told.output
    assert "  rescind: yes -> no" in told.output
    one = run("release", "what-if", "--audience", "researcher=sampling", *at, "--json")
    (change,) = json.loads(one.output)["changes"]
    assert change["change"] == "researcher: sampling"
    assert {move["activity"]: move["after"] for move in change["moves"]}["use"] == "vetted"
    none = run("release", "what-if", "--audience", "auditor=sampling", *at)
    assert none.output.splitlines() == ["auditor: sampling", "  nothing changes"]


def test_the_class_of_a_decision_and_of_a_file(house: Workspace, tmp_path: Path) -> None:
    at = ("--workspace", str(house.places.root))
    told = run("release", "mof", *at)
    assert told.exit_code == 0, told.output
    assert told.output.startswith("no class; 0 of 6 components of Class III")
    assert "no conformity is claimed" in told.output
    path = tmp_path / "mof.yml"
    path.write_text("release: {license: {distribution: {name: MIT}}, components: []}")
    value = json.loads(run("release", "mof", "--file", str(path), "--json").output)
    assert value["class"] == 0
    assert "Model architecture" in value["missing"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("combinations", "--component", "Datasets=public"),
        ("combinations", "--level", "ajar"),
        ("combinations", "--level", "hosted", "--component", "Datasets"),
        ("combinations", "--level", "hosted", "--audience", "public"),
        ("combinations", "proposal_x", "--level", "hosted"),
        ("mof", "--file", "/nowhere/mof.yml"),
    ],
)
def test_what_is_not_understood_ends_with_two_and_a_code(arguments: tuple[str, ...]) -> None:
    asked = run("release", *arguments)
    assert asked.exit_code == 2, asked.output


def test_a_decision_that_is_not_there_is_not_found(house: Workspace) -> None:
    at = ("--workspace", str(house.places.root))
    for name in ("proposal_none", "decision_none"):
        asked = run("release", "combinations", name, *at)
        assert asked.exit_code == 2, asked.output
