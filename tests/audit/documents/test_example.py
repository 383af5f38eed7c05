"""The worked example is complete and in form; it cites what is known and types nothing derived."""

from __future__ import annotations

from pathlib import Path

from docs.examples.sign import EXAMPLE
from dutchdoor.audit.checks import check_ready
from dutchdoor.audit.documents.crossing import catalogues_of, check_document
from dutchdoor.audit.documents.failures import scored
from dutchdoor.audit.documents.history import sign_off_rows
from dutchdoor.audit.documents.reading import findings, impacts, rows, trials
from dutchdoor.audit.documents.refresh import DERIVED, check_history, refresh
from dutchdoor.audit.documents.risks import chart
from dutchdoor.audit.model import DocumentKind, DocumentState, Scale
from tests.audit.documents.parts import K, Whole


def test_every_document_from_s0_to_p2_is_there_in_form_and_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    status = whole.audit.status()
    assert [row.kind for row in status.documents] == list(DocumentKind)
    assert {row.state for row in status.documents} == {DocumentState.SIGNED}
    assert status.completed
    summary = whole.audit.summary()
    assert summary is not None
    assert summary.scale is Scale.FULL
    assert summary.auditor_keys == tuple(whole.trust.auditors)
    for kind in DocumentKind:
        check_ready(kind, whole.folder, whole.audit.subject)
        check_document(kind, whole.folder.read(kind), whole.folder)


def test_findings_tests_impacts_and_failures_cite_what_is_in_the_catalogues(
    tmp_path: Path,
) -> None:
    folder = Whole(tmp_path).folder
    known = catalogues_of(folder)
    front = {kind: folder.read(kind).front for kind in (K.S4, K.M5, K.T2, K.R1)}
    cited = [(row.principle, row.harm) for row in findings(front[K.T2])]
    cited += [(row.principle, row.harm) for row in trials(front[K.T2])]
    cited += [(row.principle, row.harm) for row in impacts(front[K.S4])]
    for kind in (K.M5, K.R1):
        cited += [(row["principle"], row["harm"]) for row in rows(front[kind], "failures")]
    assert len(cited) > 20
    for principle, harm in cited:
        known.principle(principle)
        known.harm(harm)


def test_what_is_derived_is_what_the_program_derives(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    folder = whole.folder
    testing, social = folder.read(K.T2).front, folder.read(K.S4).front
    made = chart(impacts(social), trials(testing))
    assert folder.read(K.T3).front["risks"] == [risk.to_row() for risk in made]
    for kind in (K.M5, K.R1):
        given = rows(folder.read(kind).front, "failures")
        assert list(given) == scored(given)
    check_history(folder, whole.audit.subject, whole.trust)
    before = folder.digests()
    for kind in DERIVED:
        refresh(kind, folder, whole.audit.subject, whole.trust)
    assert folder.digests() == before


def test_from_the_history_file_each_decision_can_be_reconstructed(tmp_path: Path) -> None:
    """Every digest that a sign-off stood on is the digest of a kept version."""
    whole = Whole(tmp_path, completed=True)
    every = sign_off_rows(whole.folder, whole.audit.subject, whole.trust, tuple(DocumentKind))
    kept = {f"{row['document']} {row['digest']}" for row in every}
    assert len(every) == len(DocumentKind)
    for row in every:
        assert set(row["stands_on"]) <= kept
        assert (whole.folder.path / row["kept"]).is_file()
    listed = whole.folder.read(K.R3).front["sign_offs"]
    assert listed == [row for row in every if row["document"] not in {"R3", "R4", "P1", "P2"}]


def test_the_example_names_no_machine() -> None:
    for path in EXAMPLE.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not any(word in text for word in ("/root", "/home", "/tmp", "/work")), path
