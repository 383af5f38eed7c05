"""The audit's order holds, changes are noticed, and nothing unfinished is ever completed."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.filling import ProbeFacts, fill_testing
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, DocumentState, FindingStatus
from dutchdoor.audit.service import Audit, list_audits
from dutchdoor.audit.summary import find_summary, open_summary
from dutchdoor.audit.view import write_view
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.evidence.model import EntryKind
from tests.audit.parts import (
    BUNDLE,
    FACTS,
    OTHER_BUNDLE,
    PROBE,
    RECALL,
    Key,
    People,
    Recorder,
    collected,
    completed,
    examined,
    measured,
    settle_all,
    started,
)

K = DocumentKind


def state_of(audit: Audit, kind: DocumentKind) -> DocumentState:
    return next(row.state for row in audit.status().documents if row.kind is kind)


def edit(audit: Audit, kind: DocumentKind, old: str, new: str) -> None:
    path = AuditFolder(audit.path).file(kind)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_audit_goes_its_whole_way_and_a_stranger_can_check_its_summary(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    summary = completed(tmp_path, people, record)
    (entry,) = record.entries
    assert entry.kind is EntryKind.AUDIT_SIGNED
    envelope = base64.b64decode(entry.body["envelope"])
    assert entry.body["summary"] == summary.digest == "sha256:" + canonical.sha256_hex(envelope)
    again = open_summary(envelope, people.trust.approvers)
    assert again == summary == find_summary(tmp_path, summary.digest, people.trust.approvers)
    assert again.bundle == BUNDLE
    assert set(again.documents) == {K.S0, K.S2, K.C1, K.T2, K.R4}
    (name,) = list_audits(tmp_path)
    assert Audit(tmp_path / name, people.trust, FixedClock()).status().completed


def test_a_stage_stays_closed_until_what_it_stands_on_is_signed(tmp_path: Path) -> None:
    people = People()
    audit = started(tmp_path, people)
    assert state_of(audit, K.S0) is DocumentState.OPEN
    assert state_of(audit, K.S2) is DocumentState.WAITING
    for kind in (K.S2, K.C1, K.T2, K.R4):
        with pytest.raises(Refused) as caught:
            audit.sign(people.first, [kind])
        assert caught.value.code == "stage_closed"
    with pytest.raises(Refused):
        audit.collect(FACTS)
    audit.sign(people.first, [K.S0, K.S2])
    with pytest.raises(Refused):
        audit.report()
    assert not list((audit.path / "signatures").glob("T2-*"))


def test_what_is_not_finished_cannot_be_signed(tmp_path: Path) -> None:
    people = People()
    audit = started(tmp_path, people)
    assert audit.sign(people.first) == (K.S0, K.S2)
    with pytest.raises(Invalid) as caught:
        audit.sign(people.first)
    assert caught.value.code == "document_unfinished"
    assert "collect" in audit.status().next
    audit.collect(FACTS)
    audit.sign(people.first)
    assert state_of(audit, K.C1) is DocumentState.SIGNED
    assert "run" in audit.status().next
    with pytest.raises(Invalid):
        audit.sign(people.first, [K.T2])


def test_a_signed_document_that_is_changed_reopens_everything_that_stands_on_it(
    tmp_path: Path,
) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    settle_all(audit)
    audit.sign(people.first)
    edit(audit, K.S2, "did not train this model", "did train this model")
    assert state_of(audit, K.S2) is DocumentState.CHANGED
    assert state_of(audit, K.S0) is DocumentState.SIGNED
    for kind in (K.C1, K.T2, K.R4):
        assert state_of(audit, kind) is DocumentState.REOPENED
    row = next(row for row in audit.status().documents if row.kind is K.C1)
    assert "S2" in row.because
    with pytest.raises(Refused) as caught:
        audit.complete(people.first, record)
    assert caught.value.code == "document_open"
    assert not record.entries
    # Signing the changed page alone is not enough: what stood on the old one is signed anew.
    audit.sign(people.second, [K.S2])
    assert state_of(audit, K.C1) is DocumentState.REOPENED
    assert audit.sign(people.first) == (K.C1, K.T2, K.R4)
    audit.complete(people.first, record)


def test_a_sign_off_that_was_tampered_with_stops_the_audit(tmp_path: Path) -> None:
    people = People()
    audit = started(tmp_path, people)
    audit.sign(people.first, [K.S0])
    (path,) = (audit.path / "signatures").iterdir()
    data = path.read_bytes()
    for place in (len(data) // 3, len(data) - 40):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(Tampered):
            audit.status()
    path.write_bytes(data)
    path.rename(path.with_name("S2-001.json"))
    with pytest.raises(Tampered, match="another document"):
        audit.status()


def test_a_stranger_can_sign_neither_documents_nor_the_summary(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    with pytest.raises(Refused) as caught:
        audit.sign(people.stranger)
    assert caught.value.code == "signer_unknown"
    settle_all(audit)
    audit.sign(people.first)
    with pytest.raises(Refused):
        audit.complete(people.stranger, record)
    assert not record.entries


def test_the_summary_is_refused_while_a_document_is_unsigned(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    settle_all(audit)
    audit.sign(people.first, [K.T2])
    with pytest.raises(Refused) as caught:
        audit.complete(people.first, record)
    assert caught.value.code == "document_open"
    assert not record.entries
    assert audit.summary() is None


def test_a_severe_finding_stops_the_audit_until_somebody_answers_for_it(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    (severe,) = [finding for finding in audit.status().findings if finding.blocks]
    assert severe.id == "refusal"
    assert "The fitted probe finds 71 % (95 %: 64 % to 77 %)" in severe.text
    audit.sign(people.first)
    with pytest.raises(Refused) as caught:
        audit.complete(people.first, record)
    assert caught.value.code == "finding_open"
    with pytest.raises(Invalid):
        audit.settle("refusal", FindingStatus.ACCEPTED, "  ", "Ada")
    with pytest.raises(NotFound):
        audit.settle("no-such-finding", FindingStatus.ACCEPTED, "why not", "Ada")
    audit.settle("refusal", FindingStatus.ACCEPTED, "vetted people only, guard required", "Ada")
    assert state_of(audit, K.T2) is DocumentState.CHANGED
    audit.sign(people.first)
    summary = audit.complete(people.first, record)
    (kept,) = [finding for finding in summary.findings if finding.id == "refusal"]
    assert (kept.status, kept.by) == (FindingStatus.ACCEPTED, "Ada")


def test_findings_cannot_be_softened_or_dropped_by_editing_the_report(tmp_path: Path) -> None:
    people = People()
    audit = examined(tmp_path, people)
    path = AuditFolder(audit.path).file(K.T2)
    document = read_document(path)
    findings = document.front["findings"]
    softened = [{**row, "severity": "low"} if row["id"] == "refusal" else row for row in findings]
    dropped = [row for row in findings if row["id"] != "refusal"]
    flattered = [{**row, "hits": row["n"]} for row in document.front["evaluations"]]
    for changes in ({"findings": softened}, {"findings": dropped}, {"evaluations": flattered}):
        write_document(path, document.with_front(**changes))
        with pytest.raises(Invalid):
            audit.sign(people.first, [K.T2])
    write_document(path, document)
    audit.sign(people.first, [K.T2])


def test_figures_whose_log_was_changed_cannot_be_signed(tmp_path: Path) -> None:
    people = People()
    audit = examined(tmp_path, people)
    (audit.path / "logs" / "refusal.eval").write_bytes(b"other")
    with pytest.raises(Tampered) as caught:
        audit.sign(people.first, [K.T2])
    assert caught.value.code == "log_changed"


def test_a_probe_card_that_was_changed_cannot_be_signed(tmp_path: Path) -> None:
    people = People()
    audit = examined(tmp_path, people)
    (audit.path / "probe-card.json").write_bytes(b"{}")
    with pytest.raises(Tampered):
        audit.sign(people.first, [K.T2])


def test_an_audit_that_cannot_be_recorded_is_not_completed(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    settle_all(audit)
    audit.sign(people.first)
    record.full = True
    before = {path: path.read_bytes() for path in audit.path.rglob("*") if path.is_file()}
    with pytest.raises(Unavailable):
        audit.complete(people.first, record)
    after = {path: path.read_bytes() for path in audit.path.rglob("*") if path.is_file()}
    assert before == after
    record.full = False
    audit.complete(people.first, record)


def test_a_completed_audit_is_closed(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    completed(tmp_path, people, record)
    (name,) = list_audits(tmp_path)
    audit = Audit(tmp_path / name, people.trust, FixedClock())
    for attempt in (
        lambda: audit.sign(people.first),
        lambda: audit.collect(FACTS),
        audit.report,
        lambda: audit.complete(people.first, record),
        lambda: audit.settle("refusal", FindingStatus.ACCEPTED, "why", "Ada"),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.code == "audit_completed"
    assert len(record.entries) == 1


def test_facts_of_another_bundle_are_refused(tmp_path: Path) -> None:
    people = People()
    audit = started(tmp_path, people, OTHER_BUNDLE)
    audit.sign(people.first)
    with pytest.raises(Invalid) as caught:
        audit.collect(FACTS)
    assert caught.value.code == "other_bundle"


def test_words_people_wrote_survive_the_program_filling_its_part(tmp_path: Path) -> None:
    people = People()
    audit = collected(tmp_path, people)
    edit(audit, K.C1, "what the model was trained on cannot be checked here", "asked on Monday")
    edit(audit, K.C1, "What should have come", "My own words. What should have come")
    audit.collect(FACTS)
    document = AuditFolder(audit.path).read(K.C1)
    (row,) = [row for row in document.front["artifacts"] if row["name"] == "datasheet"]
    assert row["gap"] == "asked on Monday"
    assert "My own words." in document.body
    assert document.body.count("<!-- generated: artifacts -->") == 1


def test_a_settled_finding_opens_again_when_the_figures_change(tmp_path: Path) -> None:
    people = People()
    audit = examined(tmp_path, people)
    settle_all(audit)
    files = AuditFolder(audit.path)
    fill_testing(files, [measured("over_refusal", 2, 40, files.logs)], "sampling", None)
    assert not [finding for finding in audit.status().findings if finding.blocks]
    fill_testing(files, [measured("refusal", 1, 40, files.logs)], "sampling", None)
    assert [finding.id for finding in audit.status().findings if finding.blocks] == ["refusal"]


def test_where_auditors_are_named_nobody_else_signs_what_they_write(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    auditor = Key("ada")
    people.trust = replace(people.trust, auditors={auditor.id: auditor.public_key})
    audit = started(tmp_path, people)
    assert audit.sign(people.first) == (K.S0,)
    with pytest.raises(Refused) as caught:
        audit.sign(people.first)
    assert caught.value.code == "signer_unknown"
    assert audit.sign(auditor) == (K.S2,)
    audit.collect(FACTS)
    audit.sign(auditor)
    files = AuditFolder(audit.path)
    fill_testing(files, [measured("refusal", 40, 40, files.logs)], "sampling", PROBE)
    write_view(audit, "Every request for harm was refused, of forty.")
    audit.sign(auditor)
    with pytest.raises(Refused):
        audit.complete(people.first, record)
    summary = audit.complete(auditor, record)
    with pytest.raises(Invalid):
        find_summary(tmp_path, summary.digest, people.trust.approvers)


def test_a_probe_that_misses_much_is_a_finding(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    (found,) = [row for row in audit.status().findings if row.id == "probe-recall"]
    assert "finds 71 % (95 %: 64 % to 77 %)" in found.text
    assert not found.blocks
    files = AuditFolder(audit.path)
    for card in ({}, {"sources_left_out": {"recall": {"fpr_0.01": {**RECALL, "value": "0.4"}}}}):
        probe = ProbeFacts(PROBE.digest, canonical.encode(card))
        fill_testing(files, [], "sampling", probe)
        (found,) = [row for row in audit.status().findings if row.id == "probe-recall"]
        assert found.blocks
    with pytest.raises(Invalid):
        fill_testing(files, [], "sampling", ProbeFacts(PROBE.digest, b"not a card"))


def test_an_audit_without_a_probe_says_so_and_stops(tmp_path: Path) -> None:
    audit = examined(tmp_path, People(), probe=None)
    assert "no-probe" in {finding.id for finding in audit.status().findings if finding.blocks}


def test_there_is_no_audit_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Audit(tmp_path / "audit_none", People().trust, FixedClock())
    with pytest.raises(NotFound):
        find_summary(tmp_path, "sha256:" + "0" * 64, {})
