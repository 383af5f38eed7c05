"""`dutchdoor release practice` and `moderation`, as somebody types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dutchdoor.cli.main import app
from tests.runtime.tiny_model import write_tiny_model


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("practice")
    write_tiny_model(root / "model")
    house = root / "house"
    at = ["--workspace", str(house)]
    assert run("init", *at).exit_code == 0
    sealed = run("seal", str(root / "model"), "-o", "tiny", "--auditor", "Ada", *at)
    assert sealed.exit_code == 0, sealed.output
    return house


def items(ran: Result) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(ran.stdout)["items"]}


def test_a_fresh_workspace_shows_what_it_shows_and_a_false_claim_is_contradicted(
    house: Path,
) -> None:
    at = ["--workspace", str(house)]
    first = run("release", "practice", "--write", "--json", *at)
    assert first.exit_code == 0, first.output
    found = items(first)
    assert found["structured_access"]["status"] == "adopted"
    assert found["limitations_told"]["status"] == "missing"
    assert found["regular_audits"]["status"] == "missing"
    page = house / "practice" / "practice.yaml"
    stated = page.read_text().replace(
        "training_exclusions: {claim: open", "training_exclusions: {claim: adopted"
    )
    rule = "[{name: boards, match: [4chan], why: hate}]"
    stated = stated.replace(
        '{manifest: "", exclusions: []}', f'{{manifest: "data.jsonl", exclusions: {rule}}}'
    )
    page.write_text(stated)
    (house / "data.jsonl").write_text('{"name": "4chan", "source": "a crawl"}\n')
    second = run("release", "practice", "--json", *at)
    assert second.exit_code == 1
    assert items(second)["training_exclusions"]["status"] == "contradicted"
    told = run("release", "practice", *at).stdout
    assert "8. contradicted" in told
    assert "**adopted**" in (house / "practice" / "practice.md").read_text()


def test_the_guards_data_is_exported_once_into_an_empty_folder(house: Path, tmp_path: Path) -> None:
    at = ["--workspace", str(house), "--json"]
    ran = run("release", "moderation", str(tmp_path / "out"), *at)
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "out" / "prompts.jsonl").stat().st_size > 0
    assert run("release", "moderation", str(tmp_path / "out"), *at).exit_code == 1
