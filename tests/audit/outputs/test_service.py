"""A set is signed and recorded before it exists, and checked whole."""

from __future__ import annotations

import base64
import builtins
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.audit.outputs.material import gather
from dutchdoor.audit.outputs.service import STATEMENT_NAME, OutputSet, build, check_set, write_set
from dutchdoor.audit.roles import audit_keys
from dutchdoor.audit.service import Audit
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.evidence.model import EntryKind
from dutchdoor.evidence.statement import sign_statement
from tests.audit.outputs.parts import drafted, finished
from tests.audit.parts import BUNDLE, Key, People, Recorder

NAMES = ("datasheet", "mof", "eu-documentation")


@pytest.fixture
def people() -> People:
    return People()


@pytest.fixture
def audit(tmp_path: Path, people: People) -> Audit:
    return finished(tmp_path / "audits", people)


def written(
    audit: Audit, people: People, folder: Path, record: Recorder | None = None, **more: Any
) -> OutputSet:
    return write_set(
        folder,
        gather(audit),
        more.pop("signer", people.first),
        keys=audit_keys(people.trust),
        record=record or Recorder(),
        clock=FixedClock(),
        names=more.pop("names", NAMES),
    )


def test_a_set_is_recorded_and_checks(audit: Audit, people: People, tmp_path: Path) -> None:
    record = Recorder()
    folder = tmp_path / "outputs"
    found = written(audit, people, folder, record)
    (entry,) = record.entries
    assert entry.kind is EntryKind.OUTPUTS_WRITTEN
    assert entry.body["summary"] == audit.status().summary != ""
    assert base64.b64decode(entry.body["envelope"]) == (folder / STATEMENT_NAME).read_bytes()
    assert check_set(folder, audit_keys(people.trust)) == found
    assert (found.bundle, found.draft, len(found.files)) == (BUNDLE, False, 5)


def test_one_changed_byte_of_any_file_fails(audit: Audit, people: People, tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    found = written(audit, people, folder)
    for path in (*found.files, STATEMENT_NAME):
        data = (folder / path).read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            changed = bytearray(data)
            changed[place] ^= 1
            (folder / path).write_bytes(changed)
            with pytest.raises(Invalid):
                check_set(folder, audit_keys(people.trust))
        (folder / path).write_bytes(data)
    check_set(folder, audit_keys(people.trust))


def test_added_missing_and_linked_files_fail(audit: Audit, people: People, tmp_path: Path) -> None:
    folder, keys = tmp_path / "outputs", audit_keys(people.trust)
    written(audit, people, folder)
    extra = folder / "eu-documentation" / "more.md"
    extra.write_text("not of the set")
    with pytest.raises(Tampered, match=r"more\.md is not of this set"):
        check_set(folder, keys)
    extra.unlink()
    kept = (folder / "mof.yml").read_bytes()
    (folder / "mof.yml").unlink()
    with pytest.raises(Tampered, match="is gone"):
        check_set(folder, keys)
    (tmp_path / "elsewhere").write_bytes(kept)
    (folder / "mof.yml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Tampered, match="is a link"):
        check_set(folder, keys)


def test_what_cannot_be_recorded_is_not_written(
    audit: Audit, people: People, tmp_path: Path
) -> None:
    record = Recorder()
    record.full = True
    with pytest.raises(Unavailable):
        written(audit, people, tmp_path / "outputs", record)
    assert not (tmp_path / "outputs").exists()


def test_a_stranger_signs_no_outputs(audit: Audit, people: People, tmp_path: Path) -> None:
    record = Recorder()
    for signer in (people.stranger, Key("ines")):
        with pytest.raises(Refused, match="may not sign outputs"):
            written(audit, people, tmp_path / "outputs", record, signer=signer)
    assert (record.entries, (tmp_path / "outputs").exists()) == ([], False)


def test_a_set_by_a_stranger_does_not_check(audit: Audit, people: People, tmp_path: Path) -> None:
    written(audit, people, tmp_path / "outputs")
    with pytest.raises(Invalid, match="0 trusted signatures"):
        check_set(tmp_path / "outputs", audit_keys(People().trust))


def test_an_unchanged_set_is_replaced_and_nothing_else(
    audit: Audit, people: People, tmp_path: Path
) -> None:
    folder = tmp_path / "outputs"
    written(audit, people, folder)
    found = written(audit, people, folder, names=("mof",))
    assert sorted(path.name for path in folder.iterdir()) == ["mof.yml", STATEMENT_NAME]
    assert list(found.files) == ["mof.yml"]
    (folder / "mof.yml").write_text("edited by hand")
    record = Recorder()
    with pytest.raises(Refused, match="something else"):
        written(audit, people, folder, record)
    assert (folder / "mof.yml").read_text() == "edited by hand"
    assert record.entries == []


def test_a_draft_names_no_summary(people: People, tmp_path: Path) -> None:
    record = Recorder()
    audit = drafted(tmp_path / "audits", people)
    assert written(audit, people, tmp_path / "outputs", record).draft
    assert record.entries[0].body["summary"] == ""


def test_an_unknown_output_is_named(audit: Audit) -> None:
    with pytest.raises(NotFound, match="no output 'poster'") as caught:
        build(gather(audit), ["poster"])
    assert "report-html" in caught.value.hint


def test_a_missing_library_says_which_extra(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "reportlab":
            raise ModuleNotFoundError("No module named 'reportlab'", name="reportlab")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unavailable, match="reportlab") as caught:
        build(gather(audit), ["report-pdf"])
    assert "dutchdoor[report]" in caught.value.hint


def test_a_statement_that_names_a_path_outside_is_refused(
    audit: Audit, people: People, tmp_path: Path
) -> None:
    row = {"path": "../secret", "digest": "sha256:" + "0" * 64, "bytes": 1, "validated": ""}
    body = {"audit": "a", "bundle": BUNDLE, "summary": "", "time_ms": 1, "files": [row]}
    (tmp_path / STATEMENT_NAME).write_bytes(sign_statement("audit_outputs", body, [people.first]))
    with pytest.raises(Invalid, match="wrong paths"):
        check_set(tmp_path, audit_keys(people.trust))


def test_a_folder_without_a_statement_is_no_set(tmp_path: Path, people: People) -> None:
    with pytest.raises(NotFound):
        check_set(tmp_path, audit_keys(people.trust))
