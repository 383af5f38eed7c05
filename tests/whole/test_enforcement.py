"""What runs is what was decided, or nothing runs: with the real processes."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dutchdoor.app import keys
from dutchdoor.app.background import start_background, wait_ready
from dutchdoor.app.running import Running, find_running
from dutchdoor.cli.main import app
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.terms import CustodyTerms, RuntimeTerms
from dutchdoor.guard.starter import starter_set
from dutchdoor.weights.folder import open_folder
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.deciding import decide
from tests.whole.house import House, make_house, served

STOPPED_S_MAX = 60.0
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
CHAT = "/v1/chat/completions"
FIT = "/v1/dutchdoor/guard/fit"
EGRESS_BYTES = 3_000
WATCHED_S = 4.0
"""Longer than the grace that a change of the decision has, so that several looks fall into it."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("enforced")
    return make_house(root / "house", write_tiny_model(root / "model"))


@pytest.fixture(scope="module")
def running(house: House) -> Iterator[Running]:
    custody = CustodyTerms(shares_min=2, custodians_min=3, copies_max=2, grade="software")
    hardening = ("no_core", "no_new_privileges", "not_dumpable")
    decide(house, custody=custody, runtime=RuntimeTerms(hardening=hardening, tools=False))
    with served(house) as found:
        yield found
    check_log(house.workspace.places.evidence, house.workspace.places.trust)


def cli(house: House, *arguments: str) -> tuple[int, dict[str, Any]]:
    root = str(house.workspace.places.root)
    ran = CliRunner().invoke(app, [*arguments, "--workspace", root, "--json"])
    return ran.exit_code, json.loads(ran.stdout) if ran.stdout.strip() else {}


def code_of(house: House, url: str) -> str:
    status, body = house.ask(url, CHAT, QUESTION)
    return "" if status == 200 else str(body["error"]["code"])


def until(house: House, url: str, code: str) -> str:
    """The code that requests end with, once it is `code`, or the last one seen."""
    end_s = time.monotonic() + STOPPED_S_MAX
    found = code_of(house, url)
    while found != code and time.monotonic() < end_s:
        time.sleep(0.1)
        found = code_of(house, url)
    return found


def kinds(house: House) -> list[str]:
    reader = LogReader(house.workspace.places.evidence)
    return [str(Entry.decode(data).kind) for _, data in reader.entries()]


def test_what_runs_as_decided_is_the_same_in_every_row(house: House, running: Running) -> None:
    assert code_of(house, running.url) == ""
    exit_code, value = cli(house, "release", "diff")
    assert exit_code == 0
    assert value["same"]
    whats = {row["what"] for row in value["rows"]}
    assert {"rules in decision.cedar", "copies known", "hardening no_core", "probe"} <= whats


def test_a_decision_without_tools_refuses_tool_calls_as_its_own_rule(
    house: House, running: Running
) -> None:
    tools = [{"type": "function", "function": {"name": "shell", "parameters": {}}}]
    status, body = house.ask(running.url, CHAT, {**QUESTION, "tools": tools})
    assert (status, body["error"]["code"]) == (403, "tools_forbidden")
    rules = (house.workspace.places.policies / "decision.cedar").read_text()
    assert "context.tools" in rules


def test_rules_edited_by_hand_stop_the_system_until_they_are_compiled_again(
    house: House, running: Running
) -> None:
    path = house.workspace.places.policies / "decision.cedar"
    first = path.read_text().splitlines()
    path.write_text("\n".join(line for line in first if "context.tools" not in line) + "\n")
    assert until(house, running.url, "policies_differ") == "policies_differ"
    status, why = _readiness(running.url)
    assert status == 503
    assert why["troubles"][0]["code"] == "policies_differ"
    end_s = time.monotonic() + STOPPED_S_MAX
    while find_running(house.workspace.places).runtime_pid and time.monotonic() < end_s:
        time.sleep(0.1)
    assert find_running(house.workspace.places).runtime_pid == 0, "the plaintext is still in memory"
    exit_code, value = cli(house, "release", "diff")
    assert exit_code == 1
    assert [row["code"] for row in value["rows"] if not row["same"]] == ["policies_differ"]
    assert cli(house, "release", "compile")[0] == 0
    assert until(house, running.url, "") == ""


