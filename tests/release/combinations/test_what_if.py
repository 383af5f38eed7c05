"""What one more step would do, told before anybody decides it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.release.combinations.model import WEIGHTS, Activity, Circle, Opening
from dutchdoor.release.combinations.opening import opening_from
from dutchdoor.release.combinations.value import difference_value
from dutchdoor.release.combinations.what_if import (
    Change,
    change_from,
    changed,
    next_steps,
    what_if,
)
from tests.release.combinations.test_evaluate import openings

SERVED = opening_from(
    "cloud_api",
    {"Model card": "public"},
    {"researcher": ["sampling", "activations"]},
    vectors_max=144,
    hidden_size=576,
)


def test_opening_the_weights_ends_control_and_is_forbidden_at_this_level() -> None:
    found = what_if(SERVED, change_from("", {WEIGHTS: "public"}, {}))
    assert found.ended == (Activity.MONITOR, Activity.RESCIND)
    moves = {move.activity: (move.before, move.after) for move in found.moves}
    assert moves[Activity.MODIFY] == (None, Circle.PUBLIC)
    assert moves[Activity.USE] == (Circle.VETTED, Circle.PUBLIC)
    assert "weights_leave_unsaid" in {flag.name for flag in found.after.forbidden}
    said = what_if(SERVED, change_from("downloadable", {WEIGHTS: "public"}, {}))
    assert not said.after.forbidden


def test_one_more_depth_tells_the_new_flag() -> None:
    found = what_if(SERVED, change_from("", {}, {"researcher": ["logits"]}))
    assert [flag.name for flag in found.flags] == ["last_layer_bracketed", "rows_of_logits"]
    assert not found.moves
    assert [way.name for way in found.ways] == ["decode", "grey_box"]


def test_a_further_reach_of_a_known_flag_is_told_again() -> None:
    before = changed(SERVED, change_from("", {}, {"researcher": ["logits"]}))
    found = what_if(before, change_from("", {}, {"developer": ["logits", "activations"]}))
    assert "last_layer_bracketed" in {flag.name for flag in found.flags}
    assert found.after.forbidden


def test_sharing_a_paper_settles_a_flag() -> None:
    opening = opening_from("cloud_api", {}, {"public": ["sampling"]})
    found = what_if(opening, change_from("", {"Evaluation results": "vetted"}, {}))
    assert found.settled == ("used_and_not_studied",)


def test_taking_back_is_told_too() -> None:
    opening = opening_from("downloadable", {}, {})
    found = what_if(opening, change_from("cloud_api", {WEIGHTS: "served"}, {}))
    assert found.regained == (Activity.MONITOR, Activity.RESCIND)


@settings(max_examples=60, deadline=None)
@given(openings)
def test_no_change_changes_nothing_and_no_step_further_takes_away(opening: Opening) -> None:
    assert what_if(opening, Change()).empty
    order = list(Circle)
    for step in next_steps(opening):
        assert not step.regained
        for move in step.moves:
            assert move.after is not None
            assert move.before is None or order.index(move.after) > order.index(move.before)
        json.dumps(difference_value(step))


def test_every_single_step_is_tried() -> None:
    steps = [row.change for row in next_steps(SERVED)]
    assert Change(components={WEIGHTS: "public"}) in steps  # type: ignore[dict-item]
    assert Change(depths={"researcher": frozenset({Depth.LOGITS})}) in steps
    assert all("Model card" not in step.components for step in steps)
    assert SERVED.level is Level.CLOUD_API


@pytest.mark.parametrize(
    ("level", "components", "depths", "code"),
    [
        ("open", {}, {}, "unknown_level"),
        ("", {"Wights": "public"}, {}, "unknown_component"),
        ("", {"Datasets": "public", "datasets": "closed"}, {}, "unknown_component"),
        ("", {"Datasets": "all"}, {}, "unknown_access"),
        ("", {}, {"friends": ["sampling"]}, "unknown_audience"),
        ("", {}, {"public": ["weights"]}, "unknown_depth"),
        ("", {}, {"public": []}, "unknown_depth"),
    ],
)
def test_an_unknown_word_is_refused_by_name(
    level: str, components: dict[str, str], depths: dict[str, list[str]], code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        change_from(level, components, depths)
    assert caught.value.code == code
    assert caught.value.hint or code == "unknown_component"
