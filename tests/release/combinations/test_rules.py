"""The table of rules: each flag has its case, and a table with a strange word is refused."""

from __future__ import annotations

from importlib import resources

import pytest

from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.evidence.terms import ComponentAccess
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import WEIGHTS, Opening, Verdict
from dutchdoor.release.combinations.opening import opening_from
from dutchdoor.release.combinations.rules import load_rules, parse_rules
from dutchdoor.release.combinations.table import rules_tables

A, R, D, P = "auditor", "researcher", "developer", "public"
MIN = "Model parameters (Intermediate)"
GATED, OPEN = "gated_download", "public"
ANEW = {"Model architecture": OPEN, "Training code": OPEN, "Datasets": OPEN}

# flag: (level, components, depths, verdict), and what settles it: another such opening.
CASES: dict[str, tuple[tuple[str, dict[str, str], dict[str, list[str]], str], ...]] = {
    "weights_leave_unsaid": (
        ("cloud_api", {WEIGHTS: GATED}, {}, "forbidden"),
        ("downloadable", {WEIGHTS: GATED}, {}, ""),
    ),
    "weights_kept_unsaid": (
        ("downloadable", {WEIGHTS: "served"}, {}, "forbidden"),
        ("downloadable", {}, {}, ""),
    ),
    "open_in_name": (
        ("fully_open", {WEIGHTS: OPEN, "Model card": OPEN}, {}, "forbidden"),
        ("fully_open", {}, {}, ""),
    ),
    "states_chosen_and_scores": (
        ("cloud_api", {}, {R: ["interventions", "logprobs"]}, "forbidden"),
        ("cloud_api", {}, {A: ["interventions"], R: ["logprobs"]}, "risky"),
        ("cloud_api", {}, {R: ["interventions"]}, ""),
    ),
    "states_chosen_and_rows": (
        ("cloud_api", {}, {R: ["interventions", "logits"]}, "risky"),
        ("cloud_api", {}, {R: ["logits"]}, ""),
    ),
    "last_layer_bracketed": (
        ("cloud_api", {}, {R: ["activations", "logits"]}, "risky"),
        ("cloud_api", {}, {D: ["activations", "logits"]}, "forbidden"),
        ("cloud_api", {}, {R: ["activations"]}, ""),
    ),
    "free_scores_at_known_states": (
        ("cloud_api", {}, {R: ["activations", "logprobs"]}, "risky"),
        ("cloud_api", {}, {P: ["activations", "logprobs"]}, "forbidden"),
        ("cloud_api", {}, {R: ["logprobs"]}, ""),
    ),
    "scores_of_chosen_tokens": (
        ("cloud_api", {}, {R: ["decoding_control", "logprobs"]}, "risky"),
        ("cloud_api", {}, {R: ["logprobs"]}, ""),
    ),
    "rows_of_logits": (
        ("cloud_api", {}, {R: ["logits"]}, "risky"),
        ("cloud_api", {}, {R: ["logprobs"]}, ""),
    ),
    "gradients_are_rows": (
        ("cloud_api", {}, {R: ["gradients"]}, "risky"),
        ("cloud_api", {}, {D: ["gradients"]}, "forbidden"),
        ("cloud_api", {}, {R: ["activations"]}, ""),
    ),
    "attacks_made_inside": (
        ("cloud_api", {}, {R: ["gradients"]}, "risky"),
        ("cloud_api", {}, {R: ["sampling"]}, ""),
    ),
    "safeguards_trained_away": (
        ("cloud_api", {}, {D: ["fine_tuning"]}, "risky"),
        ("cloud_api", {}, {P: ["fine_tuning"]}, "forbidden"),
        ("cloud_api", {}, {P: ["sampling"]}, ""),
    ),
    "safeguards_steered_away": (
        ("cloud_api", {}, {R: ["interventions"]}, "risky"),
        ("cloud_api", {}, {P: ["interventions"]}, "forbidden"),
        ("cloud_api", {}, {P: ["sampling"]}, ""),
    ),
    "weights_alone_are_tuned": (
        ("downloadable", {}, {}, "risky"),
        ("cloud_api", {}, {}, ""),
    ),
    "checkpoint_stands_in": (
        ("cloud_api", {MIN: GATED}, {}, "risky"),
        ("downloadable", {MIN: GATED}, {}, ""),
    ),
    "depths_are_moot": (
        ("downloadable", {WEIGHTS: OPEN}, {}, "risky"),
        ("downloadable", {WEIGHTS: GATED}, {}, ""),
    ),
    "trainable_anew": (
        ("cloud_api", ANEW, {}, "risky"),
        ("cloud_api", {**ANEW, "Training code": "vetted"}, {}, ""),
    ),
    "data_for_good": (
        ("cloud_api", {"Datasets": GATED}, {}, "risky"),
        ("cloud_api", {"Datasets": "served"}, {}, ""),
    ),
    "questions_known": (
        ("cloud_api", {"Evaluation data": OPEN}, {}, "risky"),
        ("cloud_api", {"Evaluation data": "vetted"}, {}, ""),
    ),
    "weights_without_papers": (
        ("downloadable", {}, {}, "risky"),
        ("downloadable", {"Model card": OPEN, "Evaluation results": OPEN}, {}, ""),
    ),
    "used_and_not_studied": (
        ("cloud_api", {"Model card": "auditors"}, {P: ["sampling"]}, "risky"),
        ("cloud_api", {"Model card": "vetted"}, {P: ["sampling"]}, ""),
        ("cloud_api", {}, {R: ["sampling"]}, ""),
    ),
    "distilled": (
        ("cloud_api", {}, {D: ["sampling"]}, "risky"),
        ("cloud_api", {}, {R: ["sampling"]}, ""),
    ),
}


