"""The stand-alone verifier finds each wrong thing, and says where."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import dutchdoor.evidence.verify
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.export import export
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.journal import encode_frame
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.__main__ import main
from dutchdoor.evidence.verify.history import FIELDS
from dutchdoor.evidence.verify.report import Report
from dutchdoor.evidence.verify.verifier import verify
from tests.check_log import check_log
from tests.evidence.parts import (
    BEGIN_MS,
    CLOSED,
    HOLDER,
    ORIGIN,
    STRANGER,
    TRUST,
    Workspace,
    begun,
    decision_entry,
    done,
    inferences,
    key_released,
    lost,
    revocation_entry,
    runtime_started,
    sealed,
    small,
    write_journal,
)

TRUST_BYTES = encode_trust(TRUST)
PACKAGE = Path(dutchdoor.evidence.verify.__file__).parent


def test_a_good_log_holds_and_is_counted(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([sealed(), decision_entry(CLOSED, (HOLDER,))])
    log.append([key_released(CLOSED), runtime_started(CLOSED)])
    log.append([begun("inf_a", CLOSED, person="person_auditor"), done(5, "inf_a")])
    log.append([decision_entry(), begun("inf_b"), begun("inf_c"), lost(9, "inf_c")])
    log.append([revocation_entry()])
    report = check_log(workspace.folder, TRUST, {"one": log.receipt(5)})
    assert (report.entries, report.inferences, report.decisions, report.receipts) == (12, 3, 2, 1)
    assert report.open_inferences == ("inf_b",)
    assert report.origin == ORIGIN
    assert report.root == log.head().root.hex()


@pytest.mark.slow
def test_one_flipped_byte_anywhere_is_found_and_named(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([decision_entry()])
    log.append(inferences(2, 2))
    log.append([small(1)])
    log.close()
    check_log(workspace.folder, TRUST)
    count = 0
    for path in sorted(p for p in workspace.folder.rglob("*") if p.is_file()):
        name = path.relative_to(workspace.folder).as_posix()
        data = path.read_bytes()
        for place in range(len(data)):
            changed = data[place] ^ (1 << place % 8)
            path.write_bytes(data[:place] + bytes([changed]) + data[place + 1 :])
            report = verify(workspace.folder, TRUST_BYTES)
            first = report.findings[0]
            assert first.where == f"{name} byte {place}", (place, report.findings)
            assert f"was {data[place]:#04x} and is {changed:#04x}" in first.what
            assert len(report.findings) == 1, "what follows the byte is judged without it"
            count += 1
        path.write_bytes(data)
    assert count > 4000
    check_log(workspace.folder, TRUST)


def test_one_flipped_byte_in_any_kind_of_file_of_a_larger_log_is_named(
    workspace: Workspace, tmp_path: Path
) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(600)])
    plain = tmp_path / "plain"
    export(log.view, plain)
    for folder in (workspace.folder, plain):
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            for place in range(0, len(data), max(1, len(data) // 12)):
                path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
                report = verify(folder, TRUST_BYTES)
                assert not report.holds
                if folder == workspace.folder:
                    wheres = [row.where for row in report.findings]
                    assert wheres == [f"{name} byte {place}"], report.findings
            path.write_bytes(data)
        check_log(folder, TRUST)


def test_a_flip_inside_an_entry_names_the_entry(workspace: Workspace) -> None:
    workspace.create().append([small(1), small(2), small(3)])
    path = workspace.folder / "journal" / "000000"
    data = path.read_bytes()
    place = data.index(b"person_2")
    path.write_bytes(data.replace(b"person_2", b"person_6"))
    (finding,) = verify(workspace.folder, TRUST_BYTES).findings
    assert finding.where == f"journal/000000 byte {place + 7}"
    assert finding.what == "in entry 2: was 0x32 and is 0x36"


Damage = Callable[[Path], object]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no checkpoint": (lambda f: (f / "checkpoint").unlink(), "checkpoint"),
    "no tile": (lambda f: (f / "tile/0/001").unlink(), "tile/0/001"),
    "no bundle": (lambda f: (f / "tile/entries/000").unlink(), "tile/entries/000"),
    "a shorter tile": (lambda f: (f / "tile/0/000").write_bytes(b"x" * 31), "tile/0/000"),
    "a file beside": (lambda f: (f / "notes.txt").write_text("x"), "notes.txt"),
    "a file among the tiles": (lambda f: (f / "tile/0/1").write_text("x"), "tile/0/1"),
    "a lock with content": (lambda f: (f / "lock").write_text("x"), "lock"),
    "a link": (lambda f: (f / "tile/0/005").symlink_to(f / "tile/0/000"), "tile/0/005"),
    "a wrong partial tile": (
        lambda f: Files().replace(f / "tile/0/002.p/3", b"x" * 96),
        "tile/0/002.p/3",
    ),
    "no journal's end": (
        lambda f: (f / "journal/000000").write_bytes((f / "journal/000000").read_bytes()[:-9]),
        "journal/000000 bytes",
    ),
    "a segment that follows nothing": (
        lambda f: (f / "journal/000001").write_bytes(b"x"),
        "journal/000001",
    ),
    "no journal at all": (lambda f: shutil.rmtree(f / "journal"), "tile/entries/002"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_missing_or_beside_is_found(workspace: Workspace, name: str) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(600)])
    log.append([small(1)])
    damage, where = DAMAGES[name]
    damage(workspace.folder)
    report = verify(workspace.folder, TRUST_BYTES)
    assert any(row.where.startswith(where) for row in report.findings), report.findings


def test_many_changed_bytes_are_found_with_their_range(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(300)])
    log.append([small(5)])
    path = workspace.folder / "journal" / "000000"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"person_77", b"person_88"))
    (first, *_) = verify(workspace.folder, TRUST_BYTES).findings
    assert first.where.startswith("journal/000000 bytes ")
    assert "entry 1" in first.what
    path.write_bytes(data)
    bundle = workspace.folder / "tile" / "entries" / "000"
    content = bundle.read_bytes()
    at = content.index(b"person_77")
    bundle.write_bytes(content.replace(b"person_77", b"person_88"))
    (finding,) = verify(workspace.folder, TRUST_BYTES).findings
    assert finding.where == f"tile/entries/000 bytes {at + 7}-{at + 8}"


def test_a_rewritten_entry_is_found_even_where_every_checksum_is_right(
    workspace: Workspace,
) -> None:
    opened = Entry(EntryKind.LOG_OPENED, BEGIN_MS, {"origin": ORIGIN}).encode()
    write_journal(workspace.folder, [opened], [small(1).encode()])
    check_log(workspace.folder, TRUST)
    path = workspace.folder / "journal" / "000000"
    data = path.read_bytes()
    first_frame_end = data.index(b"ddj1", 1)
    note = (workspace.folder / "checkpoint").read_bytes()
    forged = data[:first_frame_end] + encode_frame([small(2).encode()], note)
    path.write_bytes(forged)
    report = verify(workspace.folder, TRUST_BYTES)
    assert {row.where.split(" ")[0] for row in report.findings} == {"journal/000000", "checkpoint"}


def test_a_log_signed_by_a_stranger_is_found(workspace: Workspace) -> None:
    other = replace(TRUST, log_key=STRANGER.public_key)
    workspace.create()
    report = verify(workspace.folder, encode_trust(other))
    assert {row.where for row in report.findings} == {"checkpoint", "journal, last batch"}


def test_another_logs_name_is_found(workspace: Workspace) -> None:
    workspace.create()
    other = replace(TRUST, log_origin="other.example")
    assert not verify(workspace.folder, encode_trust(other)).holds


def test_a_crash_leaves_notices_and_no_findings(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(1)])
    before = (workspace.folder / "checkpoint").read_bytes()
    log.append([small(2)])
    path = workspace.folder / "journal" / "000000"
    data = path.read_bytes()
    (workspace.folder / "checkpoint").write_bytes(before)
    report = verify(workspace.folder, TRUST_BYTES)
    assert report.holds
    assert report.notices == ("1 entries are durable and not yet published",)
    path.write_bytes(data[:-1])
    (workspace.folder / "checkpoint.new").write_bytes(b"half")
    report = verify(workspace.folder, TRUST_BYTES)
    assert report.holds
    assert len(report.notices) == 2


def test_the_vocabulary_is_the_logs() -> None:
    assert set(FIELDS) == {str(kind) for kind in EntryKind}


def test_trust_comes_from_elsewhere_and_must_be_right(workspace: Workspace) -> None:
    workspace.create()
    for data in (b"", b"{}", TRUST_BYTES[:-9], TRUST_BYTES.replace(b": 2", b": 0")):
        with pytest.raises(Invalid):
            verify(workspace.folder, data)
    with pytest.raises(NotFound):
        verify(workspace.folder / "nowhere", TRUST_BYTES)
    (workspace.folder / "empty").mkdir()
    assert not verify(workspace.folder / "empty", TRUST_BYTES).holds


def test_the_verifier_imports_nothing_of_ours_but_canonical_and_errors() -> None:
    allowed = {"dutchdoor", "dutchdoor.canonical", "dutchdoor.errors", "dutchdoor.evidence"}
    outside = {"cryptography"}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                first = name.split(".")[0]
                inside = name.startswith("dutchdoor.evidence.verify") or name in allowed
                assert inside or first in sys.stdlib_module_names | outside, (path, name)
    code = (
        "import sys, dutchdoor.evidence.verify.__main__\n"
        "print([n for n in sys.modules if n.startswith('dutchdoor')])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for name in ast.literal_eval(output.stdout):
        assert name in allowed or name.startswith("dutchdoor.evidence.verify"), name


def test_the_command_says_what_it_found(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = workspace.create()
    log.append([decision_entry(), begun()])
    trust = tmp_path / "trust.json"
    trust.write_bytes(TRUST_BYTES)
    receipt = tmp_path / "receipt.json"
    receipt.write_bytes(log.receipt(2))
    arguments = [str(workspace.folder), "--trust", str(trust), "--receipt", str(receipt)]
    command = [sys.executable, "-m", "dutchdoor.evidence.verify", *arguments]
    done_process = subprocess.run(command, capture_output=True, text=True)
    assert done_process.returncode == 0
    assert done_process.stdout.splitlines()[-1] == "holds"
    assert "open       inf_1" in done_process.stdout
    assert main([*arguments, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["holds"], value["entries"], value["receipts"]) == (True, 3, 1)

    (workspace.folder / "\x1b[2Jlog").write_text("x")
    assert main(arguments) == 1
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert output.splitlines()[-1] == "does not hold: 1 findings"
    assert main([str(tmp_path / "nowhere"), "--trust", str(trust)]) == 2
    assert main([str(workspace.folder), "--trust", str(tmp_path / "nothing")]) == 2
    assert "could not verify" in capsys.readouterr().err


def test_findings_are_bounded_and_the_report_is_canonical(workspace: Workspace) -> None:
    report: Report = verify(workspace.create().folder, TRUST_BYTES)
    assert report.to_value()["findings"] == []
