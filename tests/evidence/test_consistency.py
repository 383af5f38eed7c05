"""A log that was cut back or forked is told from one that went on, by an old checkpoint alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.errors import Invalid, Tampered
from dutchdoor.evidence.consistency import continues
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.trust import encode_trust, log_key
from dutchdoor.evidence.verify.__main__ import main
from dutchdoor.evidence.verify.verifier import verify
from tests.evidence.parts import TRUST, Workspace, sealed, small

KEY = log_key(TRUST)
TRUST_BYTES = encode_trust(TRUST)


def note(folder: Path) -> bytes:
    return (folder / "checkpoint").read_bytes()


def findings(folder: Path, old: bytes) -> str:
    report = verify(folder, TRUST_BYTES, since={"old": old})
    return " ".join(row.what for row in report.findings if row.where == "old")


def test_a_log_that_went_on_continues_its_past(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([sealed()])
    old = note(workspace.folder)
    for number in range(2, 9):
        log.append([small(number)])
        found = continues(LogReader(workspace.folder, KEY).view, old, KEY)
        assert (found.old.size, found.new.size) == (old_size(old), log.view.size)
        assert findings(workspace.folder, old) == ""
    assert continues(LogReader(workspace.folder, KEY).view, note(workspace.folder), KEY).proof == ()


def old_size(data: bytes) -> int:
    return int(data.split(b"\n")[1])


def test_a_log_that_was_cut_back_is_found_out(workspace: Workspace, tmp_path: Path) -> None:
    log = workspace.create()
    log.append([sealed()])
    shutil.copytree(workspace.folder, tmp_path / "earlier")
    log.append([small(2)])
    newer = note(workspace.folder)
    earlier = tmp_path / "earlier"
    # By itself it is an honest log.
    assert verify(earlier, TRUST_BYTES).holds
    with pytest.raises(Tampered) as caught:
        continues(LogReader(earlier, KEY).view, newer, KEY)
    assert caught.value.code == "log_cut_back"
    assert "are left" in findings(earlier, newer)


def test_a_log_that_was_forked_is_found_out(workspace: Workspace, tmp_path: Path) -> None:
    log = workspace.create()
    log.append([sealed()])
    shutil.copytree(workspace.folder, tmp_path / "fork")
    log.append([small(2)])
    kept = note(workspace.folder)
    fork = replace(workspace, folder=tmp_path / "fork").open()
    fork.append([small(3)])
    fork.append([small(4)])
    with pytest.raises(Tampered) as caught:
        continues(LogReader(tmp_path / "fork", KEY).view, kept, KEY)
    assert caught.value.code == "log_forked"
    assert "not those that were signed" in findings(tmp_path / "fork", kept)


def test_an_old_checkpoint_that_nobody_trusted_signed_shows_nothing(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([sealed()])
    view = LogReader(workspace.folder, KEY).view
    good = note(workspace.folder)
    for bad in (b"", b"x", good[:-10], good.replace(b"\n1\n", b"\n2\n", 1), b"\xff" * 100):
        if bad == good:
            continue
        with pytest.raises(Invalid):
            continues(view, bad, KEY)
        assert findings(workspace.folder, bad)


def test_the_lone_verifier_takes_checkpoints_from_before(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = workspace.create()
    log.append([sealed()])
    (tmp_path / "old").write_bytes(note(workspace.folder))
    (tmp_path / "trust.json").write_bytes(TRUST_BYTES)
    log.append([small(2)])
    command = [str(workspace.folder), "--trust", str(tmp_path / "trust.json"), "--json"]
    assert main([*command, "--since", str(tmp_path / "old")]) == 0
    assert json.loads(capsys.readouterr().out)["since"] == 1
    (tmp_path / "old").write_bytes(b"nonsense")
    assert main([*command, "--since", str(tmp_path / "old")]) == 1
    assert main([*command, "--since", str(tmp_path / "none")]) == 2
