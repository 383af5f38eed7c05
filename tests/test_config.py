"""The configuration: unknown names and wrong kinds are refused, defaults hold otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.config import Config, find_workspace, load_config
from dutchdoor.errors import Invalid, NotFound


@pytest.mark.parametrize(
    "text",
    [
        "[serverr]\nport = 1",
        "[server]\nprot = 1",
        "[server]\nport = 'eighty'",
        "[server]\nport = true",
        "[server]\nport = -1",
        "[runtime]\nrequire = 'landlock'",
        "server = 3",
        "[server",
    ],
)
def test_a_configuration_that_means_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dutchdoor.toml"
    path.write_text(text)
    with pytest.raises(Invalid):
        load_config(path)


def test_what_is_not_set_has_its_default(tmp_path: Path) -> None:
    path = tmp_path / "dutchdoor.toml"
    path.write_text("[runtime]\nrequire = ['landlock']\n")
    config = load_config(path)
    assert config.runtime.require == ("landlock",)
    assert config.server == Config().server


def test_the_nearest_workspace_above_is_found(tmp_path: Path) -> None:
    (tmp_path / "dutchdoor.toml").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_workspace(inner).root == tmp_path
    with pytest.raises(NotFound):
        find_workspace(Path("/"))
