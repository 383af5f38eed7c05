"""Where the runtime's socket lies."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dutchdoor.app.gateway import runtime_socket
from dutchdoor.errors import Refused


def test_a_socket_lies_in_the_workspace(tmp_path: Path) -> None:
    assert runtime_socket(Path("/w/run")) == Path("/w/run/runtime.sock")


def test_a_workspace_deep_in_the_tree_still_gets_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = Path("/") / "/".join(["a-folder-with-a-long-name"] * 6)
    path = runtime_socket(deep)
    assert path == runtime_socket(deep), "gateway and runtime find the same place"
    assert path != runtime_socket(deep / "other")
    assert path.parent.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def test_a_folder_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = Path("/") / "/".join(["a-folder-with-a-long-name"] * 6)
    runtime_socket(deep).parent.chmod(0o755)
    with pytest.raises(Refused):
        runtime_socket(deep)
