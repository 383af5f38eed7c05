"""Who reads which document is the rules' to say; whoever is not known reads what is public."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.access.cedar import Policies, PolicyBook, install_default_policies
from dutchdoor.access.model import Person
from dutchdoor.access.reading import FOLDER, DocumentReader
from dutchdoor.errors import Invalid
from dutchdoor.ids import PersonId

LEVELS = ("public", "internal", "confidential", "infohazard")
ADA = Person(PersonId("person_1"), "Ada", "House", "auditor", 0)
AUDIT = frozenset({"audit"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install_default_policies(tmp_path)
    return tmp_path / FOLDER


@pytest.fixture
def rules(folder: Path) -> Policies:
    return PolicyBook(folder).current


def levels(reader: DocumentReader) -> list[str]:
    return [level for level in LEVELS if reader.reads("S2", level).permits]


@pytest.mark.parametrize(
    ("roles", "depths", "count"),
    [
        ((), (), 1),
        ((), ("sampling",), 1),
        (("maker",), (), 2),
        ((), ("audit",), 3),
        (("decider",), (), 3),
        (("external_auditor",), ("audit",), 3),
        (("external_auditor",), (), 2),
        (("auditor",), (), 2),
        (("auditor",), ("audit",), 4),
    ],
)
def test_each_reads_as_far_as_role_and_lease_reach(
    rules: Policies, roles: tuple[str, ...], depths: tuple[str, ...], count: int
) -> None:
    reader = DocumentReader(rules, "a", "b", ADA, frozenset(roles), frozenset(depths))
    assert levels(reader) == list(LEVELS[:count])


def test_the_public_has_no_role_whatever_is_handed_in(rules: Policies) -> None:
    reader = DocumentReader(rules, "a", "b", None, frozenset({"auditor"}), AUDIT)
    assert levels(reader) == ["public"]
    assert reader.name == "the public"


def test_who_left_reads_what_is_public(rules: Policies) -> None:
    left = replace(ADA, active=False)
    reader = DocumentReader(rules, "a", "b", left, frozenset({"auditor"}), AUDIT)
    assert levels(reader) == ["public"]


def test_an_unknown_sensitivity_is_read_by_nobody(rules: Policies) -> None:
    reader = DocumentReader(rules, "a", "b", ADA, frozenset({"auditor"}), AUDIT)
    for word in ("", "PUBLIC", "secret", "public "):
        assert not reader.reads("S2", word).permits


def test_without_rules_nobody_reads_anything(folder: Path) -> None:
    book = PolicyBook(folder)
    (folder / "base.cedar").unlink()
    book.reload_if_changed()
    reader = DocumentReader(book.current, "a", "b", ADA, frozenset({"auditor"}), AUDIT)
    assert levels(reader) == []
    with pytest.raises(Invalid):
        PolicyBook(folder)


def test_a_rule_of_the_house_narrows(folder: Path) -> None:
    (folder / "ours.cedar").write_text(
        '@id("ours") @reason("Not the report.") forbid (principal, action, resource) '
        'when { resource.kind == "R4" };'
    )
    reader = DocumentReader(PolicyBook(folder).current, "a", "b", ADA)
    assert not reader.reads("R4", "public").permits
    assert reader.reads("R4", "public").rule == "ours"
    assert reader.reads("S2", "public").permits


def test_every_rule_says_its_reason(rules: Policies) -> None:
    assert all(rule.reason.endswith(".") for rule in rules.rules)
    ids = [rule.id for rule in rules.rules]
    assert all(one != other for one, other in itertools.pairwise(sorted(ids)))
