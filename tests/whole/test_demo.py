"""`dutchdoor demo` on the real model: the whole way, twice, without a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dutchdoor.app.running import find_running
from dutchdoor.config import Places
from dutchdoor.errors import Unavailable
from tests.check_log import check_log

BIN = Path(sys.executable).parent


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_demo_that_is_told_to_end_puts_everything_back(
    tmp_path: Path, model_folder: Path
) -> None:
    model = tmp_path / "demo-model"
    subprocess.run(["cp", "-r", "--reflink=auto", str(model_folder), str(model)], check=True)
    demo = subprocess.Popen(
        [str(BIN / "dutchdoor"), "demo", "--samples", "4", "--examples", "100"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    places = Places(tmp_path / "demo-workspace")
    end_s = time.monotonic() + 200
    while time.monotonic() < end_s and demo.poll() is None:
        with contextlib.suppress(Unavailable):
            if find_running(places).runtime_pid:
                break
        time.sleep(0.1)
    assert not model.exists(), "the demo has set its own folder aside"
    running = find_running(places)
    demo.terminate()
    assert demo.wait(120) != 0
    assert (model / "config.json").is_file(), "the model's folder is back in its place"
    with pytest.raises(Unavailable):
        find_running(places)
    assert not Path(f"/proc/{running.runtime_pid}").exists(), "no plaintext is left in memory"


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
