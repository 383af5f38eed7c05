"""A workspace that lost a part is damaged, not new: nobody is told to make it again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dutchdoor.app.workspace import Workspace, make_workspace, open_workspace
from dutchdoor.errors import NotFound
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.trust import load_trust


def _read_log(workspace: Workspace) -> object:
    return LogReader(workspace.places.evidence).refresh()


LOST: list[tuple[str, Callable[[Workspace], object], str]] = [
    ("evidence/checkpoint", _read_log, "no_log"),
    ("evidence", _read_log, "no_log"),
    ("evidence", lambda workspace: workspace.log, "no_log"),
    ("trust.json", lambda workspace: workspace.trust, "no_trust"),
    ("state.db", lambda workspace: workspace.access, "no_database"),
    ("keyring/access.key", lambda workspace: workspace.access, "no_access_key"),
]


@pytest.mark.parametrize(("lost", "use", "code"), LOST)
def test_what_is_lost_is_restored_and_never_made_anew(
    tmp_path: Path, lost: str, use: Callable[[Workspace], object], code: str
) -> None:
    places = make_workspace(tmp_path / "house").places
    path = places.root / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(NotFound) as caught:
        use(open_workspace(places))
    assert caught.value.code == code
    assert "restore it from a backup" in caught.value.hint
    assert "do not run 'dutchdoor init'" in caught.value.hint


def test_a_folder_that_never_was_a_workspace_is_told_how_to_become_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_trust(tmp_path / "trust.json")
    assert "dutchdoor init" in caught.value.hint
    assert "backup" not in caught.value.hint