def test_another_quorum_in_the_bundles_place_stops_the_system(
    house: House, running: Running, tmp_path: Path
) -> None:
    path = house.bundle.path
    shutil.copytree(path, tmp_path / "before")
    folder = open_folder(path, house.workspace.trust.holder)
    shares = replace(folder.shares, shares=folder.shares.shares[:2])
    before = folder.manifest.custody
    custody = replace(before, custodians=before.custodians[:2], shares=_digest(shares.encode()))
    manifest = replace(folder.manifest, custody=custody)
    assert manifest.digest == house.bundle.digest, "who opens it is not what is in it"
    (path / "shares.json").write_bytes(shares.encode())
    (path / "manifest.json").write_bytes(manifest.sign(keys.holder(house.workspace.places)))
    try:
        assert until(house, running.url, "custody_custodians") == "custody_custodians"
    finally:
        for name in ("shares.json", "manifest.json"):
            shutil.copyfile(tmp_path / "before" / name, path / name)
    assert until(house, running.url, "") == ""


def test_no_copy_beyond_the_number_that_was_decided(
    house: House, running: Running, tmp_path: Path
) -> None:
    assert cli(house, "custody", "copy", "--to", str(tmp_path / "second"))[0] == 0
    before = kinds(house)
    assert cli(house, "custody", "copy", "--to", str(tmp_path / "third"))[0] == 1
    assert not (tmp_path / "third").exists()
    assert kinds(house).count("copy_made") == before.count("copy_made") == 1
    assert code_of(house, running.url) == ""


def test_a_runtime_with_other_settings_than_decided_serves_nobody(
    house: House, running: Running
) -> None:
    """The decision changes to one that demands more; the runtime is opened anew, or not at all."""
    decided = decide(house, runtime=RuntimeTerms(egress_bytes_day_max=1_000_000))
    wait_ready(house.workspace.places, decided.id, 60)
    value = cli(house, "release", "diff")[1]
    assert value["days_to_leave"] == -(-value["sealed_bytes"] // 1_000_000)
    rows = {row["what"]: row["runs"] for row in value["rows"]}
    assert rows["bytes leaving a day"] == "at most 1000000"
    found: Any = cli(house, "doctor")[1]
    (told,) = [row["what"] for row in found if row["group"] == "egress"]
    assert f"take {value['days_to_leave']} days" in told


def test_a_probe_that_the_audit_fits_inside_does_not_stop_what_runs_under_a_decision_without_one(
    tmp_path: Path,
) -> None:
    """At birth no probe is decided: the one that is fitted then is watched, and disturbs nobody."""
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    with served(house) as found:
        examples = [
            {"text": row.text, "label": row.label, "source": row.source, "category": row.category}
            for row in starter_set(60)
        ]
        status, body = house.ask(found.url, FIT, {"model": "tiny", "examples": examples, "seed": 0})
        assert status == 200, body
        end_s = time.monotonic() + WATCHED_S
        while time.monotonic() < end_s:
            assert code_of(house, found.url) == ""
            time.sleep(0.2)
        assert _readiness(found.url)[0] == 200
        assert find_running(house.workspace.places).runtime_pid, "the runtime was closed"
        exit_code, value = cli(house, "release", "diff")
        probe = next(row for row in value["rows"] if row["what"] == "probe")
        assert (exit_code, probe["same"], probe["runs"]) == (0, True, body["digest"])


def test_custodians_demanded_in_hardware_release_nothing_to_software(tmp_path: Path) -> None:
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    decide(house, custody=CustodyTerms(grade="tpm"))
    with pytest.raises(Unavailable) as caught:
        start_background(house.workspace.places, port=0)
    assert "custody_grade" in caught.value.hint
    assert "key_released" not in kinds(house)


def test_what_left_a_day_is_counted_through_a_restart_and_a_lost_count_opens_nothing(
    tmp_path: Path,
) -> None:
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    decide(house, runtime=RuntimeTerms(egress_bytes_day_max=EGRESS_BYTES))
    with served(house) as first:
        assert code_of(house, first.url) == ""
        asked = {**QUESTION, "max_tokens": 64}
        ends = [house.ask(first.url, CHAT, asked) for _ in range(20)]
        status, body = ends[-1]
        assert (status, body["error"]["code"]) == (429, "egress_exhausted")
    with served(house) as second:
        assert code_of(house, second.url) == "egress_exhausted"
    shutil.rmtree(house.workspace.places.meters)
    with pytest.raises(Unavailable) as caught:
        start_background(house.workspace.places, port=0)
    assert "egress_meter_lost" in caught.value.hint


def _readiness(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def _digest(data: bytes) -> str:
    import hashlib

    return "sha256:" + hashlib.sha256(data).hexdigest()
