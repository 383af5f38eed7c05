"""The compiled rules fit the schema, only forbid, and say what the decision says."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.access.cedar import Policies, PolicyBook, install_default_policies
from dutchdoor.access.model import AccessRequest, Budget, Caller, Grant, Person
from dutchdoor.audit.document import read_document, write_document
from dutchdoor.clock import FixedClock, to_iso
from dutchdoor.evidence.decision import Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.rollback import narrowed
from dutchdoor.evidence.terms import StageTerms, Terms
from dutchdoor.ids import BundleDigest, DecisionId, GrantId, KeyId, PersonId
from dutchdoor.release.compile import compile_policies
from dutchdoor.release.model import AUDIENCES, DAY_MS, State, audience
from tests.audit.parts import BUNDLE, OTHER_BUNDLE
from tests.release.parts import DEVELOPERS, RESEARCHERS, Workspace

NOW_MS = FixedClock().now_ms()
SCHEMA = resources.files("dutchdoor.access").joinpath("policies", "schema.cedarschema")
BASE = resources.files("dutchdoor.access").joinpath("policies", "base.cedar")


def decision(
    *audiences: Audience, bundle: BundleDigest = BUNDLE, stage: str = "1", name: str = "decision_a"
) -> Decision:
    return Decision(
        id=DecisionId(name),
        bundle=bundle,
        model="smol",
        level=Level.CLOUD_API,
        stage=stage,
        audiences=audiences,
        guard=GuardTerms("sha256:" + "c" * 64, "fpr_0.01", 0),
        hidden_size=576,
        vectors_max=144,
        audit="sha256:" + "d" * 64,
        reasons="",
        supersedes="",
        not_before_ms=NOW_MS,
        not_after_ms=NOW_MS + 1000,
    )


def policies(text: str) -> Policies:
    return Policies(
        {
            "schema.cedarschema": SCHEMA.read_bytes(),
            "base.cedar": BASE.read_bytes(),
            "decision.cedar": text.encode(),
        }
    )


def permits(
    rules: Policies, found: Decision, who: str, depth: Depth, person: str = "person_a"
) -> tuple[bool, str]:
    """Whether the rules alone let through what the decision's own depths would not stop."""
    somebody = Person(PersonId(person), "Ada", "Institute", who, NOW_MS)
    every = tuple(Depth)
    grant = Grant(
        GrantId("grant_a"),
        somebody.id,
        found.bundle,
        "study",
        every,
        Budget(1, 1),
        NOW_MS,
        NOW_MS + 1,
    )
    request = AccessRequest(
        caller=Caller(somebody, KeyId("key_a")),
        action="read_activations" if depth is Depth.ACTIVATIONS else "infer",
        bundle=found.bundle,
        decision=found.id,
        level=str(found.level),
        stage=found.stage,
        depths=frozenset({depth}),
        audience_depths=frozenset(every),
    )
    ruling = rules.rule_on(request, somebody, grant)
    return ruling.permits, ruling.rule


def test_what_the_rules_let_through_is_what_the_decision_opens() -> None:
    named = audience("red_teamer", ["logits"], ["person_b"])
    found = decision(RESEARCHERS, DEVELOPERS, named)
    rules = policies(compile_policies([found]))
    for who in AUDIENCES:
        for depth in Depth:
            for person in ("person_a", "person_b"):
                expected = depth in found.depths_for(who, person)
                assert permits(rules, found, who, depth, person)[0] is expected, (who, depth)


def test_rules_made_from_another_decision_refuse_everybody() -> None:
    old, new = decision(RESEARCHERS), decision(RESEARCHERS, stage="2")
    rules = policies(compile_policies([old]))
    assert permits(rules, old, "researcher", Depth.SAMPLING)[0]
    allowed, rule = permits(rules, new, "researcher", Depth.SAMPLING)
    assert not allowed
    assert rule == "decision_a.is_the_one_in_force"
    assert not permits(rules, replace(old, level=Level.HOSTED), "researcher", Depth.SAMPLING)[0]


def test_the_rules_of_one_bundle_say_nothing_of_another() -> None:
    one = decision(DEVELOPERS)
    other = decision(RESEARCHERS, bundle=OTHER_BUNDLE, name="decision_b")
    rules = policies(compile_policies([one, other]))
    assert permits(rules, one, "developer", Depth.SAMPLING)[0]
    assert not permits(rules, other, "developer", Depth.SAMPLING)[0]
    assert permits(rules, other, "researcher", Depth.LOGPROBS)[0]


