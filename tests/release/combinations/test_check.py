"""A decision with a forbidden combination is refused; its page says what it makes possible."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.errors import Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.openness import Audience, Depth, Level
from dutchdoor.evidence.terms import NO_TERMS, ComponentAccess, ComponentTerms, Terms
from dutchdoor.release.combinations.check import (
    answer_lines,
    check_combination,
    combination_lines,
)
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import WEIGHTS
from dutchdoor.release.combinations.opening import opening_of
from dutchdoor.release.combinations.openness import class_of
from dutchdoor.release.combinations.rules import load_rules
from tests.release.parts import Workspace

TRADE = re.compile(
    r"\b(taps?|logits?|log-?prob\w*|vectors?|tokens?|layers?|gradients?|activations?|fine-tun\w*|"
    r"weights|basis|equations?|checkpoints?|parameters?|bracket\w*|h|V|k)\b|[=^/]"
)
"""Words that only people of the trade know, and formulas."""
READS = (Depth.SAMPLING, Depth.ACTIVATIONS, Depth.LOGITS)


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    house = Workspace(tmp_path)
    house.born()
    return replace(house.proposed().decision, terms=NO_TERMS)


def shared(**access: str) -> Terms:
    rows = tuple(
        ComponentTerms(name.replace("_", " "), ComponentAccess(word), "OpenMDW-1.0")
        for name, word in access.items()
    )
    return replace(NO_TERMS, components=rows)


def test_a_usual_decision_passes_and_its_page_says_what_it_makes_possible(
    decision: Decision,
) -> None:
    check_combination(decision)
    page = "\n".join(combination_lines(decision))
    assert (
        "- Use (ask it and have its answers): users of the service, and those let in further"
        in page
    )
    assert "- Modify (change what it does): nobody" in page
    assert "- The holder can take it back: yes" in page
    assert "**Risky** for vetted people: Whoever sees the model's inside together" in page
    whole = "\n".join(answer_lines(answer(opening_of(decision))))
    assert "at most 144 vectors may leave, of h = 576" in whole


def test_each_rule_has_one_sentence_without_the_words_of_the_trade() -> None:
    rules = load_rules()
    said = {row.name: row.plain for row in (*rules.ways, *rules.ends)}
    said |= {flag.name: flag.plain for flag in rules.flags}
    for name, plain in said.items():
        assert not TRADE.search(plain), name
        assert plain.count(". ") == 0, f"{name}: one sentence"
        assert plain.strip().endswith("."), name


def test_the_page_of_a_birth_speaks_plainly_of_what_it_makes_possible(tmp_path: Path) -> None:
    house = Workspace(tmp_path)
    born = house.born()
    page = house.release.show(born.id)
    part = page.partition("## What this makes possible")[2].partition("## What holds them back")[0]
    assert "**Risky** for auditors:" in part
    assert not TRADE.search(part.partition("In the words of the trade")[0])


def test_bracketing_the_last_layer_for_users_is_refused_with_what_mends_it(
    decision: Decision,
) -> None:
    wide = replace(decision, audiences=(Audience("developer", READS),))
    with pytest.raises(Refused) as caught:
        check_combination(wide)
    assert caught.value.code == "combination_forbidden"
    assert "last_layer_bracketed" in caught.value.message
    assert "vetted people only" in caught.value.hint
    check_combination(replace(decision, audiences=(Audience("researcher", READS),)))


def test_no_person_named_makes_a_forbidden_combination_good(decision: Decision) -> None:
    """Keys are put together, and a person may be in two audiences."""
    split = (Audience("developer", READS[:2], ("person_a",)), Audience("partner", READS[2:]))
    with pytest.raises(Refused):
        check_combination(replace(decision, audiences=split))


@pytest.mark.parametrize("level", [Level.GRADUAL_STAGED, Level.HOSTED, Level.CLOUD_API])
def test_weights_do_not_leave_below_downloadable(decision: Decision, level: Level) -> None:
    weights = ComponentTerms(WEIGHTS, ComponentAccess.GATED_DOWNLOAD)
    terms = replace(NO_TERMS, components=(weights,))
    with pytest.raises(Refused) as caught:
        check_combination(replace(decision, level=level, terms=terms))
    assert "weights_leave_unsaid" in caught.value.message
    check_combination(replace(decision, level=Level.DOWNLOADABLE, terms=terms))


def test_what_a_level_says_of_the_weights_holds_where_no_component_is_named(
    decision: Decision,
) -> None:
    for level, access in (
        (Level.CLOUD_API, ComponentAccess.SERVED),
        (Level.DOWNLOADABLE, ComponentAccess.GATED_DOWNLOAD),
        (Level.FULLY_OPEN, ComponentAccess.PUBLIC),
    ):
        opening = opening_of(replace(decision, level=level))
        assert opening.components[WEIGHTS] is access
    assert len(opening_of(replace(decision, level=Level.FULLY_OPEN)).components) == 17


def test_fully_open_in_name_only_is_refused(decision: Decision) -> None:
    half = replace(NO_TERMS, components=(ComponentTerms(WEIGHTS, ComponentAccess.PUBLIC),))
    check_combination(replace(decision, level=Level.FULLY_OPEN))
    with pytest.raises(Refused) as caught:
        check_combination(replace(decision, level=Level.FULLY_OPEN, terms=half))
    assert "open_in_name" in caught.value.message


def test_the_class_counts_what_is_public_and_what_stands_inside(decision: Decision) -> None:
    terms = shared(
        Model_architecture="public",
        Technical_report="public",
        Evaluation_results="public",
        Model_card="public",
    )
    weights = ComponentTerms(WEIGHTS, ComponentAccess.PUBLIC, "OpenMDW-1.0")
    card = ComponentTerms("Data card", ComponentAccess.PUBLIC, "", ("inside: Model card",))
    rows = (*terms.components, weights)
    opened = replace(decision, level=Level.DOWNLOADABLE)
    assert class_of(replace(opened, terms=replace(terms, components=rows))).number == 0
    rows = (*rows, card)
    assert class_of(replace(opened, terms=replace(terms, components=rows))).number == 3
    gated = tuple(
        replace(row, access=ComponentAccess.GATED_DOWNLOAD) if row is weights else row
        for row in rows
    )
    found = class_of(replace(opened, terms=replace(terms, components=gated)))
    assert (found.number, found.missing[0]) == (0, WEIGHTS)


def test_a_forbidden_combination_is_not_proposed_and_leaves_nothing(tmp_path: Path) -> None:
    house = Workspace(tmp_path)
    house.born()
    with pytest.raises(Refused) as caught:
        house.proposed(audiences=(Audience("developer", READS),))
    assert caught.value.code == "combination_forbidden"
    assert house.release.proposals() == ()


def test_a_forbidden_combination_written_in_afterwards_is_not_approved(tmp_path: Path) -> None:
    house = Workspace(tmp_path)
    house.born()
    proposal = house.proposed(audiences=(Audience("researcher", READS),))
    path = house.release.document(proposal.id)
    path.write_text(path.read_text().replace("audience: researcher", "audience: developer"))
    before = house.kinds()
    with pytest.raises(Refused) as caught:
        house.release.approve(proposal.id, house.people.first)
    assert caught.value.code == "combination_forbidden"
    assert house.kinds() == before
    # It can still be read, and its page says why it is refused.
    assert "**Forbidden** for users of the service" in house.release.show(proposal.id)
    assert [row.state for row in house.release.history()][-1] == "proposed"
