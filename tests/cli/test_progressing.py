"""Progress is heard where no terminal is, and does not drown the rest."""

from __future__ import annotations

import pytest

from dutchdoor.cli.frame import Output
from dutchdoor.cli.progressing import Lines, progressing


def test_each_part_speaks_when_it_begins_at_each_quarter_and_at_its_end() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for name in ("refusal", "bias"):
        for done in range(41):
            lines(name, done, 40)
    assert said[:5] == [f"refusal: {n} of 40" for n in (0, 10, 20, 30, 40)]
    assert len(said) == 10
    lines("extraction", 0, 0)
    assert said[-1] == "extraction: 0 of 0", "a part of unknown size does not end the run"


def test_without_a_terminal_progress_goes_to_stderr_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progressing(Output(json_wanted=True)) as progress:
        progress("refusal", 0, 4)
        progress("refusal", 4, 4)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == ["refusal: 0 of 4", "refusal: 4 of 4"]
