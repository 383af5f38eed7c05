"""The demo settles each finding by its kind, and never the guard's weakness by the guard."""

from __future__ import annotations

import pytest

from dutchdoor.audit.model import Finding, FindingStatus, Severity
from dutchdoor.cli.demo_findings import REASONS, probe_told, settlement_of

RECALL = "The probe finds 41 % (95 %: 33 % to 50 %) of harmful requests from sources it …"
CARD = {
    "examples": {"harmful": 300, "benign": 700},
    "sources_left_out": {
        "auroc": {"value": "0.9123", "low": "0.9", "high": "0.93"},
        "recall": {"fpr_0.01": {"value": "0.4100", "low": "0.3300", "high": "0.5000"}},
    },
}


def finding(name: str, text: str = "…") -> Finding:
    return Finding(name, Severity.HIGH, "safety", "malicious use", text)


def test_what_the_guard_misses_is_accepted_as_measured_and_not_mended_by_the_guard() -> None:
    status, reason = settlement_of(finding("probe-recall", RECALL))
    assert status is FindingStatus.ACCEPTED
    assert "small, watched and revocable" in reason
    assert "41 %" in reason
    assert "guard" not in reason


def test_a_model_that_hardly_refuses_is_mitigated_by_the_guard_and_by_whom_is_let_in() -> None:
    status, reason = settlement_of(finding("refusal"))
    assert status is FindingStatus.MITIGATED
    assert "requires the guard" in reason
    assert "vetted people" in reason


@pytest.mark.parametrize("name", ["gap:license", "jailbreak", "no-probe", "added-by-hand"])
def test_no_other_finding_is_called_mitigated(name: str) -> None:
    status, reason = settlement_of(finding(name))
    assert status is FindingStatus.ACCEPTED
    assert "guard" not in reason


def test_the_demo_tells_recall_on_sources_left_out_first() -> None:
    told = probe_told(CARD)
    assert told.index("41%") < told.index("AUROC")
    assert "33% to 50%" in told
    assert "fpr_0.01" in told
    assert "not fitted on" in told


def test_the_decision_of_the_demo_does_not_lean_on_the_guard() -> None:
    assert "carries the safeguard" not in REASONS
    assert "the guard misses much" in REASONS
