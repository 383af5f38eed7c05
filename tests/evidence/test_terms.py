"""Terms are signed as they are: every field counts, for the house and for the lone verifier."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotInForce
from dutchdoor.evidence.decision import DECISION_KIND, Decision, Level, open_decision
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id, sign_statement
from dutchdoor.evidence.terms import (
    NO_TERMS,
    ROWS_MAX,
    TEXT_CHARS_MAX,
    ComponentAccess,
    ComponentTerms,
    Contact,
    CustodyTerms,
    OutsideTerms,
    StageTerms,
    Terms,
)
from dutchdoor.evidence.trust import encode_trust, parse_trust
from dutchdoor.evidence.verify.decisions import Decisions
from dutchdoor.evidence.verify.keys import read_trust
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.ids import DecisionId
from tests.evidence.parts import (
    ALICE,
    BEGIN_MS,
    BOB,
    BUNDLE,
    DECISION,
    END_MS,
    HOLDER,
    STRANGER,
    TRUST,
    TestSigner,
    Workspace,
    begun,
    decision_entry,
    key_released,
)
from tests.evidence.terms_parts import at_its_stage, every_terms

REGULATOR = TestSigner("regulator")
PANEL = TestSigner("panel")
WATCHED = replace(
    TRUST,
    outside={key_id(one.public_key): one.public_key for one in (REGULATOR, PANEL)},
)
LICENSED = replace(
    DECISION,
    terms=Terms(
        profile="licensed",
        outside=(
            OutsideTerms("the agency", "licence", "licence 7", key_id(REGULATOR.public_key)),
            OutsideTerms("the agency", "condition", "report each month"),
        ),
        contacts=(Contact("liability", "Ada", "ada@example.org"),),
    ),
)
ANY_TERMS = every_terms(st.text(max_size=24), st.just(""), ["", "licensed"])


def signed(decision: Decision | dict[str, Any], *signers: TestSigner) -> bytes:
    body = decision if isinstance(decision, dict) else decision.to_body()
    return sign_statement(DECISION_KIND, body, signers)


def read_twice(body: dict[str, Any], *signers: TestSigner) -> tuple[bool, bool]:
    """Whether the house and the lone verifier take a signed body for a decision in force."""
    envelope = signed(body, *signers)
    try:
        open_decision(envelope, WATCHED)
        house = True
    except Invalid:
        house = False
    entry = {
        "decision": body["id"],
        "bundle": body["bundle"],
        "level": body["level"],
        "envelope": base64.b64encode(envelope).decode(),
    }
    lone = Decisions(read_trust(encode_trust(WATCHED)))
    return house, not lone.sign(1, BEGIN_MS, entry)


@settings(deadline=None, max_examples=60)
@given(ANY_TERMS, st.integers(0, 3))
def test_every_field_of_terms_comes_out_as_it_was_signed(terms: Terms, review: int) -> None:
    review_ms = 0 if review == 0 else BEGIN_MS + review
    decision = at_its_stage(DECISION, replace(terms, review_by_ms=review_ms))
    envelope = signed(decision, ALICE, BOB)
    assert open_decision(envelope, WATCHED) == decision
    assert read_twice(decision.to_body(), ALICE, BOB) == (True, True)


def test_a_decision_without_terms_has_the_bytes_it_always_had() -> None:
    assert "terms" not in DECISION.to_body()
    said = {**DECISION.to_body(), "terms": NO_TERMS.to_body()}
    assert read_twice(said, ALICE, BOB) == (False, False)


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(terms: dict[str, Any]) -> None:
        place: Any = terms
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


FULL = replace(
    LICENSED,
    terms=replace(
        LICENSED.terms,
        components=(
            ComponentTerms("Model card", ComponentAccess.PUBLIC, "CC-BY-4.0", ("credit",)),
        ),
        stages=(StageTerms(DECISION.stage, DECISION.level, DECISION.audiences),),
        review_by_ms=BEGIN_MS + 1,
    ),
)
LONG = "x" * (TEXT_CHARS_MAX + 1)
BROKEN: dict[str, Callable[[dict[str, Any]], None]] = {
    "an unknown field": _set("more", to=""),
    "an unknown field of a component": _set("components", 0, "more", to=""),
    "an unknown field of custody": _set("custody", "more", to=0),
    "an unknown field of a contact": _set("contacts", 0, "more", to=""),
    "a component named twice": lambda terms: terms["components"].append(terms["components"][0]),
    "a stage named twice": lambda terms: terms["stages"].append(terms["stages"][0]),
    "an unknown access": _set("components", 0, "access", to="half"),
    "a condition that is no text": _set("components", 0, "conditions", to=[1]),
    "a margin that is too long": _set("safety_margin", to=LONG),
    "a name heard that is too long": _set("heard", to=[LONG]),
    "too many rows": _set("void_if", to=["x"] * (ROWS_MAX + 1)),
    "a row that is no mapping": _set("outside", to=["x"]),
    "a list that is a text": _set("heard", to="everybody"),
    "no list at all": _set("limitations", to=None),
    "a number that is a flag": _set("custody", "copies_max", to=True),
    "a number below zero": _set("runtime", "egress_bytes_day_max", to=-1),
    "a flag that is a number": _set("runtime", "tools", to=1),
    "a review before it begins": _set("review_by_ms", to=BEGIN_MS),
    "a review after it ends": _set("review_by_ms", to=END_MS + 1),
    "another stage than the plan's": _set("stages", 0, "name", to="another"),
    "another level than the stage's": _set("stages", 0, "level", to="hosted"),
    "more than the stage opens": _set("stages", 0, "audiences", to=[]),
    "an unknown level": _set("stages", 0, "level", to="half_open"),
    "a gate without arguments": _set("stages", 0, "gates", to=[{"kind": "x"}]),
    "an argument that is a number": _set(
        "stages", 0, "gates", to=[{"kind": "x", "arguments": {"at_least": 3}}]
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_terms_with_one_thing_wrong_are_none_for_house_and_verifier(name: str) -> None:
    signers = (ALICE, BOB, REGULATOR)
    assert read_twice(FULL.to_body(), *signers) == (True, True)
    body = canonical.parse(canonical.encode(FULL.to_body()))
    BROKEN[name](body["terms"])
    assert read_twice(body, *signers) == (False, False)


@pytest.mark.parametrize("field", Terms().to_body())
def test_terms_without_a_field_are_none(field: str) -> None:
    body = FULL.to_body()
    del body["terms"][field]
    assert read_twice(body, ALICE, BOB, REGULATOR) == (False, False)


@pytest.mark.parametrize(
    ("signers", "good"),
    [
        ((ALICE, BOB, REGULATOR), True),
        ((ALICE, BOB, REGULATOR, PANEL, STRANGER), True),
        ((ALICE, BOB), False),
        ((ALICE, BOB, PANEL), False),
        ((ALICE, REGULATOR), False),
        ((REGULATOR,), False),
        ((REGULATOR, PANEL), False),
        ((HOLDER, REGULATOR), False),
        ((ALICE, BOB, STRANGER), False),
    ],
)
def test_a_demanded_signature_counts_beside_approvals_and_never_for_one(
    signers: tuple[TestSigner, ...], good: bool
) -> None:
    assert read_twice(LICENSED.to_body(), *signers) == (good, good)


def test_a_key_outside_that_nobody_trusts_cannot_be_demanded_into_being() -> None:
    key = key_id(STRANGER.public_key)
    terms = Terms(outside=(OutsideTerms("x", "licence", "", key),))
    assert read_twice(replace(DECISION, terms=terms).to_body(), ALICE, BOB, STRANGER) == (
        False,
        False,
    )


def test_a_wrong_signature_by_somebody_outside_counts_against_all() -> None:
    envelope = canonical.parse(signed(DECISION, ALICE, BOB, REGULATOR))
    other = canonical.parse(signed(LICENSED, ALICE, BOB, REGULATOR))
    mine = key_id(REGULATOR.public_key)
    for place, row in enumerate(envelope["signatures"]):
        if row["keyid"] == mine:
            envelope["signatures"][place] = other["signatures"][place]
    data = canonical.encode(envelope)
    with pytest.raises(Invalid):
        open_decision(data, WATCHED)
    entry = {"decision": DECISION.id, "bundle": BUNDLE, "level": str(DECISION.level)}
    encoded = base64.b64encode(data).decode()
    lone = Decisions(read_trust(encode_trust(WATCHED)))
    assert lone.sign(1, BEGIN_MS, {**entry, "envelope": encoded})


def test_nobody_is_outside_and_inside_at_once() -> None:
    both = encode_trust(replace(WATCHED, outside=dict(TRUST.approvers)))
    for read in (parse_trust, read_trust):
        with pytest.raises(Invalid):
            read(both)


REVIEWED = replace(DECISION, terms=Terms(review_by_ms=BEGIN_MS + 1_000))


def test_a_decision_that_nobody_reviewed_in_time_is_out_of_force(workspace: Workspace) -> None:
    workspace.create().append([decision_entry(REVIEWED)])
    register = DecisionRegister(LogReader(workspace.folder), TRUST)
    register.refresh()
    assert register.in_force(BUNDLE, BEGIN_MS + 999).decision == REVIEWED
    with pytest.raises(NotInForce) as caught:
        register.in_force(BUNDLE, BEGIN_MS + 1_000)
    assert (caught.value.code, bool(caught.value.hint)) == ("review_overdue", True)
    with pytest.raises(NotInForce):
        register.at(BUNDLE, 9, BEGIN_MS + 1_000)


def test_a_later_decision_renews_what_was_not_reviewed(workspace: Workspace) -> None:
    later = replace(REVIEWED, id=DecisionId("decision_two"), terms=NO_TERMS)
    workspace.create().append([decision_entry(REVIEWED), decision_entry(later)])
    register = DecisionRegister(LogReader(workspace.folder), TRUST)
    register.refresh()
    assert register.in_force(BUNDLE, BEGIN_MS + 1_000).decision == later


def test_nothing_is_recorded_under_a_decision_whose_review_was_missed(
    workspace: Workspace,
) -> None:
    log = workspace.create(gate=DecisionRegister(None, TRUST))
    late = replace(begun(decision=REVIEWED), time_ms=BEGIN_MS + 1_000)
    log.append([decision_entry(REVIEWED)])
    with pytest.raises(NotInForce):
        log.append([late])


def test_the_verifier_finds_what_ran_after_a_missed_review(workspace: Workspace) -> None:
    good = key_released(REVIEWED)
    late = replace(key_released(REVIEWED), time_ms=BEGIN_MS + 1_000)
    workspace.create().append([decision_entry(REVIEWED), good, late])
    (finding,) = verify(workspace.folder, encode_trust(TRUST)).findings
    assert finding.where.startswith("entry 3 ")
    assert "reviewed" in finding.what


@pytest.mark.parametrize(
    ("demanded", "shown", "found"),
    [
        ("tpm", {}, 1),
        ("tpm", {"grade": "software"}, 1),
        ("tpm", {"grade": "steel"}, 1),
        ("tpm", {"grade": 7}, 1),
        ("tpm", {"grade": "tpm"}, 0),
        ("tpm", {"grade": "tee"}, 0),
        ("tee", {"grade": "tpm"}, 1),
        ("software", {}, 0),
        ("steel", {"grade": "tee"}, 1),
        ("", {}, 0),
    ],
)
def test_the_verifier_finds_a_key_that_went_to_a_host_that_showed_too_little(
    workspace: Workspace, demanded: str, shown: dict[str, Any], found: int
) -> None:
    terms = replace(REVIEWED.terms, custody=CustodyTerms(grade=demanded))
    decision = replace(REVIEWED, terms=terms)
    workspace.create().append([decision_entry(decision), key_released(decision, **shown)])
    findings = verify(workspace.folder, encode_trust(TRUST)).findings
    assert len(findings) == found
    assert all("did not show" in finding.what for finding in findings)


def test_the_end_is_the_earlier_of_its_last_day_and_its_review() -> None:
    assert DECISION.ends_ms == DECISION.not_after_ms
    assert REVIEWED.ends_ms == REVIEWED.terms.review_by_ms
    assert REVIEWED.level is not Level.FULLY_CLOSED
