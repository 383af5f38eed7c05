"""Making and opening a workspace: nothing is written over, everything is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.app.workspace import make_workspace, open_workspace
from dutchdoor.config import Places
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Unavailable
from dutchdoor.evidence.model import Entry, EntryKind
from tests.check_log import check_log


def test_a_new_workspace_holds_from_its_first_entry(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "house")
    report = check_log(workspace.places.evidence, workspace.places.trust)
    assert report.entries == 2
    assert workspace.trust.approvals_min == 2
    assert not set(workspace.trust.auditors) & set(workspace.trust.approvers)
    for path in workspace.places.keyring.rglob("*.key"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} is open to others"


def test_a_workspace_is_never_made_over_another(tmp_path: Path) -> None:
    first = make_workspace(tmp_path)
    before = first.places.trust.read_bytes()
    with pytest.raises(Refused):
        make_workspace(tmp_path)
    assert first.places.trust.read_bytes() == before


@pytest.mark.parametrize(
    ("approvers", "approvals", "origin"),
    [
        (("one",), 1, "a.example/b"),
        (("one", "one"), 2, "a.example/b"),
        (("one", "two"), 3, "a.example/b"),
        (("one", "two"), 2, "has a space"),
    ],
)
def test_a_workspace_that_one_person_could_open_alone_is_not_made(
    tmp_path: Path, approvers: tuple[str, ...], approvals: int, origin: str
) -> None:
    with pytest.raises(Invalid):
        make_workspace(
            tmp_path / "house", approvers=approvers, approvals_min=approvals, origin=origin
        )
    assert not (tmp_path / "house").exists(), "a refusal leaves nothing behind"


def test_without_a_log_nothing_is_recorded_and_nothing_opens(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "house")
    for path in workspace.places.evidence.rglob("*"):
        if path.is_file():
            path.unlink()
    opened = open_workspace(Places(tmp_path / "house"))
    with pytest.raises(DutchdoorError):
        opened.record(Entry(EntryKind.POLICY_LOADED, 1, {"policies": "x"}))


def test_an_unknown_setting_is_refused_and_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "house")
    with workspace.places.config.open("a") as file:
        file.write("\n[guard]\nrulez = 'mine.yaml'\n")
    with pytest.raises(Invalid, match="rulez"):
        open_workspace(workspace.places)


def test_a_server_that_died_is_not_taken_for_running(tmp_path: Path) -> None:
    from dutchdoor.app.running import Running, find_running, write_running

    workspace = make_workspace(tmp_path / "house")
    workspace.places.run.mkdir()
    with pytest.raises(Unavailable):
        find_running(workspace.places)
    write_running(workspace.places, Running("http://127.0.0.1:1", "", "", "", 2**22 + 1, 0, 0))
    with pytest.raises(Unavailable):
        find_running(workspace.places)
