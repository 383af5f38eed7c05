"""Nobody signs a view that the program wrote, nor a prompt that stands in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, DocumentState
from dutchdoor.audit.service import Audit
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.audit.view import write_view
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Invalid, Refused
from tests.audit.parts import People, Recorder, completed, examined, settle_all, started

K = DocumentKind
PROMPT = "[write here: what the brackets ask for]"


def untouched(tmp_path: Path, people: People) -> Audit:
    """An audit in which all is done but the auditor's view, as the template left it."""
    audit = examined(tmp_path, people)
    settle_all(audit)
    fresh = started(tmp_path / "fresh", people)
    view = AuditFolder(fresh.path).read(K.R4).front["view"]
    path = AuditFolder(audit.path).file(K.R4)
    write_document(path, read_document(path).with_front(view=view))
    return audit


def test_a_summary_nobody_wrote_a_view_into_is_neither_signed_nor_completed(
    tmp_path: Path,
) -> None:
    people, record = People(), Recorder()
    audit = untouched(tmp_path, people)
    assert K.R4 not in audit.sign(people.first), "what is finished is signed, the summary is not"
    with pytest.raises(Invalid) as caught:
        audit.sign(people.first, [K.R4])
    assert caught.value.code == "document_unfinished"
    text = AuditFolder(audit.path).file(K.R4).read_text().split("\n")
    line = next(number for number, row in enumerate(text, 1) if "[write here" in row)
    assert f"R4-summary.md, line {line}," in caught.value.message
    with pytest.raises(Refused):
        audit.complete(people.first, record)
    assert not record.entries

    write_view(audit, "  The figures are few; they speak against a wide release.\n")
    assert audit.sign(people.first) == (K.R4,)
    assert AuditFolder(audit.path).read(K.R4).front["view"].startswith("The figures")
    audit.complete(people.first, record)


@pytest.mark.parametrize("kind", [K.S0, K.S2], ids=str)
@pytest.mark.parametrize("in_front", [True, False], ids=["front", "body"])
def test_a_prompt_in_brackets_is_found_wherever_it_stands(
    tmp_path: Path, kind: DocumentKind, in_front: bool
) -> None:
    people = People()
    audit = started(tmp_path, people)
    if kind is K.S2:
        audit.sign(people.first, [K.S0])
    path = AuditFolder(audit.path).file(kind)
    document = read_document(path)
    if in_front:
        write_document(path, document.with_front(remarks=["so far", PROMPT]))
    else:
        path.write_text(path.read_text() + "\nMore: [write\nhere, please]\n")
    with pytest.raises(Invalid, match=rf"{TEMPLATES[kind]}, line \d+") as caught:
        audit.sign(people.first, [kind])
    assert caught.value.code == "document_unfinished"


def test_the_program_ships_no_opinion(tmp_path: Path) -> None:
    audit = started(tmp_path, People())
    body = AuditFolder(audit.path).read(K.R4).body
    assert not [word for word in ("support", "release to", "small") if word in body]


def test_a_view_written_after_the_summary_was_signed_opens_it_again(tmp_path: Path) -> None:
    people, record = People(), Recorder()
    audit = examined(tmp_path, people)
    settle_all(audit)
    audit.sign(people.first)
    write_view(audit, "On second thoughts: no release at all.")
    row = next(row for row in audit.status().documents if row.kind is K.R4)
    assert row.state is DocumentState.CHANGED
    with pytest.raises(Refused):
        audit.complete(people.first, record)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (" \n", "no_view"),
        (PROMPT, "no_view"),
        ("\udc80", "no_view"),
        ("x" * 20_001, "view_too_long"),
    ],
    ids=["empty", "prompt", "surrogate", "long"],
)
def test_a_view_that_says_nothing_or_too_much_is_refused(
    tmp_path: Path, text: str, code: str
) -> None:
    audit = started(tmp_path, People())
    before = AuditFolder(audit.path).file(K.R4).read_bytes()
    with pytest.raises(Invalid) as caught:
        write_view(audit, text)
    assert caught.value.code == code
    assert AuditFolder(audit.path).file(K.R4).read_bytes() == before


def test_a_completed_audit_takes_no_other_view(tmp_path: Path) -> None:
    people = People()
    summary = completed(tmp_path, people, Recorder())
    audit = Audit(tmp_path / summary.audit, people.trust, FixedClock())
    with pytest.raises(Refused) as caught:
        write_view(audit, "Too late.")
    assert caught.value.code == "audit_completed"
