"""Where evaluations run changes no figure, and a run that was killed goes on where it was."""

from __future__ import annotations

import importlib.util
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.audit.evaluate import log_digest, run_evaluations
from dutchdoor.audit.fan import LocalFan, RayFan
from dutchdoor.audit.items import short_answers
from dutchdoor.errors import Invalid, Unavailable
from tests.audit.parts import OPTIONS, endpoint, openai_server

pytest.importorskip("inspect_ai")

NAMES = ("capability_short_answers", "capability_arithmetic")
SHORT = {item.text for item in short_answers()}


def workers_of_ours() -> list[int]:
    """The evaluation processes that this process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(path.joinpath("stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid() and b"audit.worker" in path.joinpath("cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return found


def test_a_run_whose_worker_is_killed_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    def deadly(prompt: str) -> str:
        if prompt not in SHORT:  # The second evaluation has begun.
            for pid in workers_of_ours():
                os.kill(pid, signal.SIGKILL)
        return "4"

    with openai_server(deadly) as (url, _), pytest.raises(Unavailable) as caught:
        run_evaluations(NAMES, endpoint(url), OPTIONS, tmp_path)
    assert caught.value.code == "evaluation_failed"
    assert [path.name for path in tmp_path.glob("*.finished.json")] == [
        "capability_short_answers.finished.json"
    ]
    with openai_server(lambda _: "4") as (url, asked):
        first, second = run_evaluations(NAMES, endpoint(url), OPTIONS, tmp_path)
        prompts = {row["messages"][-1]["content"] for row in asked}
        assert not prompts & SHORT, "what had finished is not asked again"
        assert (first.n, second.n) == (4, 4)
        count = len(asked)
        again = run_evaluations(NAMES, endpoint(url), OPTIONS, tmp_path)
        assert again == (first, second)
        assert len(asked) == count
    # A log that was changed, or another bundle: nothing of it is taken for a result.
    (tmp_path / first.log).write_bytes(b"changed")
    nowhere = "http://127.0.0.1:1/v1"
    other = endpoint(nowhere, "sha256:" + "f" * 64)
    dead = replace(OPTIONS, fan=LocalFan(0))  # Whoever has to measure is refused at once.
    assert run_evaluations(NAMES[1:], endpoint(nowhere), dead, tmp_path) == (second,)
    for name, where in ((NAMES[0], endpoint(nowhere)), (NAMES[1], other)):
        with pytest.raises(Invalid):
            run_evaluations([name], where, dead, tmp_path)


def test_two_processes_give_the_figures_of_one(tmp_path: Path) -> None:
    with openai_server(lambda _: "12") as (url, _):
        one = run_evaluations(NAMES, endpoint(url), OPTIONS, tmp_path / "one")
        two = run_evaluations(
            NAMES, endpoint(url), replace(OPTIONS, fan=LocalFan(2)), tmp_path / "two"
        )
    for left, right in zip(one, two, strict=True):
        assert (left.name, left.n, left.hits) == (right.name, right.n, right.hits)
        assert left.samples_digest == right.samples_digest


def test_a_fan_of_no_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        LocalFan(0).run({"evaluations": ["refusal"]}, {}, 1, lambda _: None)


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_a_run_over_it_says_what_to_install(tmp_path: Path) -> None:
    options = replace(OPTIONS, fan=RayFan())
    with pytest.raises(Unavailable) as caught:
        run_evaluations(NAMES, endpoint("http://127.0.0.1:1/v1"), options, tmp_path)
    assert caught.value.code == "fan_missing"


@pytest.mark.ray
@pytest.mark.slow
def test_ray_gives_the_figures_and_digests_of_a_local_run(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    fanned = replace(OPTIONS, fan=RayFan())
    with openai_server(lambda prompt: str(len(prompt) % 40)) as (url, _):
        one = run_evaluations(NAMES, endpoint(url), OPTIONS, tmp_path / "one")
        two = run_evaluations(NAMES, endpoint(url), fanned, tmp_path / "two")
    for local, far in zip(one, two, strict=True):
        # A log says when and where it was made; all else is the same, bit for bit.
        assert replace(far, log=local.log, log_digest=local.log_digest) == local
        assert far.samples_digest == local.samples_digest
        assert log_digest(tmp_path / "two" / far.log) == far.log_digest
    kept = run_evaluations(NAMES, endpoint("http://127.0.0.1:1/v1"), fanned, tmp_path / "two")
    assert kept == two, "what Ray finished is taken for a result by the next run"


@pytest.mark.ray
@pytest.mark.slow
def test_a_failure_on_a_worker_is_ours_and_what_finished_before_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    fanned = replace(OPTIONS, fan=RayFan())

    def failing(prompt: str) -> str:
        return "4" if prompt in SHORT else "FAIL"

    with openai_server(failing) as (url, _), pytest.raises(Unavailable) as caught:
        run_evaluations(NAMES, endpoint(url), fanned, tmp_path)
    assert caught.value.code == "evaluation_failed"
