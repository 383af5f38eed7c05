"""A regulator signs with a key of their own, made on their machine, trusted by the holder alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from typer.testing import CliRunner

from dutchdoor.app import keys
from dutchdoor.app.governance import approve, enact, release_of, signer_of
from dutchdoor.app.outside import add_outside, make_outside_key, outside_names
from dutchdoor.app.workspace import Workspace, make_workspace, open_workspace
from dutchdoor.cli.main import app
from dutchdoor.config import Places
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust, load_trust, save_trust
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.release.birth import sign_birth
from tests.audit.parts import BUNDLE, Key, People, completed

TERMS = {
    "contacts": [
        {"role": role, "name": "Ada", "address": "ada@example.org"}
        for role in ("liability", "reporting", "incident")
    ],
    "limitations": ["it makes up sources"],
}
COMPONENTS = [{"name": "Model card", "access": "public", "licence": "CC-BY-4.0"}]


@pytest.fixture
def house(tmp_path: Path) -> Workspace:
    """A workspace with an audited bundle, made under a regulator's eyes."""
    workspace = make_workspace(tmp_path / "house")
    with workspace.places.config.open("a") as file:
        file.write('\n[release]\nprofile = "regulator_non_objection"\n')
    workspace = open_workspace(workspace.places)
    sign_birth(
        bundle=BUNDLE,
        model="smol",
        hidden_size=576,
        auditors=["person_" + "1" * 26],
        holder=keys.holder(workspace.places),
        record=workspace.record,
        clock=workspace.clock,
    )
    people = People()
    people.trust = workspace.trust
    people.first = cast("Key", keys.auditor(workspace.places, "auditor-1"))
    completed(workspace.places.audits, people, workspace.record)
    return workspace


def regulator(house: Workspace) -> Places:
    """The regulator's machine: a copy of what is public, and a key of their own."""
    root = house.places.root.parent / "regulator"
    if not root.exists():
        (root / "keyring").mkdir(parents=True, mode=0o700)
        (root / "keyring").chmod(0o700)
    for part in ("dutchdoor.toml", "trust.json", "evidence", "audits", "release"):
        source = house.places.root / part
        shutil.rmtree(root / part, ignore_errors=True)
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, root / part)
    return Places(root)


def test_a_decision_made_on_the_command_line_waits_for_the_regulator_on_their_own_machine(
    house: Workspace,
) -> None:
    folder = house.places.root.parent
    theirs = regulator(house)
    (folder / "terms.yaml").write_text(yaml.safe_dump(TERMS))
    (folder / "components.yaml").write_text(yaml.safe_dump(COMPONENTS))

    def call(where: str, *words: str) -> Any:
        return CliRunner().invoke(app, ["release", *words, "--workspace", str(folder / where)])

    def run(where: str, *words: str) -> Any:
        result = call(where, *words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    (folder / "rita.pub").write_text(run("regulator", "outside-key", "rita")["line"])
    key = run("house", "outside-add", str(folder / "rita.pub"))["key"]
    assert run("house", "outside-list") == [{"key": key, "name": "rita"}]
    (row,) = [row for row in run("house", "profiles") if row["required"]]
    assert row["profile"] == "regulator_non_objection"
    found = run(
        *("house", "propose", "--level", "cloud_api", "--stage", "1: researchers"),
        *("--by", "wanda", "--audience", "researcher=sampling", "--reasons", "because"),
        *("--heard", "a union", "--terms", str(folder / "terms.yaml")),
        *("--components", str(folder / "components.yaml")),
    )
    name, document = found["proposal"], Path(found["document"])
    for words in (["check", name], ["approve", name, "--as", "approver-1"]):
        refused = call("house", *words)
        assert refused.exit_code == 2
        assert "[write here" in refused.stderr
    text = document.read_text().replace("key: '[write here: who]'", f"key: {key}")
    document.write_text(text.replace("by: '[write here: who]'", "by: the regulator"))
    assert run("house", "check", name)["outside_missing"] == ["rita"]
    for approver in ("approver-1", "approver-2"):
        approval = run("house", "approve", name, "--as", approver)
        assert not approval["in_force"]
    assert approval["outside_missing"] == ["rita"]
    regulator(house)
    signed = run("regulator", "approve", name, "--as", "rita")
    assert not signed["in_force"], "the log's key is elsewhere"
    there = theirs.release / name / "approvals.json"
    assert run("house", "enact", name, "--approvals", str(there))["in_force"]
    page = run("house", "show", name)["page"]
    assert "No objection by the regulator" in page
    assert "Signatures from outside, beside the approvals: rita." in page
    assert "- For everybody to have: Model card under CC-BY-4.0" in page
    assert "- it makes up sources" in page
    assert "- a union" in page
    assert not verify(house.places.evidence, house.places.trust.read_bytes()).findings


def test_without_the_regulator_the_house_alone_brings_nothing_into_force(house: Workspace) -> None:
    theirs = regulator(house)
    public = make_outside_key(theirs, "rita")
    add_outside(house, public.line())
    house = open_workspace(house.places)
    assert outside_names(house) == {key_id(public.data): "rita"}
    with pytest.raises(NotFound):
        signer_of(house, "rita")
    with pytest.raises(NotFound):
        approve(house, "proposal_1", signer_of(house, "approver-1"))
    assert release_of(house).proposals() == ()
    with pytest.raises(NotFound):
        enact(house, "proposal_1", {})


def test_only_where_the_holders_key_is_somebody_outside_becomes_trusted(house: Workspace) -> None:
    theirs = regulator(house)
    line = make_outside_key(theirs, "rita").line()
    with pytest.raises(NotFound):
        add_outside(open_workspace(theirs), line)
    other = Key("holder")
    trust = replace(house.trust, holder={other.id: other.public_key})
    save_trust(house.places.trust, trust)
    with pytest.raises(Refused) as caught:
        add_outside(open_workspace(house.places), line)
    assert caught.value.code == "not_the_holder"
    assert not load_trust(house.places.trust).outside


def test_nobody_inside_becomes_somebody_outside(house: Workspace) -> None:
    before = house.places.trust.read_bytes()
    for signer in (
        keys.holder(house.places),
        keys.approver(house.places, "approver-1"),
        keys.auditor(house.places, "auditor-1"),
    ):
        with pytest.raises(Refused) as caught:
            add_outside(house, signer.public.line())
        assert caught.value.code == "duties_not_separate"
    for line in ("", "dutchdoor-public-1 xwing rita AAAA", "x" * 300):
        with pytest.raises(Invalid):
            add_outside(house, line)
    assert house.places.trust.read_bytes() == before == encode_trust(house.trust)


def test_one_name_has_one_key(house: Workspace) -> None:
    own = make_outside_key(house.places, "rita")
    for name in ("rita", "approver-1", "holder"):
        with pytest.raises(Refused):
            make_outside_key(house.places, name)
    path = keys.outside_path(house.places, "rita")
    assert path.stat().st_mode & 0o777 == 0o600
    assert signer_of(house, "rita").name == "rita"
    elsewhere = make_workspace(house.places.root.parent / "elsewhere")
    line = make_outside_key(elsewhere.places, "rita").line()
    first = add_outside(house, own.line())
    with pytest.raises(Refused) as caught:
        add_outside(open_workspace(house.places), line)
    assert caught.value.code == "key_exists"
    assert first in caught.value.message
    assert list(outside_names(open_workspace(house.places))) == [first]
