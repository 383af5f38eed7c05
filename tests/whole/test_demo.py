"""`dutchdoor demo` on the real model: the whole way, twice, without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.check_log import check_log

BIN = Path(sys.executable).parent


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_walks_the_whole_way_without_a_terminal(
    tmp_path: Path, model_folder: Path
) -> None:
    # The demo sets the model's folder aside while it runs: it gets a link of its own to move.
    model = tmp_path / "model"
    subprocess.run(["cp", "-r", "--reflink=auto", str(model_folder), str(model)], check=True)
    workspace = tmp_path / "demo"
    command = [str(BIN / "dutchdoor"), "demo", "--json", "--no-keep"]
    command += ["--workspace", str(workspace), "--model", str(model)]
    command += ["--samples", "6", "--examples", "300"]
    ran = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "CI": "true", "OMP_NUM_THREADS": "2"},
        timeout=1100,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    facts = json.loads(ran.stdout)
    assert " of 576 independent vectors released" in facts["vectors"]
    assert facts["verified"]["receipts"] > 0
    assert facts["verified"]["flip_found"]
    assert (model / "config.json").is_file(), "the model's folder is back in its place"
    check_log(workspace / "evidence", workspace / "trust.json")
    again = subprocess.run(
        [str(BIN / "dutchdoor"), "demo", "--workspace", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert again.returncode == 1, "a folder that the demo did not make is never removed"
    assert "not_a_demo" in again.stderr
