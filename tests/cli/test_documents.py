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
        assert len(status["clocks"]) == count
        assert status["dues"] == []
        told = run("audit", "status", "--workspace", str(house)).stdout
        assert "effort 0" in told
        assert "dues: none" in told
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
        assert "extreme-risk" in run("audit", "coverage", *at).stdout
        gaps = json.loads(run("audit", "coverage", "--json", *at).stdout)
        assert "extreme-risk" in gaps["harms"]
        out = tmp_path / "out"
        shown = run("audit", "export", str(out), *at)
        assert "for the public; roles in this audit: none" in shown.stdout
        assert "P2 written: P2-tracking.md (anybody_reads_what_is_public)" in shown.stdout
        again = run("audit", "export", str(out), *at)
        assert again.exit_code == 1
        wrong = run("audit", "export", str(tmp_path / "x"), "--for", "friends", *at)
        assert (wrong.exit_code, "no_person" in wrong.output) == (2, True)
        assert not (tmp_path / "x").exists()
        rules = house / "policies" / "documents"
        rules.rename(tmp_path / "rules")
        closed = run("audit", "export", str(tmp_path / "x"), *at)
        (tmp_path / "rules").rename(rules)
        assert (closed.exit_code, "no_reading_rules" in closed.output) == (2, True)
        assert not (tmp_path / "x").exists()
    finally:
        (house / "trust.json").write_bytes(trust)
        shutil.rmtree(audit)


def test_people_interviews_and_dissent_are_typed_and_wrong_ones_refused(
    house: Path, tmp_path: Path
) -> None:
    at = ["--workspace", str(house)]
    assert run("audit", "start", "--auditor", "Ada", "--full", *at).exit_code == 0
    audit = house / "audits" / json.loads(run("audit", "status", "--json", *at).stdout)["audit"]
    try:
        adding = ["audit", "people", "add", "Ada", "--role", "auditor", "--person", "Ada"]
        assert run(*adding, "--key", "auditor-1", *at).exit_code == 0
        rows = json.loads(run("audit", "people", "list", "--json", *at).stdout)
        assert [row["name"] for row in rows] == ["Ada"]
        assert rows[0]["key"].startswith("ed25519:")
        both = run("audit", "people", "add", "Ada", "--role", "auditor", "--role", "decider", *at)
        assert (both.exit_code, "duties_not_separate" in both.output) == (1, True)
        other = run("audit", "people", "add", "Bo", "--role", "decider", "--key", "auditor-1", *at)
        assert (other.exit_code, "bad_people" in other.output) == (2, True)
        outside = run("audit", "people", "add", "Ext", "--role", "external-auditor", *at)
        assert (outside.exit_code, "bad_people" in outside.output) == (2, True)
        assert json.loads(run("audit", "people", "list", "--json", *at).stdout) == rows
        said = tmp_path / "transcript.txt"
        said.write_text("what they said")
        asked = ["audit", "interview", "P99", "--transcript", str(said), "--date", "2026-11-24"]
        refused = run(*asked, *at)
        assert (refused.exit_code, "no_consent" in refused.output) == (1, True)
        unknown = run(*asked, "--consent", *at)
        assert (unknown.exit_code, "no_stakeholder" in unknown.output) == (2, True)
        disagreed = ["audit", "dissent", "S3", "--by", "Mira", "--about", "the outcome"]
        assert run(*disagreed, "--text", "It should stop.", *at).exit_code == 0
        assert "It should stop." in (audit / "S3-ethical-review.md").read_text()
        assert run(*disagreed, "--text", " ", *at).exit_code == 2
    finally:
        shutil.rmtree(audit)


def test_a_checkpoint_printed_before_is_continued_and_a_cut_log_is_not(
    house: Path, tmp_path: Path
) -> None:
    at = ["--workspace", str(house)]
    kept = tmp_path / "old"
    kept.write_text(run("evidence", "checkpoint", *at).stdout)
    shutil.copytree(house / "evidence", tmp_path / "cut")
    assert run("people", "add", "Late", "--audience", "public", *at).exit_code == 0
    shown = run("evidence", "consistency", str(kept), *at)
    assert (shown.exit_code, "continues that of" in shown.stdout) == (0, True)
    assert run("evidence", "verify", "--since", str(kept), *at).exit_code == 0
    kept.write_text(run("evidence", "checkpoint", *at).stdout)
    (house / "evidence").rename(tmp_path / "whole")
    (tmp_path / "cut").rename(house / "evidence")
    try:
        cut = run("evidence", "consistency", str(kept), *at)
        assert (cut.exit_code, "log_cut_back" in cut.output) == (2, True)
        assert run("evidence", "verify", *at).exit_code == 0
        assert run("evidence", "verify", "--since", str(kept), *at).exit_code == 1
    finally:
        (house / "evidence").rename(tmp_path / "cut")
        (tmp_path / "whole").rename(house / "evidence")
    assert run("evidence", "consistency", str(tmp_path / "none"), *at).exit_code == 2


def test_status_says_who_signs_next_and_that_nobody_is_named_yet(house: Path) -> None:
    at = ["--workspace", str(house)]
    assert run("audit", "start", "--auditor", "Ada", "--full", *at).exit_code == 0
    audit = house / "audits" / json.loads(run("audit", "status", "--json", *at).stdout)["audit"]
    try:
        told = " ".join(run("audit", "status", *at).stdout.split())
        assert "signs next: S0 an approver; S1 the holder" in told, told[told.find("signs next") :]
        assert "people.yaml is not there" in told
        value = json.loads(run("audit", "status", "--json", *at).stdout)
        assert value["signs_next"]["S1"] == ["the holder"]
        assert "S4" not in value["signs_next"]
        adding = ["audit", "people", "add", "Ada", "--role", "auditor", "--key", "auditor-1"]
        assert run(*adding, *at).exit_code == 0
        assert "people.yaml is not there" not in run("audit", "status", *at).stdout
    finally:
        shutil.rmtree(audit)


def test_the_list_of_evaluations_claims_no_number_of_canaries() -> None:
    lines = run("audit", "run", "--list").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("canaries:")]
    assert "n as many as --canaries has" in line
