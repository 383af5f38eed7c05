"""facts.yaml says what people state, and nothing that was not asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.audit.outputs.facts import FACTS, Facts, read_facts
from dutchdoor.errors import Invalid

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "outputs.md"


def read(folder: Path, text: str) -> Facts:
    (folder / "facts.yaml").write_text(text)
    return read_facts(folder)


def test_without_a_file_nothing_is_stated(tmp_path: Path) -> None:
    facts = read_facts(tmp_path)
    assert {facts.get(name) for name in FACTS} == {"not stated"}
    assert (facts.parameters, facts.digest, facts.components) == (None, "", ())


def test_texts_lists_and_components_are_read(tmp_path: Path) -> None:
    facts = read(
        tmp_path,
        "languages: [en, de]\nparameters: 42\ncontact: ''\n"
        "components:\n  Datasets: {licence: CC0-1.0}\n",
    )
    assert facts.all("languages") == ("en", "de")
    assert facts.parameters == 42
    assert not facts.given("contact")
    assert [row.name for row in facts.components] == ["Datasets"]
    assert facts.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("colour: blue\n", "'colour'"),
        ("provider: {a: b}\n", "'provider'"),
        ("provider: true\n", "'provider'"),
        ("parameters: many\n", "'parameters'"),
        ("components: [Datasets]\n", "'components'"),
        ("components: {Poems: {licence: MIT}}\n", "'Poems'"),
        ("components: {Datasets: {price: '1'}}\n", "'Datasets'"),
        ("components: {Datasets: {licence: 1}}\n", "'Datasets'"),
        ("- provider\n", "no mapping"),
        ("provider: a\nprovider: b\n", "repeated"),
        ("provider: &x a\ncontact: *x\n", "alias"),
    ],
)
def test_what_was_not_asked_for_is_refused(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        read(tmp_path, text)


def test_control_characters_do_not_come_in(tmp_path: Path) -> None:
    facts = read(tmp_path, 'provider: "a\\u001b[31m\\u202eb"\n')
    assert facts.get("provider") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b"


def test_the_reference_lists_every_fact() -> None:
    page = DOCS.read_text()
    assert [name for name, asked in FACTS.items() if f"| `{name}` | {asked} |" not in page] == []