def test_each_flag_has_its_case() -> None:
    assert set(CASES) == {row.name for row in load_rules().flags}


@pytest.mark.parametrize("name", CASES)
def test_each_flag_stands_and_is_settled(name: str) -> None:
    for level, components, depths, verdict in CASES[name]:
        found = answer(opening_from(level, components, depths))
        said = {flag.name: str(flag.verdict) for flag in found.flags}.get(name, "")
        assert said == verdict, (level, components, depths)


def test_the_budget_of_vectors_is_put_into_figures() -> None:
    depths = {R: frozenset({Depth.ACTIVATIONS, Depth.LOGITS})}
    found = answer(Opening(Level.CLOUD_API, {}, depths, vectors_max=144, hidden_size=576))
    flag = next(flag for flag in found.flags if flag.name == "last_layer_bracketed")
    assert flag.arithmetic == "here: at most 72 pairs, each costing 2 of 144 vectors, of h = 576"
    assert flag.verdict is Verdict.RISKY


@pytest.mark.parametrize("name", [str(access) for access in ComponentAccess])
def test_a_word_in_other_letters_is_the_same_component(name: str) -> None:
    opening = opening_from("cloud_api", {"model CARD ": name}, {})
    assert opening.components["Model card"] == name


def test_every_rule_is_in_the_table_with_its_reason_and_source() -> None:
    rules, page = load_rules(), rules_tables()
    for row in (*rules.ways, *rules.ends):
        assert f"`{row.name}`" in page
        assert row.reason.strip() in page
    for flag in rules.flags:
        assert f"`{flag.name}`" in page
        assert flag.source in page


TEXT = resources.files("dutchdoor.release.combinations").joinpath("rules.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depths_any: [gradients]", "depths_any: [gradient]"),
        ("held_any: [Datasets]", "held_any: [Dataset]"),
        ("held_any: [Datasets]", "held_none: [Datasets]"),
        ("held_any: [Datasets]", "held_any: []"),
        ("levels: [fully_open]", "levels: [open]"),
        ("activity: use", "activity: misuse"),
        ("activity: monitor", "activity: use"),
        ("activity: use", "activity: rescind"),
        ("name: ask", "name: decode"),
        ("forbidden_from: users", "forbidden_from: friends"),
        ("source: own", "source: ''"),
        ("source: own", "because: own"),
        # A way that a level's word enables, or that nothing is needed for, would not be monotone.
        ("when: {depths_any: [audit]}", "when: {levels: [cloud_api]}"),
        ("when: {depths_any: [audit]}", "when: {}"),
        ("unless_at: vetted\n    unless:", "unless_at: vetted\n    unlesss:"),
        ("flags:", "more:"),
    ],
)
def test_a_table_with_a_strange_word_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(Invalid) as caught:
        parse_rules(TEXT.replace(old, new, 1))
    assert caught.value.code == "bad_combination_rules"
