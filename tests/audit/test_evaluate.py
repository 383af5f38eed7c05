"""Evaluations run offline through a real server, and keep no answer to a harmful request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.audit.evaluate import SHORT_NAMES, log_digest, run_evaluations
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.items import harmful, short_answers
from dutchdoor.errors import Invalid, Unavailable
from tests.audit.parts import (
    API_KEY,
    BUNDLE,
    OPTIONS,
    OTHER_BUNDLE,
    PROBE,
    People,
    collected,
    endpoint,
    openai_server,
    settle_all,
)

pytest.importorskip("inspect_ai")

CANARY = "CANARYanswerCANARY"
RIGHT = {item.text: item.answers[0] for item in short_answers()}
HARMFUL = {item.text for item in harmful()}


def answer(prompt: str) -> str:
    if prompt in RIGHT:
        return f"It is {RIGHT[prompt]}."
    return f"Sure, here is {CANARY}." if prompt in HARMFUL else "I'm sorry, but I can't help."


def test_figures_come_from_real_requests_and_progress_is_told(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    def progress(name: str, done: int, total: int) -> None:
        heard.append((name, done, total))

    with openai_server(answer) as (url, asked):
        rows = run_evaluations(SHORT_NAMES, endpoint(url), OPTIONS, tmp_path, progress)
    figures = {row.name: (row.hits, row.n, row.score) for row in rows}
    assert figures == {
        "capability_short_answers": (4, 4, "1.000"),
        "refusal": (0, 4, "0.000"),
        "over_refusal": (4, 4, "1.000"),
    }
    assert {row.bundle for row in rows} == {BUNDLE}
    assert len(asked) == 12
    assert all(row["max_tokens"] == 48 and row["temperature"] == 0 for row in asked)
    assert all(row["authorization"] == f"Bearer {API_KEY}" for row in asked)
    assert sorted(heard) == sorted((name, n, 4) for name in SHORT_NAMES for n in range(1, 5))
    for row in rows:
        assert log_digest(tmp_path / row.log) == row.log_digest


def read_log(path: Path) -> str:
    """Everything a log holds, uncompressed, as the evaluation stack itself reads it."""
    program = (
        "import sys; from inspect_ai.log import read_eval_log; "
        "print(read_eval_log(sys.argv[1]).model_dump_json())"
    )
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_no_answer_to_a_harmful_request_and_no_key_is_ever_written(tmp_path: Path) -> None:
    with openai_server(lambda _: f"Sure: {CANARY}") as (url, asked):
        names = ["refusal", "capability_short_answers"]
        refusal, capability = run_evaluations(names, endpoint(url), OPTIONS, tmp_path)
    text = read_log(tmp_path / refusal.log)
    assert CANARY not in text
    prompts = [row["messages"][-1]["content"] for row in asked]
    assert not [prompt for prompt in prompts if prompt in HARMFUL and prompt in text]
    reductions = json.loads(text)["reductions"][0]["samples"]
    assert len(reductions) == 4
    for row in reductions:
        assert row["metadata"]["verdict"] == "complied"
        assert row["metadata"]["answer_digest"].startswith("sha256:")
    # A harmless evaluation keeps its samples, so that a reader can see what was asked and said.
    kept = read_log(tmp_path / capability.log)
    assert CANARY in kept
    for path in (refusal.log, capability.log):
        assert API_KEY not in read_log(tmp_path / path)
    assert {row.name for row in tmp_path.iterdir()} == {
        name
        for row in (refusal, capability)
        for name in (row.log, row.samples, f"{row.name}.finished.json")
    }
    for file in tmp_path.glob("refusal.*.json"):
        beside = file.read_text()
        assert CANARY not in beside
        assert not [prompt for prompt in prompts if prompt in HARMFUL and prompt in beside]


def test_what_the_guard_stopped_counts_neither_as_refusal_nor_as_compliance(
    tmp_path: Path,
) -> None:
    stopped = iter(["GUARD", "I cannot help with that.", "Sure.", "Sure."])
    with openai_server(lambda _: next(stopped)) as (url, _):
        (row,) = run_evaluations(["refusal"], endpoint(url), OPTIONS, tmp_path)
    assert (row.n, row.hits, row.guard_stopped) == (3, 1, 1)


def test_a_server_that_fails_gives_no_figure_at_all_and_its_own_reason_is_told(
    tmp_path: Path,
) -> None:
    calls = iter(range(1000))
    with (
        openai_server(lambda _: "FAIL" if next(calls) > 1 else CANARY) as (url, _),
        pytest.raises(Unavailable) as caught,
    ):
        run_evaluations(["refusal"], endpoint(url), OPTIONS, tmp_path)
    assert caught.value.code == "evaluation_failed"
    assert "503 guard_mismatch: what runs is not what was decided: probe" in str(caught.value)
    assert "RetryError" not in str(caught.value)
    assert API_KEY not in f"{caught.value} {caught.value.hint}"
    for path in tmp_path.glob("*.eval"):
        assert CANARY not in read_log(path)


def test_the_key_is_in_no_argument_and_no_description(tmp_path: Path) -> None:
    assert API_KEY not in repr(endpoint("http://127.0.0.1:1/v1"))
    seen: list[str] = []

    def look(prompt: str) -> str:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if path.stat().st_uid == os.getuid():
                    seen.append(path.read_bytes().decode(errors="replace"))
            except OSError:
                continue
        return "4"

    with openai_server(look) as (url, _):
        run_evaluations(["capability_short_answers"], endpoint(url), OPTIONS, tmp_path)
    assert any("dutchdoor.audit.worker" in line for line in seen)
    assert not [line for line in seen if API_KEY in line]


def test_an_unknown_evaluation_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        run_evaluations(["mmlu"], endpoint("http://127.0.0.1:1/v1"), OPTIONS, tmp_path)
    assert "refusal" in caught.value.hint


def test_an_audit_runs_against_the_server_and_finds_what_it_found(tmp_path: Path) -> None:
    people = People()
    audit = collected(tmp_path, people)
    with pytest.raises(Invalid) as caught:
        audit.run(endpoint("http://127.0.0.1:1/v1", OTHER_BUNDLE))
    assert caught.value.code == "other_bundle"
    with openai_server(answer) as (url, _):
        findings = audit.run(endpoint(url), probe=PROBE, options=OPTIONS)
    ids = {finding.id for finding in findings}
    assert {"refusal", "over-refusal", "small-samples", "unlock-untested"} <= ids
    assert "no-probe" not in ids
    settle_all(audit)
    audit.sign(people.first)
    text = (audit.path / "T2-testing.md").read_text()
    assert "hardly refuses by itself" in text
    assert CANARY not in text


def test_the_tasks_are_registered_for_other_harnesses() -> None:
    from importlib.metadata import entry_points

    found = [point.value for point in entry_points(group="inspect_ai")]
    if "dutchdoor.audit.inspect_eval" not in found:
        pytest.skip("the package was installed before the entry point was added")
    program = (
        "from inspect_ai._util.entrypoints import ensure_entry_points; "
        "from inspect_ai._util.registry import registry_lookup; "
        "ensure_entry_points('dutchdoor'); "
        "print(registry_lookup('task', 'dutchdoor/refusal') is not None)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "True"


def test_a_foreign_server_gives_the_figures_it_can_and_a_reason_for_the_rest(
    tmp_path: Path,
) -> None:
    names = ("refusal", "canaries", "planted_canaries", "calibration", "extraction", "guard_recall")
    planted = (Canary("the code is {}", "7391", "digits"),)
    options = replace(OPTIONS, canaries=planted)
    with openai_server(answer) as (url, _):
        rows = {row.name: row for row in run_evaluations(names, endpoint(url), options, tmp_path)}
    assert rows["refusal"].is_measured
    told = {name: row.text for name, row in rows.items() if not row.is_measured}
    assert set(told) >= {"canaries", "planted_canaries", "calibration", "guard_recall"}
    assert all(text.startswith("not measured: ") for text in told.values())
    assert "no log-probabilities" in told["calibration"]
    assert "status 404" in told["planted_canaries"]
    assert "7391" not in str(told)
    # Nothing was read out of a server that gives nothing: no layer, and no false alarm.
    assert "extraction" in told or rows["extraction"].score == "1.000"
