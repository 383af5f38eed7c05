"""A bundle that opens only on a measured host, with a real TPM in software and real processes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dutchdoor.app.opening import answer_opening
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.main import app
from dutchdoor.custody.opening import Opening
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.terms import CustodyTerms
from tests.check_log import check_log
from tests.custody.attestation.emulator import emulated_tpm, extend, needs_swtpm
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.deciding import decide
from tests.whole.house import House, make_house, served

pytestmark = needs_swtpm


@dataclass(frozen=True)
class Measured:
    """A house whose decision demands a TPM, on a machine that has one."""

    house: House
    tcti: str

    def cli(self, *arguments: str) -> tuple[int, Any]:
        root = str(self.house.workspace.places.root)
        ran = CliRunner().invoke(app, [*arguments, "--workspace", root, "--json"])
        text = ran.stdout.strip()
        return ran.exit_code, json.loads(text) if text else ran.stderr

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        reader = LogReader(self.house.workspace.places.evidence)
        entries = [Entry.decode(data) for _, data in reader.entries()]
        return [entry.body for entry in entries if entry.kind == kind]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    root = tmp_path_factory.mktemp("measured")
    house = make_house(root / "house", write_tiny_model(root / "model"))
    with tempfile.TemporaryDirectory() as folder, emulated_tpm(Path(folder)) as tcti:
        config = house.workspace.places.config
        config.write_text(config.read_text() + f'\n[runtime]\ntpm = "{tcti}"\n')
        decide(house, custody=CustodyTerms(grade="tpm"))
        yield Measured(house, tcti)


def why_not(measured: Measured) -> str:
    """The code of what a runtime's request on this machine is refused with."""
    workspace = open_workspace(measured.house.workspace.places)
    request = Opening(measured.house.bundle.digest, workspace.clock).request
    with pytest.raises(DutchdoorError) as caught:
        answer_opening(workspace, measured.house.bundle, request)
    return caught.value.code


def test_a_host_opens_once_it_is_enrolled_and_no_more_once_it_booted_something_else(
    measured: Measured, tmp_path: Path
) -> None:
    assert measured.cli("custody", "hosts") == (0, [])
    described = tmp_path / "host.json"
    code, made = measured.cli("custody", "host-key", "rack-4", "--out", str(described))
    assert code == 0, made
    assert why_not(measured) == "host_not_enrolled"
    assert measured.bodies("key_released") == []

    code, enrolled = measured.cli("custody", "enrol-host", str(described), "--bundle", "tiny")
    assert (code, enrolled["host"]) == (0, made["host"])
    with served(measured.house):
        (released,) = measured.bodies("key_released")
        assert (released["grade"], released["host"]) == ("tpm", made["host"])
        assert [body["grade"] for body in measured.bodies("runtime_started")] == ["tpm"]
        assert measured.cli("release", "diff")[0] == 0

    extend(measured.tcti, 4, "99" * 32)
    assert why_not(measured) == "host_not_as_enrolled"
    assert measured.cli("custody", "remove-host", made["host"])[0] == 0
    assert why_not(measured) == "host_not_enrolled"
    assert len(measured.bodies("key_released")) == 1
    places = open_workspace(measured.house.workspace.places).places
    check_log(places.evidence, places.trust)
