"""A full audit holds its order, roles and gates; each promise with the attempt to break it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from docs.examples.sign import APPROVER, AUDITOR, HOLDER, MadeUpKey, record, sign_example
from dutchdoor.audit.document import Document
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, DocumentState, Scale
from dutchdoor.audit.service import Audit
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Invalid, Refused, Tampered
from dutchdoor.evidence.statement import key_id
from tests.audit.documents.parts import K, Whole
from tests.audit.parts import BUNDLE, People, started


def fresh(folder: Path, whole: Whole) -> Audit:
    return Audit.start(
        folder, whole.trust, FixedClock(), bundle=BUNDLE, model="m", auditor="a", scale=Scale.FULL
    )


def test_a_full_audit_starts_with_every_document_and_none_is_finished(tmp_path: Path) -> None:
    audit = fresh(tmp_path / "audits", Whole(tmp_path / "other"))
    status = audit.status()
    assert [row.kind for row in status.documents] == list(DocumentKind)
    assert status.scale is Scale.FULL
    assert audit.sign(APPROVER, [K.S0]) == (K.S0,)
    for kind, signer in ((K.S1, HOLDER), (K.S4, AUDITOR)):
        with pytest.raises((Invalid, Refused)):
            audit.sign(signer, [kind])
    for kind in (K.M1, K.C2, K.T2, K.R4, K.P1):
        with pytest.raises(Refused) as caught:
            audit.sign(AUDITOR, [kind])
        assert caught.value.code == "stage_closed"


def test_each_document_is_signed_by_its_own_role_alone(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    for kind, right, wrong in (
        (K.S0, APPROVER, (AUDITOR, HOLDER)),
        (K.S1, HOLDER, (AUDITOR, APPROVER)),
        (K.S2, AUDITOR, (HOLDER, APPROVER)),
    ):
        whole.change(kind, effort_minutes=5)
        for signer in wrong:
            with pytest.raises(Refused) as caught:
                whole.audit.sign(signer, [kind])
            assert caught.value.code == "signer_unknown"
        assert whole.audit.sign(right, [kind]) == (kind,)


def test_a_joint_document_takes_both_roles_and_one_alone_is_not_enough(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.M2, effort_minutes=5)
    whole.audit.sign(AUDITOR, [K.M2])
    assert whole.state(K.M2) is DocumentState.OPEN
    assert "waits for the holder" in whole.because(K.M2)
    with pytest.raises(Refused) as caught:
        whole.audit.sign(AUDITOR, [K.M2])
    assert caught.value.code == "already_signed"
    assert "has signed M2 already; the holder signs next" in caught.value.message
    with pytest.raises(Refused):
        whole.audit.complete(AUDITOR, record)
    whole.audit.sign(HOLDER, [K.M2])
    assert whole.state(K.M2) is DocumentState.SIGNED
    # A second signature is over the text that the first one signed, not over a later one.
    whole.change(K.M2, effort_minutes=6)
    whole.audit.sign(AUDITOR, [K.M2])
    whole.change(K.M2, effort_minutes=7)
    whole.audit.sign(HOLDER, [K.M2])
    assert whole.state(K.M2) is DocumentState.OPEN
    assert "waits for an auditor" in whole.because(K.M2)


def test_nobody_audits_what_they_approve(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    trust = whole.trust
    both = replace(trust, approvers=trust.auditors)
    lacking = replace(trust, auditors={})
    for bad in (both, lacking, replace(trust, holder=trust.auditors)):
        whole.trust = bad
        with pytest.raises(Refused) as caught:
            fresh(tmp_path / "more", whole)
        assert caught.value.code == "duties_not_separate"
        assert not (tmp_path / "more").exists()
    whole.change(K.S0, effort_minutes=5)
    other = MadeUpKey("another approver")
    other.name = AUDITOR.name.upper()
    keys = {**trust.approvers, key_id(other.public_key): other.public_key}
    audit = Audit(whole.folder.path, replace(trust, approvers=keys), FixedClock())
    with pytest.raises(Refused) as caught:
        audit.sign(other, [K.S0])
    assert caught.value.code == "duties_not_separate"


def test_a_signed_again_document_gets_the_next_version_and_the_earlier_one_stays(
    tmp_path: Path,
) -> None:
    whole = Whole(tmp_path)
    first = whole.folder.file(K.S1).read_bytes()
    whole.change(K.S1, purpose="another purpose")
    assert whole.state(K.S1) is DocumentState.CHANGED
    for kind in (K.S2, K.S3, K.S4, K.M1, K.T3, K.R3, K.R4):
        assert whole.state(kind) is DocumentState.REOPENED
        assert "changed since it was signed" in whole.because(kind)
    assert whole.state(K.S0) is DocumentState.SIGNED
    whole.sign(K.S1)
    rows = whole.folder.sign_offs(K.S1, whole.audit.subject, whole.trust)
    assert [row.version for row in rows] == [1, 2]
    assert whole.folder.signed_copy(K.S1, 1).read_bytes() == first
    assert whole.folder.signed_copy(K.S1, 2).read_bytes() == whole.folder.file(K.S1).read_bytes()


def test_the_history_file_has_every_version_and_a_lost_one_is_noticed(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.R2, leadership="somebody else")
    whole.sign(K.R2, K.R3, K.R4)
    listed = [row for row in whole.folder.read(K.R3).front["sign_offs"] if row["document"] == "R2"]
    assert [row["version"] for row in listed] == [1, 2]
    whole.audit.complete(AUDITOR, record)
    copy = whole.folder.signed_copy(K.R2, 1)
    copy.write_bytes(copy.read_bytes() + b"\n")
    (whole.folder.path / "summary.json").unlink()
    with pytest.raises(Tampered) as caught:
        whole.audit.complete(AUDITOR, record)
    assert caught.value.code == "history_changed"


def test_an_audit_cannot_be_made_shorter_after_it_was_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    path = whole.folder.path / "audit.yaml"
    path.write_text(path.read_text().replace("scale: full", "scale: short"))
    with pytest.raises(Tampered):
        Audit(whole.folder.path, whole.trust, whole.clock).status()


def test_a_chart_that_was_typed_is_made_anew_before_it_is_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    made = whole.folder.read(K.T3).front["risks"]
    whole.change(K.T3, risks=[{**row, "rating": "low"} for row in made])
    whole.sign(K.T3)
    assert whole.folder.read(K.T3).front["risks"] == made


def test_figures_of_a_test_are_those_that_were_measured(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change_row(K.T2, "tests", "X1", failed=0)
    whole.sign(K.T2)
    (row,) = [row for row in whole.folder.read(K.T2).front["tests"] if row["id"] == "X1"]
    assert (row["tried"], row["failed"]) == (40, 29)
    whole.change_row(K.T2, "tests", "X1", evaluation="never_run")
    with pytest.raises(Invalid) as caught:
        whole.sign(K.T2)
    assert caught.value.code == "evaluation_missing"


@pytest.mark.parametrize(
    ("kind", "field", "row", "columns"),
    [
        (K.S4, "impacts", "I1", {"harm": "no-such-harm"}),
        (K.S4, "impacts", "I1", {"principle": "profit"}),
        (K.M5, "failures", "F1", {"impact": "I99"}),
        (K.M5, "failures", "F1", {"severity": 11}),
        (K.T2, "tests", "X1", {"failure": "F99"}),
        (K.T2, "tests", "X1", {"harm": "no-such-harm"}),
        (K.T2, "findings", "refusal", {"harm": "no such harm"}),
        (K.R1, "failures", "F1", {"occurrence": 1}),
        (K.R1, "failures", "F4", {"action": " "}),
        (K.R2, "mitigations", "I5", {"concerns": "I2"}),
        (K.R2, "mitigations", "refusal", {"due": "soon"}),
        (K.M1, "stakeholders", "P3", {"group": "nobody of S4"}),
        (K.M2, "flows", "", {"target": "nowhere"}),
        (K.T1, "claims", "", {"verified": "yes"}),
    ],
)
def test_what_does_not_hold_together_cannot_be_signed(
    tmp_path: Path, kind: DocumentKind, field: str, row: str, columns: dict[str, object]
) -> None:
    whole = Whole(tmp_path)
    if row:
        whole.change_row(kind, field, row, **columns)
    else:
        first, *others = whole.folder.read(kind).front[field]
        whole.change(kind, **{field: [{**first, **columns}, *others]})
    with pytest.raises(Invalid):
        whole.sign(kind)
    assert whole.state(kind) is DocumentState.CHANGED


def test_a_harm_of_the_workspace_can_be_cited(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change_row(K.S4, "impacts", "I1", harm="wrong-dose")
    with pytest.raises(Invalid):
        whole.sign(K.S4)
    own = tmp_path / "catalogues"
    own.mkdir()
    (own / "ward.yaml").write_text(
        "catalogue: ward\ntitle: Ward\nkind: harms\nsource: us\nstatus: own\n"
        "entries:\n  - {id: wrong-dose, name: Wrong dose, text: The wrong dose.}\n"
    )
    whole.sign(K.S4)


@pytest.mark.parametrize("outcome", ["stop", "escalate"])
def test_a_review_that_stops_stops_the_audit(tmp_path: Path, outcome: str) -> None:
    whole = Whole(tmp_path)
    whole.change(K.S3, outcome=outcome)
    sign_rest(whole, K.S3)
    with pytest.raises(Refused) as caught:
        whole.audit.complete(AUDITOR, record)
    assert caught.value.code == "review_stops"
    assert whole.audit.summary() is None


def test_an_open_failure_of_severity_nine_stops_the_audit_and_its_product_does_not_matter(
    tmp_path: Path,
) -> None:
    whole = Whole(tmp_path)
    scores = {"severity": 9, "occurrence": 1, "detection": 1, "status": "open"}
    whole.change_row(K.R1, "failures", "F5", **scores)
    sign_rest(whole, K.R1)
    with pytest.raises(Refused) as caught:
        whole.audit.complete(AUDITOR, record)
    assert caught.value.code == "severity_open"
    assert "F5" in caught.value.message
    whole.change_row(K.R1, "failures", "F5", status="closed", action="the depth was taken away")
    sign_rest(whole, K.R1)
    assert isinstance(whole.audit.complete(AUDITOR, record), AuditSummary)


def test_after_the_summary_only_the_decision_and_the_tracking_are_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    with pytest.raises(Invalid):
        whole.sign(K.P1)
    summary = whole.audit.complete(AUDITOR, record)
    assert set(summary.documents) == set(DocumentKind) - {K.P1, K.P2}
    assert "P1" in whole.audit.status().next
    with pytest.raises(Refused) as caught:
        whole.audit.sign(AUDITOR, [K.S2])
    assert caught.value.code == "audit_completed"
    with pytest.raises(Refused):
        whole.audit.sign(AUDITOR, [K.P1])
    whole.sign(K.P1, K.P2)
    assert whole.folder.read(K.P1).front["summary"] == summary.digest
    # Tracking goes on: the next version, by both roles.
    whole.change(K.P2, triggers=["a year has passed"])
    whole.sign(K.P2)
    assert len(whole.folder.sign_offs(K.P2, whole.audit.subject, whole.trust)) == 2


def test_a_decision_on_another_summary_is_not_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    whole.edit(K.P1, lambda document: Document({**document.front, "decision": "why not"}, "x"))
    with pytest.raises(Invalid):
        whole.sign(K.P1)


def test_derived_documents_are_filled_on_demand_and_only_in_a_full_audit(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    # Without a summary, the decision on it stands on nothing any more.
    assert whole.audit.derive() == (K.P1,)
    whole.change_row(K.S4, "impacts", "I1", severity="critical")
    whole.sign(K.S4)
    assert K.T3 in whole.audit.derive()
    assert whole.folder.read(K.T3).front["risks"][0]["severity"] == "critical"
    with pytest.raises(Refused) as caught:
        started(tmp_path / "short", People()).derive()
    assert caught.value.code == "audit_short"


def test_the_example_can_be_signed_anew_and_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    files = sorted(path for path in whole.folder.path.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    sign_example(whole.folder.path)
    assert {path: path.read_bytes() for path in files} == before


def test_audits_of_before_there_were_scales_are_short(tmp_path: Path) -> None:
    audit = started(tmp_path, People())
    path = audit.path / "audit.yaml"
    path.write_text(path.read_text().replace("scale: short\n", ""))
    assert AuditFolder(audit.path).subject().scale is Scale.SHORT
    path.write_text(path.read_text() + "scale: none\n")
    with pytest.raises(Invalid):
        AuditFolder(audit.path).subject()


def sign_rest(whole: Whole, first: DocumentKind) -> None:
    """Sign this one and everything that stands on it, up to the summary report."""
    for kind in list(DocumentKind)[list(DocumentKind).index(first) :]:
        if kind in {K.P1, K.P2}:
            return
        if whole.state(kind) is not DocumentState.SIGNED:
            whole.sign(kind)


@pytest.mark.parametrize("change", ["edited", "gone"])
def test_an_edited_history_file_is_noticed_by_status_and_risks_at_once(
    tmp_path: Path, change: str
) -> None:
    whole = Whole(tmp_path)
    copy = whole.folder.signed_copy(K.S1, 1)
    if change == "gone":
        copy.unlink()
    else:
        copy.write_text(copy.read_text() + "\nanother history\n")
    for ask in (whole.audit.status, whole.audit.derive):
        with pytest.raises(Tampered) as caught:
            ask()
        assert (caught.value.code, "S1" in caught.value.message) == ("history_changed", True)
