"""`audit start --full`, `risks`, `coverage`, `export`, as somebody types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from docs.examples.sign import EXAMPLE, example_trust
from dutchdoor.cli.main import app
from dutchdoor.evidence.trust import save_trust
from tests.runtime.tiny_model import write_tiny_model


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    house = root / "house"
    write_tiny_model(root / "model")
    workspace = ["--workspace", str(house)]
    assert run("init", *workspace).exit_code == 0
    sealed = run("seal", str(root / "model"), "-o", "tiny", "--auditor", "Ada", *workspace)
    assert sealed.exit_code == 0, sealed.output
    return house


def test_a_full_audit_is_started_by_saying_so(house: Path) -> None:
    for options, count in ((["--full"], 23), ([], 5)):
        ran = run("audit", "start", "--auditor", "Ada", "--workspace", str(house), *options)
        assert ran.exit_code == 0, ran.output
        shown = run("audit", "status", "--json", "--workspace", str(house))
        status = json.loads(shown.stdout)
        assert status["scale"] == ("full" if options else "short")
        assert len(status["documents"]) == count
        shutil.rmtree(house / "audits" / status["audit"])


def test_risks_coverage_and_export_speak_to_people_and_to_programs(
    house: Path, tmp_path: Path
) -> None:
    trust = (house / "trust.json").read_bytes()
    audit = house / "audits" / EXAMPLE.name
    shutil.copytree(EXAMPLE, audit)
    save_trust(house / "trust.json", example_trust())
    try:
        at = ["--workspace", str(house)]
        assert "high: I1" in run("audit", "risks", *at).stdout
        value = json.loads(run("audit", "risks", "--json", *at).stdout)
        assert value["derived"] == []
        assert value["risks"][0]["rating"] == "high"
        assert "privacy" in run("audit", "coverage", *at).stdout
        gaps = json.loads(run("audit", "coverage", "--json", *at).stdout)
        assert "F2" in gaps["failures"]
        out = tmp_path / "out"
        assert "P2 written" in run("audit", "export", str(out), "--for", "public", *at).stdout
        again = run("audit", "export", str(out), *at)
        assert again.exit_code == 1
        wrong = run("audit", "export", str(tmp_path / "x"), "--for", "friends", *at)
        assert wrong.exit_code == 2
    finally:
        (house / "trust.json").write_bytes(trust)
        shutil.rmtree(audit)
