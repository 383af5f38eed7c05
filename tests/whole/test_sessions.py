"""The sessions in README and tutorial are run as they stand, and print what they say."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.session import Shell, matches, read_commands

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run_page(page: Path, folder: Path, model: Path | None) -> None:
    """Run a page's commands in `folder`; fails at the first that prints something else."""
    shell = Shell(folder, BIN, {"OMP_NUM_THREADS": "2"})
    try:
        for command in read_commands(page.read_text()):
            if model is not None and command.text.startswith("dutchdoor example-model "):
                # Written once for all tests; the command itself is tested where it belongs.
                shutil.copytree(model, folder / command.text.split()[-1])
                continue
            printed, _ = shell.run(command.text)
            where = f"{page.name}:{command.line}: {command.text}"
            assert matches(command.expected, printed), (
                f"{where}\nprinted:\n{printed}\nexpected:\n{command.expected}"
            )
    finally:
        shell.run("dutchdoor stop --workspace house > /dev/null 2>&1")
        shell.run("dutchdoor stop > /dev/null 2>&1")
        shell.close()


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readme_session_prints_what_it_says(tmp_path: Path, model_folder: Path) -> None:
    run_page(ROOT / "README.md", tmp_path, model_folder)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_tutorial_works_as_written(tmp_path: Path, model_folder: Path) -> None:
    run_page(ROOT / "docs" / "tutorial" / "README.md", tmp_path, model_folder)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a …\nb", "a 17\nb\n", True),
        ("…\nb", "x\ny\nb\n", True),
        ("…", "", True),
        ("", "", True),
        ("a", "a\nb\n", False),
        ("a", "", False),
        ("", "surprise\n", False),
    ],
)
def test_a_page_that_says_something_else_fails(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
