"""What a reader may not see does not leave: not in a page, not in a copy, not in the summary."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from dutchdoor.access.cedar import PolicyBook
from dutchdoor.access.model import Person
from dutchdoor.access.reading import FOLDER, DocumentReader
from dutchdoor.audit.document import digest_of
from dutchdoor.audit.documents.export import sensitivity_of
from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Invalid, Refused
from dutchdoor.ids import PersonId
from tests.audit.documents.parts import K, Whole

BUNDLE_GRANT = frozenset({"audit"})
SECRET = "how exactly it is done, in words that must stay here"


def reader(level: str) -> DocumentReader:
    """Somebody who may read up to this level, by the packaged rules and no others."""
    packaged = resources.files("dutchdoor.access") / "policies" / FOLDER
    with resources.as_file(packaged) as folder:
        rules = PolicyBook(folder).current
    person = Person(PersonId("person_1"), "Ada", "House", "auditor", 0)
    roles, depths = {
        "public": (frozenset(), frozenset()),
        "internal": (frozenset({"maker"}), frozenset()),
        "confidential": (frozenset(), BUNDLE_GRANT),
        "infohazard": (frozenset({"auditor"}), BUNDLE_GRANT),
    }[level]
    return DocumentReader(rules, "audit_1", "sha256:" + "a" * 64, person, roles, depths)


def leaks(folder: Path) -> bool:
    return any(SECRET in path.read_text() for path in folder.rglob("*") if path.is_file())


def test_a_reader_gets_every_signed_document_of_their_level_as_it_was_signed(
    tmp_path: Path,
) -> None:
    whole = Whole(tmp_path, completed=True)
    rows = whole.audit.export(tmp_path / "out", reader("public"))
    assert all(row.written for row in rows)
    assert [row.kind for row in rows] == list(DocumentKind)
    for row in rows:
        assert digest_of(tmp_path / "out" / row.file) == row.digest
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["scale"] == "full"
    assert index["summary"]["digest"] == digest_of(tmp_path / "out" / "summary.json")


def test_a_sensitive_document_leaves_as_title_and_digest(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.S1, sensitivity="infohazard", purpose=SECRET, title=SECRET)
    whole.sign(K.S1)
    for level in ("public", "internal", "confidential"):
        target = tmp_path / level
        exported = whole.audit.export(target, reader(level))
        (row,) = [row for row in exported if row.kind is K.S1]
        assert not row.written
        text = (target / row.file).read_text()
        assert "Product requirements" in text
        assert row.digest in text
        assert not leaks(target)
    whole.audit.export(tmp_path / "all", reader("infohazard"))
    assert leaks(tmp_path / "all")


def test_a_document_that_copies_from_a_sensitive_one_is_as_sensitive(tmp_path: Path) -> None:
    folder = Whole(tmp_path / "a").folder
    assert sensitivity_of(K.R4, folder) == "public"
    for kind, copies in (
        (K.S4, (K.T3, K.R4)),
        (K.M5, (K.R1, K.R4)),
        (K.T2, (K.R4,)),
        (K.R2, (K.R4,)),
        (K.S3, (K.R4,)),  # its dissent is copied
    ):
        whole = Whole(tmp_path / kind)
        whole.change(kind, sensitivity="infohazard")
        for copy in copies:
            assert sensitivity_of(copy, whole.folder) == "infohazard", (kind, copy)


def test_the_summary_is_as_sensitive_as_the_findings_in_it(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    whole.change(K.T2, sensitivity="confidential")
    whole.audit.export(tmp_path / "out", reader("internal"))
    assert not (tmp_path / "out" / "summary.json").exists()


def test_an_unknown_level_is_the_highest(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.S1, sensitivity="whatever")
    assert sensitivity_of(K.S1, whole.folder) == "infohazard"
    with pytest.raises(Invalid):
        whole.sign(K.S1)


def test_what_is_not_signed_does_not_leave(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.S1, purpose=SECRET)
    rows = whole.audit.export(tmp_path / "out", reader("infohazard"))
    written = {row.kind for row in rows if row.written}
    # What stands on the changed page is not signed any more either; S0 does not.
    assert written == {K.S0}
    assert not (tmp_path / "out" / TEMPLATES[K.S1]).exists()
    assert not leaks(tmp_path / "out")


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Refused):
        whole.audit.export(tmp_path / "out", reader("public"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
