"""What this host gives is tried, and what it does not give says why."""

from __future__ import annotations

import json
import subprocess
import sys

from typer.testing import CliRunner

from dutchdoor.app.doctor import Finding, examine
from dutchdoor.cli.main import app
from dutchdoor.config import Config, RuntimeConfig
from dutchdoor.runtime.hardening import NAMES


def test_every_protection_is_tried_and_every_missing_one_explained() -> None:
    found = examine()
    hardening = [row.name for row in found if row.group == "hardening"]
    assert hardening == list(NAMES)
    for row in found:
        assert row.what
        assert bool(row.why) == (row.there is False), row
    assert {"secret_memory", "no_swap", "tpm", "tee"} <= {row.name for row in found}


def test_trying_changes_nothing_of_this_process() -> None:
    examine()
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def test_a_tpm_that_is_reached_in_no_known_way_is_missing_and_not_an_error() -> None:
    found = examine(Config(runtime=RuntimeConfig(tpm="no such way")))
    (row,) = [row for row in found if row.name == "tpm"]
    assert (row.there, bool(row.hint)) == (False, True)


def test_the_command_says_it_anywhere_and_ends_with_0() -> None:
    ran = CliRunner().invoke(app, ["doctor", "--json"])
    assert ran.exit_code == 0
    rows = [Finding(**row) for row in json.loads(ran.stdout)]
    assert rows[0].group == "hardening"
    text = CliRunner().invoke(app, ["doctor"])
    assert text.exit_code == 0
    assert "own_network" in text.stdout
