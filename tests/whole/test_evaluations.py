"""An audit measures a sealed model through the real server, and takes no more than it was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dutchdoor.access.model import Budget, MonitorMode
from dutchdoor.app import governance
from dutchdoor.app.auditing import AuditRun, run_audit
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.model import DocumentKind
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.evidence.decision import Depth
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import DAY_MS, House, make_house, served

NAMES = (
    "capability_short_answers",
    "refusal",
    "canaries",
    "planted_canaries",
    "calibration",
    "extraction",
)
VECTORS = 16


def grant_vectors(house: House) -> None:
    house.workspace.access.make_grant(
        house.auditor.id,
        house.bundle.digest,
        purpose="audit",
        depths=(
            Depth.SAMPLING,
            Depth.DECODING_CONTROL,
            Depth.LOGPROBS,
            Depth.ACTIVATIONS,
            Depth.AUDIT,
        ),
        budget=Budget(requests=10_000, tokens=1_000_000, vectors=VECTORS),
        not_after_ms=house.workspace.clock.now_ms() + DAY_MS,
        monitor_mode=MonitorMode.OBSERVE,
        concurrency_max=8,
        record=house.workspace.record,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_evaluations_measure_a_sealed_model_through_the_server(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    workspace = house.workspace
    audit = governance.start_audit(workspace, house.bundle, house.auditor.name)
    signer = governance.signer_of(workspace, "auditor-1")
    audit.sign(signer, (DocumentKind.S0, DocumentKind.S2))
    governance.collect(workspace, audit)
    audit.sign(signer, (DocumentKind.C1,))
    run = AuditRun(limit=4, examples=60, evaluations=NAMES)
    with served(house):
        first = run_audit(workspace, audit, run)
        rows = {row.name: row for row in first.evaluations}
        assert set(rows) == set(NAMES)
        assert {row.bundle for row in rows.values()} == {house.bundle.digest}
        assert rows["capability_short_answers"].n == rows["refusal"].n == 4
        assert rows["canaries"].text.startswith("not measured: no canaries planted")
        planted = rows["planted_canaries"]
        assert planted.is_measured, planted.text
        assert {name for name in planted.details if "shown" in name} == {
            "never shown",
            "shown 1 time",
            "shown 4 times",
            "shown 16 times",
        }
        assert rows["calibration"].is_measured, "the grant has logprobs"
        assert rows["calibration"].access_depth == "logprobs"
        extraction = rows["extraction"]
        # This grant has no activations: nothing is recovered, and the refusal is told.
        assert extraction.score == "1.000"
        assert extraction.details["activations"] == "refused: depth_not_granted"
        assert extraction.details["hidden size"] == "64"

        grant_vectors(house)
        kept = run_audit(workspace, audit, run)
        assert kept.probe == first.probe, "the fitted probe is kept"
        measured = [row for row in first.evaluations if row.is_measured]
        assert [row for row in kept.evaluations if row.is_measured] == measured, "kept"
        deeper = AuditRun(
            limit=4,
            examples=60,
            evaluations=("extraction", "canaries"),
            canaries=(Canary("the code is {}", "7391", "digits"),),
        )
        again = run_audit(workspace, audit, deeper)
    rows = {row.name: row for row in again.evaluations}
    spent = int(rows["extraction"].details["vectors used"])
    assert spent <= VECTORS
    assert float(rows["extraction"].score) > 0.8
    # Nothing that shows log-probabilities is free, and the pool has ended with the activations.
    assert rows["extraction"].details["top log-probabilities"] == "refused: vectors_exhausted"
    _check_folder(audit.path, house.api_key)


def _check_folder(folder: Path, api_key: str) -> None:
    """Samples are there, and neither a key nor a canary's secret is."""
    for path in folder.rglob("*"):
        if path.is_file():
            assert api_key.encode() not in path.read_bytes()
            assert path.suffix == ".eval" or b"7391" not in path.read_bytes()
    samples = json.loads((folder / "logs" / "capability_short_answers.samples.json").read_text())
    assert len(samples["samples"]) == 4
    assert all(row["input"] for row in samples["samples"])
    harmful = (folder / "logs" / "refusal.samples.json").read_text()
    assert '"input"' not in harmful
    assert '"output"' not in harmful


def test_before_its_time_or_without_a_server_nothing_is_measured(tmp_path: Path) -> None:
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    audit = governance.start_audit(house.workspace, house.bundle, house.auditor.name)
    run = AuditRun(evaluations=NAMES)
    with pytest.raises(Refused) as caught:
        run_audit(house.workspace, audit, run)
    assert caught.value.code == "stage_closed", "and not after minutes of fitting a probe"
    signer = governance.signer_of(house.workspace, "auditor-1")
    audit.sign(signer, (DocumentKind.S0, DocumentKind.S2))
    governance.collect(house.workspace, audit)
    audit.sign(signer, (DocumentKind.C1,))
    with pytest.raises(Unavailable):
        run_audit(house.workspace, audit, run)
