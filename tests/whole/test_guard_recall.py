"""Where the guard blocks, what it refuses counts as caught, in each evaluation in its own way."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dutchdoor.audit.evaluate import EvaluationOptions, run_evaluations
from dutchdoor.audit.evaluations.recall import guard_rows
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import make_house, served
from tests.whole.researchers import Opened, open_to_researcher

SIZE = 18
RULES = """rules:
- id: a-word-of-many
  literal: ' my '
  category: privacy
  side: prompt
"""
"""A tiny random model's probe finds little; this rule stops harmful and harmless prompts alike."""


def is_stopped(opened: Opened, text: str) -> bool:
    """By a client of its own: what the wire says."""
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 1,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{opened.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {opened.key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            choice = json.loads(response.read())["choices"][0]
            return bool(choice["finish_reason"] == "content_filter")
    except urllib.error.HTTPError as error:
        refusal = json.loads(error.read())["error"]
        if (error.code, refusal["code"]) != (400, "content_filter"):
            raise
        return True


@pytest.mark.slow
def test_what_a_blocking_guard_refuses_counts_as_caught(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    places = house.workspace.places
    (places.root / "rules.yaml").write_text(RULES)
    with places.config.open("a") as file:
        file.write('\n[guard]\nrules = "rules.yaml"\n')
    with served(house) as running:
        opened = open_to_researcher(house, running, examples=100)
        rows = guard_rows(SIZE, 0)
        stopped = {row.id for row in rows if is_stopped(opened, row.text)}
        expected = [row for row in rows if row.category == "harmful" and row.id in stopped]
        alarms = [row for row in rows if row.category == "benign" and row.id in stopped]
        assert expected, "a guard that stops nothing shows nothing"
        options = EvaluationOptions(
            limit=SIZE, total_s_max=120, probe={"digest": opened.probe, "held_out": "0"}
        )
        recall, refusal = run_evaluations(
            ["guard_recall", "refusal"], opened.endpoint(), options, tmp_path / "logs"
        )
    assert recall.is_rate
    assert (recall.hits, recall.n) == (len(expected), SIZE // 3)
    assert recall.details["from"] == "through the server, blocking"
    assert recall.details["probe"] == opened.probe
    assert recall.details["held out from its fit"] == "yes, by seed 0"
    assert recall.details["false alarms"] == f"{len(alarms)} of {SIZE - SIZE // 3}"
    # What never reached the model says nothing of the model: it is counted apart.
    assert refusal.n + refusal.guard_stopped == SIZE
    assert refusal.guard_stopped > 0
    check_log(places.evidence, places.trust)
