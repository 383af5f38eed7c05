"""Terms as people write them: whatever can be signed can be written, and mistakes are named."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.audit.document import Document, read_document, write_document
from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Level, open_decision
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import ComponentAccess, ComponentTerms, StageTerms, Terms
from dutchdoor.release.model import DEFAULTS
from dutchdoor.release.plain import plain_terms, read_terms
from dutchdoor.release.proposal import decision_of, document_of
from dutchdoor.release.terms import complete, default_components, must_agree
from tests.evidence.parts import ALICE, BEGIN_MS, BOB, DECISION, TRUST
from tests.evidence.terms_parts import at_its_stage, every_terms
from tests.release.parts import Workspace

PROFILES = ["none", "licensed", "regulator_non_objection"]
ANY_TERMS = every_terms(st.sampled_from(COMPONENTS), st.just(""), PROFILES)
SHARED = "Model parameters (Final)"


def fitting(terms: Terms) -> Terms:
    """`terms` whose parameters are shared as level cloud_api shares them."""
    rows = [row if row.name != SHARED else replace(row, access=SERVED) for row in terms.components]
    return replace(terms, components=tuple(rows))


SERVED = ComponentAccess.SERVED


@settings(deadline=None, max_examples=60)
@given(ANY_TERMS, st.integers(0, 1_000_000))
def test_every_field_goes_from_document_to_signed_decision_and_back(
    terms: Terms, review: int
) -> None:
    terms = replace(fitting(terms), review_by_ms=review and BEGIN_MS + review)
    decision = at_its_stage(replace(DECISION, level=Level.CLOUD_API), terms)
    document = document_of(
        "proposal_1", decision, "why", proposed_by="w", proposed_by_key="", observation_days=30
    )
    read = decision_of(Document.decode(document.encode()))
    assert read.terms == decision.terms
    envelope = sign_statement("release_decision", read.to_body(), [ALICE, BOB])
    signed = open_decision(envelope, TRUST)
    assert signed == read
    assert read_terms(plain_terms(signed.terms)) == decision.terms


def test_what_is_left_out_has_the_default_that_is_documented() -> None:
    assert read_terms({}) == Terms()
    assert read_terms({"custody": None, "heard": None}) == Terms()
    rows = read_terms(
        {
            "components": [{"name": "Model card", "access": "public"}],
            "custody": {"shares_min": 2},
            "runtime": {"tools": False},
            "outside": [{"by": "x", "duty": "condition", "text": "y"}],
        }
    )
    assert rows.components == (ComponentTerms("Model card", ComponentAccess.PUBLIC),)
    assert (rows.custody.shares_min, rows.custody.grade) == (2, "")
    assert not rows.runtime.tools
    assert rows.outside[0].key == ""


def test_the_stage_that_is_decided_on_need_not_be_written_twice() -> None:
    here = StageTerms("1", DECISION.level, DECISION.audiences)
    plan: dict[str, Any] = {
        "stages": [
            {"name": "1"},
            {
                "name": "2",
                "level": "cloud_api",
                "audiences": [{"audience": "public", "depths": ["sampling"]}],
                "gates": [{"kind": "days_without_incident", "arguments": {"days": 30}}],
            },
        ]
    }
    first, second = read_terms(plan, here=here).stages
    assert first == here
    assert second.gates[0].arguments == {"days": "30"}
    with pytest.raises(Invalid, match=r"stages\[0\]: 'level' is missing"):
        read_terms(plan)


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"componets": []}, "'componets' is no field", "do you mean 'components'?"),
    ({"custody": {"shares": 1}}, "terms.custody: 'shares'", "shares_min"),
    ({"components": [{"name": "Weights", "access": "closed"}]}, "'Weights' is not", SHARED),
    ({"components": [{"name": SHARED, "access": "open"}]}, "'open' is not known", "public"),
    ({"components": [{"name": SHARED}]}, "'access' is missing", "licence"),
    ({"components": {}}, "it is no list", "- "),
    ({"heard": "everybody"}, "terms.heard: it is no list", "- "),
    ({"heard": [1]}, "terms.heard[0]: it is no text", "quotes"),
    ({"safety_margin": "x" * 4_001}, "more than 4000 characters", "short"),
    ({"void_if": ["x"] * 65}, "more than 64 rows", "fewer"),
    ({"review_by": "soon"}, "terms.review_by: 'soon' is not a time", "2026"),
    ({"runtime": {"tools": "yes"}}, "neither true nor false", "true or false"),
    ({"custody": {"copies_max": -1}}, "no whole number", "0"),
    ({"custody": {"grade": "steel"}}, "'steel' is not known", "tpm"),
    ({"outside": [{"by": "x", "duty": "wish", "text": ""}]}, "'wish' is not", "non_objection"),
    ({"contacts": [{"role": "boss", "name": "", "address": ""}]}, "'boss' is not", "liability"),
    (
        {
            "stages": [
                {"name": "1", "level": "hosted", "audiences": [{"audience": "x", "depths": []}]}
            ]
        },
        "terms.stages[0].audiences[0]: no audience 'x'",
        "researcher",
    ),
]


@pytest.mark.parametrize(("value", "where", "hint"), MISTAKES)
def test_a_mistake_is_named_with_its_place_and_with_what_may_stand_there(
    value: dict[str, Any], where: str, hint: str
) -> None:
    with pytest.raises(Invalid) as caught:
        read_terms(value)
    assert where in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.code == "bad_terms"


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(plain_terms(Terms()))), JUNK) | JUNK)
def test_whatever_stands_there_only_our_errors_come_out(value: Any) -> None:
    with contextlib.suppress(Invalid):
        read_terms(value)


def test_a_new_proposal_names_all_17_components_and_a_day_of_review(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    terms = decision_of(read_document(workspace.release.document(proposal.id))).terms
    assert [row.name for row in terms.components] == list(COMPONENTS)
    shared = [row.name for row in terms.components if row.access is not ComponentAccess.CLOSED]
    assert shared == [SHARED]
    assert terms.review_by_ms == proposal.decision.not_after_ms
    assert terms.heard == ("an external red team",)
    assert terms.safety_margin
    assert terms.void_if
    assert terms.profile == "none"


def test_what_somebody_said_about_a_component_takes_the_place_of_its_default() -> None:
    card = ComponentTerms("Model card", ComponentAccess.PUBLIC, "CC-BY-4.0")
    terms = complete(Terms(components=(card,)), DECISION)
    assert [row for row in terms.components if row.name == "Model card"] == [card]
    assert len(terms.components) == len(COMPONENTS)
    everything = default_components(Level.FULLY_OPEN)
    assert {row.access for row in everything} == {ComponentAccess.PUBLIC}


@pytest.mark.parametrize("level", Level)
def test_the_defaults_of_a_level_agree_with_it(level: Level) -> None:
    must_agree(replace(DECISION, level=level, terms=Terms(components=default_components(level))))


@pytest.mark.parametrize(
    ("level", "access"),
    [
        (Level.GRADUAL_STAGED, ComponentAccess.PUBLIC),
        (Level.HOSTED, ComponentAccess.GATED_DOWNLOAD),
        (Level.CLOUD_API, ComponentAccess.PUBLIC),
        (Level.DOWNLOADABLE, ComponentAccess.SERVED),
        (Level.FULLY_OPEN, ComponentAccess.GATED_DOWNLOAD),
    ],
)
def test_parameters_are_not_shared_in_a_row_against_the_level(
    level: Level, access: ComponentAccess
) -> None:
    terms = Terms(components=(ComponentTerms(SHARED, access),))
    with pytest.raises(Invalid) as caught:
        must_agree(replace(DECISION, level=level, terms=terms))
    assert (caught.value.code, bool(caught.value.hint)) == ("components_disagree", True)


def test_a_decision_that_fits_in_no_entry_is_refused_before_anybody_signs(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    path = workspace.release.document(workspace.proposed().id)
    document = read_document(path)
    document.front["terms"]["limitations"] = ["x" * 3_900] * 8
    write_document(path, document)
    with pytest.raises(Invalid, match=f"{DEFAULTS.decision_bytes_max} are allowed"):
        workspace.release.proposal(path.parent.name)


def test_a_proposal_of_before_there_were_terms_is_signed_as_it_always_was(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    path = workspace.release.document(proposal.id)
    document = read_document(path)
    del document.front["terms"]
    document.front["heard"] = ["a red team"]
    write_document(path, document)
    workspace.release.approve(proposal.id, workspace.people.first)
    approved = workspace.release.approve(proposal.id, workspace.people.second)
    assert approved.in_force
    assert "terms" not in approved.decision.to_body()
    assert "Heard: a red team." in approved.decision.reasons
    assert workspace.release.proposal(proposal.id).heard == ("a red team",)
    document.front["terms"] = {}
    write_document(path, document)
    with pytest.raises(Invalid, match="'heard' is not a field"):
        workspace.release.proposal(proposal.id)
