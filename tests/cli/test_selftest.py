"""`dutchdoor selftest`: that it finds a server which counts in order, and one which does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.app.running import Running, alone, write_running
from dutchdoor.cli.main import app
from tests.runtime.tiny_model import write_tiny_model
from tests.server.extraction_house import HIDDEN, Attacked, attacked


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), hidden=HIDDEN)


@contextmanager
def running(folder: Path, model: Path, *, counting: bool) -> Iterator[Attacked]:
    """A server that the command line finds in the workspace `folder`."""
    with attacked(folder, model, counting=counting) as found:
        places = found.house.places
        places.config.write_text("")
        with alone(places):
            write_running(places, Running(found.server.url, found.bundle, "twin", "", 0, 0, 0))
            yield found


def selftest(found: Attacked, people: int) -> Result:
    root = found.house.places.root
    arguments = ["selftest", "--spend", "8", "--json", "--workspace", str(root)]
    for number in range(people):
        path = root / f"{number}.key"
        path.write_text(found.key())
        arguments += ["--key", str(path)]
    return CliRunner().invoke(app, arguments)


def test_a_server_that_counts_holds_against_one_and_against_two(
    tmp_path: Path, model: Path
) -> None:
    with running(tmp_path, model, counting=True) as found:
        done = selftest(found, 2)
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["wrong"] == []
        assert all(row["holds"] for row in told["routes"])
        assert told["control"]["hidden"] == 128
        assert told["control"]["error"] < 1e-6
        assert [row["people"] for row in told["attacks"]] == [1, 2]
        assert all(row["hidden"] is None and row["error"] > 0.8 for row in told["attacks"])
        assert 0 < found.released <= 12, "little is spent, though it is spent for ever"


def test_a_server_that_forgets_to_count_is_found_out(tmp_path: Path, model: Path) -> None:
    with running(tmp_path, model, counting=False) as found:
        done = selftest(found, 1)
        assert done.exit_code != 0
        assert "hidden vectors: gave 128 numbers and counted 0" in done.output
