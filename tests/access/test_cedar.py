"""The rules in Cedar: a table of example, result and why; and what happens to broken files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.access.cedar import (
    DEFAULT_DENY,
    Policies,
    PolicyBook,
    Ruling,
    install_default_policies,
)
from dutchdoor.access.model import AccessRequest, Budget, Caller, Grant, Person
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import GrantId, KeyId, PersonId
from tests.access.house import BUNDLE, OTHER_BUNDLE, ask

PERSON = Person(PersonId("person_1"), "Ada", "Institute", "researcher", added_ms=0)
S, L, A = Depth.SAMPLING, Depth.LOGPROBS, Depth.ACTIVATIONS

# What `release` writes of a decision: forbids only, so that it can narrow and never widen.
DECISION = f"""
@id("decision_1_audiences")
@reason("Stage 1 of decision_1 lets in vetted researchers and the auditor it names.")
forbid (principal, action, resource == Bundle::"{BUNDLE}")
unless {{ ["researcher"].contains(principal.audience) || principal == Person::"person_auditor" }};
"""


def grant(depths: Sequence[Depth], *, agentic: bool = False) -> Grant:
    return Grant(
        id=GrantId("grant_1"),
        person=PERSON.id,
        bundle=BUNDLE,
        purpose="evaluation",
        depths=tuple(depths),
        budget=Budget(1, 1, 1),
        not_before_ms=0,
        not_after_ms=1,
        agentic=agentic,
    )


def request(
    action: str = "infer",
    depths: Sequence[Depth] = (S,),
    opened: Sequence[Depth] = (S, L, A),
    *,
    tools: bool = False,
) -> AccessRequest:
    caller = Caller(PERSON, KeyId("key_1"))
    return ask(caller, action=action, depths=depths, opened=opened, tools=tools)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    install_default_policies(tmp_path / "policies")
    return tmp_path / "policies"


@pytest.fixture
def policies(folder: Path) -> Policies:
    return PolicyBook(folder).current


TABLE: list[tuple[AccessRequest, Grant, bool, str]] = [
    # request, grant, permitted?, because of
    (request(), grant([S]), True, "infer_within_grant_and_decision"),
    (request(depths=[S, L]), grant([S, L]), True, "infer_within_grant_and_decision"),
    (request(depths=[]), grant([S]), False, DEFAULT_DENY),
    (request(depths=[S, L]), grant([S]), False, "nothing_beyond_the_grant"),
    (request(depths=[S, L], opened=[S]), grant([S, L]), False, "nothing_beyond_the_decision"),
    (request(opened=[]), grant([S]), False, "nothing_beyond_the_decision"),
    (request(tools=True), grant([S]), False, "tools_need_an_agentic_grant"),
    (request(tools=True), grant([S], agentic=True), True, "infer_within_grant_and_decision"),
    (
        request("read_activations", [A]),
        grant([A]),
        True,
        "read_activations_within_grant_and_decision",
    ),
    (request("read_activations", [S]), grant([S, A]), False, DEFAULT_DENY),
    (request("read_activations", [A]), grant([S]), False, "nothing_beyond_the_grant"),
    (request("infer", [A]), grant([A]), False, "activations_need_their_own_grant"),
    (request("fit_probe", [S]), grant([S]), False, DEFAULT_DENY),
    (request("amend", [S]), grant([S]), False, DEFAULT_DENY),
    (
        request("fit_probe", [Depth.AUDIT], [Depth.AUDIT]),
        grant([Depth.AUDIT]),
        True,
        "fit_probe_for_the_audit",
    ),
    (request("list_models", []), grant([S]), True, "list_models_open_to_the_person"),
    (request("list_models", [], []), grant([S]), False, DEFAULT_DENY),
    (request("delete_everything"), grant([S]), False, DEFAULT_DENY),
]


@pytest.mark.parametrize(("asked", "given_grant", "permits", "rule"), TABLE)
def test_example_result_and_why(
    policies: Policies, asked: AccessRequest, given_grant: Grant, permits: bool, rule: str
) -> None:
    ruling = policies.rule_on(asked, PERSON, given_grant)
    assert (ruling.permits, ruling.rule) == (permits, rule)
    assert ruling.reason


def test_a_person_who_left_may_do_nothing(policies: Policies) -> None:
    ruling = policies.rule_on(request(), replace(PERSON, active=False), grant([S]))
    assert ruling == Ruling(
        permits=False,
        rule="people_who_left_do_nothing",
        reason="A person who is no longer active may do nothing, whatever they were granted.",
    )


def test_a_decision_file_narrows_one_bundle_and_leaves_others(folder: Path) -> None:
    (folder / "decision.cedar").write_text(DECISION)
    policies = PolicyBook(folder).current
    public = replace(PERSON, audience="public")
    named = replace(public, id=PersonId("person_auditor"))
    assert policies.rule_on(request(), PERSON, grant([S])).permits
    assert policies.rule_on(request(), named, grant([S])).permits
    assert policies.rule_on(request(), public, grant([S])).rule == "decision_1_audiences"
    elsewhere = replace(request(), bundle=OTHER_BUNDLE)
    assert policies.rule_on(elsewhere, public, grant([S])).permits


def test_rules_that_are_all_taken_away_refuse_everything_at_once(folder: Path) -> None:
    book = PolicyBook(folder)
    (folder / "base.cedar").unlink()
    assert book.reload_if_changed()
    ruling = book.current.rule_on(request(), PERSON, grant([S]))
    assert (ruling.permits, ruling.rule) == (False, DEFAULT_DENY)
    assert book.problem == "there are no rules: everything is refused"


def test_a_folder_without_rules_is_no_start(folder: Path) -> None:
    (folder / "base.cedar").unlink()
    with pytest.raises(Invalid) as caught:
        PolicyBook(folder)
    assert caught.value.code == "no_policies"
    (folder / "schema.cedarschema").unlink()
    with pytest.raises(Invalid) as caught:
        PolicyBook(folder)
    assert caught.value.code == "no_policies"


def test_a_broad_rule_by_hand_does_not_reach_beyond_grant_and_decision(folder: Path) -> None:
    rule = '@id("all") @reason("a mistake") permit (principal, action, resource);'
    (folder / "by_hand.cedar").write_text(rule)
    policies = PolicyBook(folder).current
    assert not policies.rule_on(request(depths=[S, L]), PERSON, grant([S])).permits
    assert not policies.rule_on(request(depths=[S], opened=[]), PERSON, grant([S])).permits


def test_a_rule_that_fails_while_it_is_applied_refuses(folder: Path) -> None:
    """Cedar skips a failing forbid; skipping it here would open the door."""
    rule = """@id("overflow") @reason("fails on every request")
    forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"""
    (folder / "failing.cedar").write_text(rule)
    ruling = PolicyBook(folder).current.rule_on(request(), PERSON, grant([S]))
    assert (ruling.permits, ruling.rule) == (False, "rules_could_not_be_applied")


def test_a_name_with_quotes_and_newlines_is_only_a_name(policies: Policies) -> None:
    odd = replace(PERSON, organisation='x"}; permit(principal, action, resource);\n//')
    assert policies.rule_on(request(), odd, grant([S])).permits
    assert not policies.rule_on(request(depths=[L]), odd, grant([S])).permits


def test_text_that_is_no_unicode_refuses(policies: Policies) -> None:
    odd = replace(PERSON, organisation="\ud800")
    assert not policies.rule_on(request(), odd, grant([S])).permits


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["infer", "read_activations", "fit_probe", "amend", "list_models"]),
        st.frozensets(st.sampled_from([S, L, A, Depth.AUDIT])),
        st.frozensets(st.sampled_from([S, L, A, Depth.AUDIT])),
        st.frozensets(st.sampled_from([S, L, A, Depth.AUDIT])),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)


@given(_STEPS)
@settings(max_examples=40, deadline=None)
def test_the_memory_never_changes_an_answer(
    steps: list[tuple[str, frozenset[Depth], frozenset[Depth], frozenset[Depth], bool, bool, bool]],
) -> None:
    """Asked in any order, with any history, the answer is that of a set without a memory."""
    for action, depths, granted, opened, tools, agentic, active in steps:
        asked = request(action, sorted(depths), sorted(opened), tools=tools)
        given_grant = grant(sorted(granted), agentic=agentic)
        person = replace(PERSON, active=active)
        fresh = Policies(FILES).rule_on(asked, person, given_grant)
        assert WITH_MEMORY.rule_on(asked, person, given_grant) == fresh
        assert WITH_MEMORY.rule_on(asked, person, given_grant) == fresh


def _packaged() -> dict[str, bytes]:
    source = Path(__file__).parents[2] / "src" / "dutchdoor" / "access" / "policies"
    return {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()}


FILES = _packaged()
WITH_MEMORY = Policies(FILES)


def test_a_remembered_answer_costs_no_second_question(
    policies: Policies, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = policies.rule_on(request(), PERSON, grant([S]))

    def fail(*_arguments: object) -> None:
        raise AssertionError("asked twice")

    monkeypatch.setattr(cedarpy, "is_authorized", fail)
    assert policies.rule_on(request(), PERSON, grant([S])) == first
    changed = (replace(PERSON, audience="public"), replace(PERSON, organisation="else"))
    for person, agentic in itertools.product(changed, (False, True)):
        ruling = policies.rule_on(request(), person, grant([S], agentic=agentic))
        assert not ruling.permits, "nothing else shares the answer, and a failing engine refuses"


BROKEN_FILES = {
    "does not parse": "permit (principal, action",
    "unknown word": '@id("x") @reason("y") permit (principal, action, resource) '
    "when { principal.clearence };",
    "unknown action": '@id("x") @reason("y") '
    'permit (principal, action == Action::"Infre", resource);',
    "no id": '@reason("y") permit (principal, action, resource);',
    "no reason": '@id("x") permit (principal, action, resource);',
    "the id of another": '@id("fit_probe_for_the_audit") @reason("y") '
    "permit (principal, action, resource);",
    "a reserved id": f'@id("{DEFAULT_DENY}") @reason("y") permit (principal, action, resource);',
    "a template": '@id("x") @reason("y") permit (principal == ?principal, action, resource);',
}


@pytest.mark.parametrize("text", BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_broken_file_is_refused_and_the_old_rules_stay(folder: Path, text: str) -> None:
    book = PolicyBook(folder)
    before = book.current
    (folder / "new.cedar").write_text(text)
    with pytest.raises(Invalid) as invalid:
        book.reload()
    assert invalid.value.code == "bad_policy"
    assert book.current is before
    assert book.problem
    assert book.current.rule_on(request(), PERSON, grant([S])).permits
    with pytest.raises(Invalid):
        PolicyBook(folder)  # a program that starts now has no old rules, and does not start
    (folder / "new.cedar").unlink()
    assert book.reload().version == before.version
    assert not book.problem


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * ((1 << 20) + 1)])
def test_a_file_that_is_no_text_or_too_large_is_refused(folder: Path, data: bytes) -> None:
    (folder / "new.cedar").write_bytes(data)
    with pytest.raises(Invalid):
        PolicyBook(folder)


def test_without_a_schema_nothing_is_in_force(folder: Path) -> None:
    (folder / "schema.cedarschema").unlink()
    with pytest.raises(Invalid):
        PolicyBook(folder)


def test_a_missing_folder_puts_nothing_in_force(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        PolicyBook(tmp_path / "nowhere")


def test_a_changed_file_is_noticed_and_an_unchanged_one_is_not_read(folder: Path) -> None:
    book = PolicyBook(folder)
    assert not book.reload_if_changed()
    (folder / "decision.cedar").write_text(DECISION)
    assert book.reload_if_changed()
    public = replace(PERSON, audience="public")
    assert not book.current.rule_on(request(), public, grant([S])).permits
    (folder / "decision.cedar").write_text("nonsense")
    assert not book.reload_if_changed()
    assert book.problem
    assert not book.current.rule_on(request(), public, grant([S])).permits


def test_a_file_that_ends_in_the_middle_cannot_swallow_the_next(folder: Path) -> None:
    """Each file parses alone, so that no comment or half rule reaches into another file."""
    (folder / "a.cedar").write_text("// a comment without an end of line")
    assert PolicyBook(folder).current.rule_on(request(), PERSON, grant([S])).permits
    (folder / "a.cedar").write_text('@id("x") @reason("y")')
    with pytest.raises(Invalid):
        PolicyBook(folder)


def test_every_rule_of_the_package_reads_as_a_clause(policies: Policies) -> None:
    assert len(policies.rules) == 10
    for rule in policies.rules:
        assert rule.reason.endswith("."), rule.id
        assert rule.effect in {"permit", "forbid"}
        assert rule.file == "base.cedar"


def test_installing_keeps_what_people_wrote(folder: Path) -> None:
    (folder / "base.cedar").write_text("// ours")
    assert install_default_policies(folder) == ()
    assert (folder / "base.cedar").read_text() == "// ours"
    assert install_default_policies(folder.parent / "new") == (
        "base.cedar",
        "documents/base.cedar",
        "documents/schema.cedarschema",
        "schema.cedarschema",
    )


PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "policies.md").read_text()


def test_every_rule_on_the_page_would_come_into_force(folder: Path) -> None:
    blocks = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    (folder / "page.cedar").write_text("\n".join(blocks))
    assert len(PolicyBook(folder).current.rules) == 10 + 3


def test_the_page_names_every_house_rule_and_its_effect(policies: Policies) -> None:
    for rule in policies.rules:
        assert f"| `{rule.id}` | {rule.effect} |" in PAGE
