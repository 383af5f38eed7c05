"""Audits with something to show, and one that was written by somebody hostile."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.filling import ProbeFacts, fill_amend, put_findings
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import Finding, Severity
from dutchdoor.audit.outputs.material import Material, gather
from dutchdoor.audit.service import Audit
from tests.audit.parts import BUNDLE, People, Recorder, examined, settle_all

HOSTILE = "<script>alert(1)</script> | [x](javascript:1) $\\frac{1}{2}$ \x1b[31m\u202e --> ]]> '\"&"
CONTROLS = ("\x1b", "\u202e")

RATE = {"value": "0.7100", "low": "0.6400", "high": "0.7700"}
RATES = dict.fromkeys(("fpr_0.001", "fpr_0.01", "fpr_0.05"), RATE)
CARD = {
    "thresholds": {"fpr_0.01": {}},
    "sources_left_out": {"recall": RATES, "auroc": RATE},
    "out_of_fold": {"recall": RATES, "auroc": RATE},
    "by_hazard": {"hate": {"examples": 6, "recall": {"fpr_0.01": RATE}}},
    "examples": {"benign": 20, "harmful": 10},
    "limits": ["These figures flatter."],
}
PROBE = ProbeFacts("sha256:" + "c" * 64, canonical.encode(CARD))

FACTS = """\
provider: Example Ltd
licence: Apache-2.0
version: '1.0'
release_date: '2026-10-01'
download_location: https://example.org/weights
parameters: 134515008
languages: [en]
intended_uses: [answering questions]
components:
  Model parameters (Final): {licence: Apache-2.0, path: https://example.org/weights}
  Model card: {licence: CC-BY-4.0}
"""


def figure(mean: str, low: str, high: str) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": 16}


def point(x: int, refusal: dict[str, Any], flops: str) -> dict[str, Any]:
    cost = {"examples": x, "tokens": 10 * x, "flops": flops, "seconds": "1.0"}
    return {"x": x, "refusal": refusal, "control": figure("0.01", "0.0", "0.02"), "cost": cost}


def row(arm: str, seed: int, points: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    subject = "model" if arm == "served" else "organism"
    curve = {
        "method": "tuning",
        "subject": subject,
        "seed": seed,
        "parameters": 9,
        "points": points,
    }
    return {
        "arm": arm,
        "subject": subject,
        "seed": seed,
        "request": "sha256:" + "1" * 64,
        "inference": f"inf_{seed}",
        "curve": {**curve, **more},
    }


LOW, MIDDLE, HIGH = ("0.01", "0.0", "0.05"), ("0.5", "0.4", "0.6"), ("0.9", "0.8", "0.95")
SERVICE = {
    "probe": "sha256:" + "c" * 64,
    "threshold": "fpr_0.01",
    "stopped": 2,
    "controls_stopped": 0,
    "held_back": figure(*MIDDLE),
}
STEPS = [
    point(0, figure(*HIGH), "0.00e+00"),
    point(4, figure(*MIDDLE), "2.10e+10"),
    point(16, figure(*LOW), "9.10e+13"),
]
AMEND: dict[str, Any] = {
    "bundle": BUNDLE,
    "complete": True,
    "model": "smol",
    "arms": [
        row("served", 0, [point(0, figure(*LOW), "0.00e+00")], service=SERVICE),
        row("direct_tuning", 0, STEPS),
        row("direct_tuning", 1, STEPS),
    ],
}


def drafted(folder: Path, people: People) -> Audit:
    """A running audit with figures, a probe, curves and stated facts."""
    audit = examined(folder, people, probe=PROBE)
    (audit.path / "facts.yaml").write_text(FACTS)
    (audit.path / "amend.json").write_bytes(canonical.encode(AMEND))
    fill_amend(AuditFolder(audit.path))
    return audit


def finished(folder: Path, people: People) -> Audit:
    """The same, completed."""
    audit = drafted(folder, people)
    settle_all(audit)
    audit.sign(people.first)
    audit.complete(people.first, Recorder())
    return audit


def hostile(folder: Path, people: People) -> Material:
    """The material of an audit in which every text that somebody may write is hostile."""
    audit = drafted(folder, people)
    files = AuditFolder(audit.path)
    finding = Finding(
        id="own <b>finding</b> $x$",
        severity=Severity.CRITICAL,
        principle="safety",
        harm=HOSTILE,
        text=HOSTILE,
        mitigations=(HOSTILE,),
    )
    found = (*audit.status().findings, finding)
    put_findings(files, [replace(row, by=HOSTILE) for row in found])
    text = json.dumps(HOSTILE)
    facts = [
        f"{name}: {text}"
        for name in ("provider", "licence", "architecture", "intended_uses", "data_curation")
    ]
    (audit.path / "facts.yaml").write_text("\n".join(facts) + "\n")
    arms = [
        {**arm, "subject": HOSTILE, "curve": {**arm["curve"], "subject": HOSTILE}}
        for arm in AMEND["arms"]
    ]
    (audit.path / "amend.json").write_bytes(canonical.encode({**AMEND, "arms": arms}))
    fill_amend(files)
    return gather(audit)
