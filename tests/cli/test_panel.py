"""A panel as somebody types it: from the keys to the verified outcome."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from docs.examples.sign import EXAMPLE, example_trust
from dutchdoor.cli.main import app
from dutchdoor.cli.panel_text import moment, quotas_of, ranks_of
from dutchdoor.clock import FixedClock, SystemClock
from dutchdoor.errors import Invalid
from dutchdoor.evidence.trust import save_trust
from tests.runtime.tiny_model import write_tiny_model

MEMBERS = ("cleo", "dina", "ed")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("panel")
    write_tiny_model(root / "model")
    house = root / "house"
    assert run("init", "--workspace", str(house)).exit_code == 0
    sealed = run(
        "seal", str(root / "model"), "-o", "tiny", "--auditor", "Ada", "--workspace", str(house)
    )
    assert sealed.exit_code == 0, sealed.output
    return house


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FixedClock:
    """What every command of a test takes for the time."""
    clock = FixedClock(SystemClock().now_ms())
    monkeypatch.setattr("dutchdoor.app.workspace.SystemClock", lambda: clock)
    return clock


def panel(house: Path, *words: str) -> Any:
    ran = run("panel", *words, "--workspace", str(house), "--json")
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def refused(house: Path, *words: str) -> str:
    ran = run("panel", *words, "--workspace", str(house), "--json")
    assert ran.exit_code != 0, ran.output
    return str(json.loads(ran.stderr)["error"]["code"])


def test_a_panel_from_the_keys_to_the_verified_outcome(
    house: Path, tmp_path: Path, clock: FixedClock
) -> None:
    assert panel(house, "state") == []
    made = [panel(house, "key", name)["public"] for name in MEMBERS]
    assert all("secret" not in Path(path).read_text() for path in made)
    members = [word for path in made for word in ("--member", path)]
    opening = panel(
        house,
        *("open", "--question", "Wider?", *members, "--quorum", "2"),
        *("--until", "+2h", "--about", "stage two"),
    )
    name = opening["panel"]
    assert refused(house, "vote", name, "--as", "cleo", "--approve", "yes") == "bad_panel"
    clock.advance(1_000)
    for unclear in ([], ["--approve", "yes", "--blank"]):
        assert refused(house, "vote", name, "--as", "cleo", *unclear) == "bad_panel"
    panel(house, "vote", name, "--as", "cleo", "--approve", "yes")
    assert refused(house, "vote", name, "--as", "cleo", "--approve", "no") == "decision_rejected"
    assert refused(house, "close", name) == "decision_rejected"
    ballot = str(tmp_path / "ballot.json")
    panel(house, "vote", name, "--as", "dina", "--approve", "yes", "--out", ballot)
    (standing,) = panel(house, "state")
    assert (standing["state"], standing["missing"]) == ("open", ["dina", "ed"])
    panel(house, "vote", "--ballot", ballot)
    panel(house, "vote", name, "--as", "ed", "--approve", "no", "--reason", "too early")
    clock.advance(7_200_000)
    closed = panel(house, "close", name, "--as", "approver-1")
    assert (closed["outcome"], closed["minority"]) == ("yes", ["ed"])
    assert panel(house, "verify", name)["checked"] == ["votes"]
    told = run("panel", "state", name, "--workspace", str(house)).stdout
    assert "outcome: yes" in told
    assert "ed says: too early" in told
    assert run("evidence", "verify", "--workspace", str(house)).exit_code == 0


def test_a_called_panel_and_its_briefing_pack(
    house: Path, tmp_path: Path, clock: FixedClock
) -> None:
    people = tmp_path / "people.csv"
    people.write_text("name,region\na1,n\na2,n\nb1,s\nb2,s\n")
    terms = ["--list", str(people), "--source", "round 7", "--stratum", "region"]
    quotas = ["--quota", "n=1", "--quota", "s=1"]
    words = ["call", *terms, *quotas, "--seats", "2"]
    assert refused(house, *words, "--seed-from", "2020-01-01") == "decision_rejected"
    call = panel(house, *words, "--seed-from", "+1h")
    drawing = ["draw", call["panel"], "--list", str(people), "--seed", "c0ffee"]
    assert refused(house, *drawing) == "seed_too_early"
    clock.advance(3_600_000)
    drawn = panel(house, *drawing)["drawn"]
    assert sorted(name[0] for name in drawn) == ["a", "b"]
    seed = ["--called", call["panel"], "--list", str(people), "--seed", "c0ffee"]
    members = [w for n in drawn for w in ("--member", panel(house, "key", n)["public"])]
    asked = ["--question", "Wider?", "--quorum", "2", "--until", "+1h"]
    pack = str(brief_of(house, tmp_path / "pack"))
    panel(house, "open", *asked, *members, *seed, "--brief", pack)
    checks = ["--list", str(people), "--brief", pack]
    checked = panel(house, "verify", call["panel"], *checks)["checked"]
    assert checked == ["votes", "draw", "briefing pack"]
    (tmp_path / "pack" / "leaflet.md").write_text("vote yes")
    assert refused(house, "verify", call["panel"], *checks) == "brief_changed"


def brief_of(house: Path, folder: Path) -> Path:
    """A pack on the example's audit, which is signed by the example's own keys."""
    trust = (house / "trust.json").read_bytes()
    shutil.copytree(EXAMPLE, house / "audits" / EXAMPLE.name)
    save_trust(house / "trust.json", example_trust())
    try:
        assert panel(house, "brief", str(folder), "--question", "Wider?")["redacted"] == []
    finally:
        (house / "trust.json").write_bytes(trust)
    return folder


def test_times_quotas_and_rankings_are_read_strictly() -> None:
    assert moment("+2h", 5) == 5 + 7_200_000
    assert moment("2026-11-24", 0) > 0
    assert ranks_of("a > b = c") == [["a"], ["b", "c"]]
    assert quotas_of(["north=2", "a=b=3"]) == {"north": 2, "a=b": 3}
    for bad in (["north"], ["north=x"], ["n=1", "n=2"]):
        with pytest.raises(Invalid):
            quotas_of(bad)
    with pytest.raises(Invalid):
        moment("+2y", 0)
