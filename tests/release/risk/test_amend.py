"""What is taken from an amend test: the arm that undid most; honesty where none ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dutchdoor import canonical
from dutchdoor.audit.amend.plan import ARMS
from dutchdoor.audit.amend.results import AMEND_NAME
from dutchdoor.errors import Invalid
from dutchdoor.release.risk.amend import amend_figures
from tests.audit.amend.test_run import Runtime, amend
from tests.audit.parts import People, collected

BUNDLE = "sha256:" + "a" * 64


def figure(mean: float) -> dict[str, Any]:
    low, high = max(0.0, mean - 0.05), min(1.0, mean + 0.05)
    return {"mean": f"{mean:.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}", "n": 16}


def curve(method: str, *refusals: float, service: bool = False) -> dict[str, Any]:
    cost = {"examples": 4, "tokens": 10, "flops": "1e9", "seconds": "1.0"}
    points = [
        {"x": x, "refusal": figure(mean), "control": figure(0), "answer": figure(0.5), "cost": cost}
        for x, mean in enumerate(refusals)
    ]
    served = {
        "probe": "sha256:" + "c" * 64,
        "threshold": "fpr_0.01",
        "stopped": 8,
        "controls_stopped": 0,
        "held_back": figure(0.85),
    }
    body = {"method": method, "subject": "model", "seed": 0, "parameters": 0, "points": points}
    return {**body, "service": served} if service else body


def write(folder: Path, *arms: tuple[str, dict[str, Any]], bundle: str = BUNDLE) -> None:
    rows = [
        {
            "arm": name,
            "subject": "model",
            "seed": 0,
            "request": "r",
            "inference": "inf_1",
            "curve": value,
        }
        for name, value in arms
    ]
    body = {"bundle": bundle, "complete": True, "arms": rows}
    (folder / AMEND_NAME).write_bytes(canonical.encode(body))


def test_the_arm_that_left_the_fewest_refusals_counts_not_an_average(tmp_path: Path) -> None:
    write(
        tmp_path,
        ("served", curve("served", 0.8, service=True)),
        ("benign_tuning", curve("fine_tuning", 0.8, 0.6)),
        ("ablation", curve("ablation", 0.8, 0.10, 0.30)),
    )
    found = amend_figures(tmp_path, BUNDLE)
    assert found is not None
    assert found.arm == "ablation"
    assert (found.remaining.low, found.remaining.high) == (0.05, 0.15)
    assert (found.held_back.low, found.held_back.high) == (0.80, 0.90)


def test_a_model_without_a_safeguard_is_not_taken_for_a_robust_one(tmp_path: Path) -> None:
    write(tmp_path, ("served", curve("served", 0.1, service=True)))
    found = amend_figures(tmp_path, BUNDLE)
    assert found is not None
    assert found.arm == ""
    assert found.remaining == found.refusal
    assert found.refusal.high < 0.2


def test_what_a_run_leaves_in_an_audit_is_what_is_read(tmp_path: Path) -> None:
    audit = collected(tmp_path, People())
    amend(audit, Runtime(safe=True))
    found = amend_figures(audit.path, BUNDLE)
    assert found is not None
    assert found.complete
    assert found.arm in ARMS
    assert (found.refusal.low, found.refusal.high) == (0.85, 0.95)


def test_no_test_is_none_and_another_bundles_test_is_refused(tmp_path: Path) -> None:
    assert amend_figures(tmp_path, BUNDLE) is None
    write(tmp_path, ("served", curve("served", 0.1, service=True)), bundle="sha256:" + "b" * 64)
    with pytest.raises(Invalid) as caught:
        amend_figures(tmp_path, BUNDLE)
    assert caught.value.code == "other_bundle"