def test_they_only_forbid_and_each_says_why() -> None:
    rules = policies(compile_policies([decision(RESEARCHERS)]))
    ours = [rule for rule in rules.rules if rule.file == "decision.cedar"]
    assert {rule.effect for rule in ours} == {"forbid"}
    assert all(rule.reason.endswith(".") for rule in ours)
    assert "opens logits" not in " ".join(rule.reason for rule in ours)


def test_the_same_decisions_give_the_same_bytes() -> None:
    one, other = decision(DEVELOPERS), decision(RESEARCHERS, bundle=OTHER_BUNDLE, name="decision_b")
    assert compile_policies([one, other]) == compile_policies([other, one])
    assert compile_policies([one]).startswith("// Generated from the release decisions in force")
    policies(compile_policies([]))


@given(st.text(max_size=60))
def test_no_stage_name_can_smuggle_in_a_rule(stage: str) -> None:
    hostile = stage + '"); permit(principal, action, resource);\n//\u2028'
    found = decision(DEVELOPERS, stage=hostile)
    rules = policies(compile_policies([found]))
    assert {rule.effect for rule in rules.rules if rule.file == "decision.cedar"} == {"forbid"}
    assert permits(rules, found, "developer", Depth.SAMPLING)[0]
    assert not permits(rules, found, "public", Depth.SAMPLING)[0]


def test_a_workspace_compiles_what_is_in_force_and_nothing_after_a_revocation(
    tmp_path: Path,
) -> None:
    workspace = Workspace(tmp_path)
    folder = tmp_path / "policies"
    install_default_policies(folder)
    found = workspace.decided()
    path = workspace.release.compile(folder)
    assert found.id in path.read_text()
    book = PolicyBook(folder)
    assert permits(book.current, found, "researcher", Depth.LOGPROBS)[0]
    assert not permits(book.current, found, "public", Depth.SAMPLING)[0]
    workspace.release.revoke(found.id, "why", workspace.people.first)
    workspace.release.compile(folder)
    assert found.id not in path.read_text()
    assert book.reload_if_changed()


def test_a_decision_not_yet_in_force_is_compiled_for_its_day(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.born()
    proposal = workspace.proposed()
    document = workspace.release.document(proposal.id)
    found = read_document(document)
    later = to_iso(NOW_MS + 10 * DAY_MS)
    write_document(document, found.with_front(in_force_from=later))
    workspace.release.approve(proposal.id, workspace.people.first)
    workspace.release.approve(proposal.id, workspace.people.second)
    assert workspace.release.proposal(proposal.id).state is State.NOT_YET
    path = workspace.release.compile(tmp_path / "policies")
    assert proposal.decision.id in path.read_text()


def test_the_rules_hold_in_every_earlier_stage_before_anybody_writes_them_anew() -> None:
    wide = decision(audience("researcher", ["sampling", "logprobs"]), DEVELOPERS, stage="wide")
    few = StageTerms("few", Level.GRADUAL_STAGED, (audience("researcher", ["sampling"]),))
    late = StageTerms("wide", wide.level, wide.audiences)
    later = StageTerms("later", Level.CLOUD_API, (audience("public", ["sampling"]),))
    wide = replace(wide, terms=Terms(stages=(few, late, later)))
    rules = policies(compile_policies([wide]))
    back = narrowed(wide, "few")
    assert back is not None
    for who, depth, before, after in (
        ("researcher", Depth.SAMPLING, True, True),
        ("researcher", Depth.LOGPROBS, True, False),
        ("developer", Depth.SAMPLING, True, False),
        ("public", Depth.SAMPLING, False, False),
    ):
        assert permits(rules, wide, who, depth)[0] is before
        assert permits(rules, back, who, depth)[0] is after
    # Rules that were made after the step back let nobody into the stage that was left.
    narrow = policies(compile_policies([back]))
    assert permits(narrow, back, "researcher", Depth.SAMPLING)[0]
    assert not permits(narrow, wide, "researcher", Depth.SAMPLING)[0]
    for stage in (later, replace(few, name="elsewhere")):
        there = replace(wide, stage=stage.name, level=stage.level)
        assert not permits(rules, there, "researcher", Depth.SAMPLING)[0]
