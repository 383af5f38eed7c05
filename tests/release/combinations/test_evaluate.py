"""Opening more never takes an activity away, and never gives control back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.evidence.terms import ComponentAccess
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import (
    CIRCLE_OF,
    WEIGHTS,
    Activity,
    Answer,
    Circle,
    Opening,
    Verdict,
)
from dutchdoor.release.combinations.rules import load_rules
from dutchdoor.release.combinations.value import answer_value
from dutchdoor.release.model import AUDIENCES

T = TypeVar("T")
PUBLIC = ComponentAccess.PUBLIC
CHECKPOINTS, ARCHITECTURE, CODE, DATA = (
    "Model parameters (Intermediate)",
    "Model architecture",
    "Training code",
    "Datasets",
)
COPIED = (WEIGHTS, CHECKPOINTS, ARCHITECTURE, CODE, DATA)
"""The components of which a copy decides something by the rules."""
DEPTHS = tuple(Depth)


def reach(found: Answer) -> tuple[int, ...]:
    """How far each activity reaches; more is more open. The holder's two count backwards."""
    order = list(Circle)
    return tuple(
        -int(row.enabled)
        if row.activity.of_the_holder
        else (order.index(row.circle) if row.circle else -1)
        for row in found.standings
    )


def more_open(small: Answer, large: Answer) -> bool:
    return all(a <= b for a, b in zip(reach(small), reach(large), strict=True))


def opening(depths: frozenset[Depth], held: frozenset[str], level: Level) -> Opening:
    return Opening(level, dict.fromkeys(held, PUBLIC), {"public": depths} if depths else {})


def subsets(items: tuple[T, ...]) -> Iterator[frozenset[T]]:
    for size in range(len(items) + 1):
        yield from (frozenset(row) for row in itertools.combinations(items, size))


def test_the_copied_components_are_those_that_the_rules_ask_a_copy_of() -> None:
    rules = load_rules()
    rows = [row.when for row in (*rules.ways, *rules.ends)]
    assert set(COPIED) == frozenset().union(*(row.held_any | row.held_all for row in rows))


def test_opening_more_never_removes_an_activity_in_every_combination() -> None:
    """All 2^9 sets of depths times all 2^5 sets of copied components, and every step from each."""
    found = {
        (depths, held): reach(answer(opening(depths, held, Level.CLOUD_API)))
        for depths in subsets(DEPTHS)
        for held in subsets(COPIED)
    }
    assert len(found) == 2**9 * 2**5
    for (depths, held), before in found.items():
        further = [(depths | {depth}, held) for depth in DEPTHS]
        further += [(depths, held | {name}) for name in COPIED]
        for step in further:
            assert all(a <= b for a, b in zip(before, found[step], strict=True)), (step, before)


@pytest.mark.parametrize("name", COMPONENTS)
def test_sharing_a_component_more_widely_never_removes_an_activity(name: str) -> None:
    for audience, depth in itertools.product(AUDIENCES, DEPTHS):
        depths = {audience: frozenset({depth})}
        answers = [
            answer(Opening(Level.CLOUD_API, {name: access}, depths)) for access in ComponentAccess
        ]
        assert all(itertools.starmap(more_open, itertools.pairwise(answers))), (audience, depth)


openings = st.builds(
    Opening,
    level=st.sampled_from(Level),
    components=st.dictionaries(st.sampled_from(COMPONENTS), st.sampled_from(ComponentAccess)),
    depths=st.dictionaries(
        st.sampled_from(sorted(AUDIENCES)), st.frozensets(st.sampled_from(Depth), min_size=1)
    ),
    vectors_max=st.integers(0, 575),
    hidden_size=st.just(576),
)


@settings(max_examples=300, deadline=None)
@given(openings, st.data())
def test_one_more_step_in_any_opening_is_never_less_open(
    small: Opening, data: st.DataObject
) -> None:
    components, depths = dict(small.components), dict(small.depths)
    ladder = list(ComponentAccess)
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(COMPONENTS))
        now = ladder.index(components.get(name, ladder[0]))
        components[name] = data.draw(st.sampled_from(ladder[now:]))
    else:
        audience = data.draw(st.sampled_from(sorted(AUDIENCES)))
        more = frozenset({data.draw(st.sampled_from(Depth))})
        depths[audience] = depths.get(audience, frozenset()) | more
    assert more_open(answer(small), answer(Opening(small.level, components, depths)))


@settings(max_examples=200, deadline=None)
@given(openings, st.randoms())
def test_the_answer_is_the_same_for_any_order(one: Opening, random: Random) -> None:
    def shuffled(rows: Mapping[str, T]) -> dict[str, T]:
        items = list(rows.items())
        random.shuffle(items)
        return dict(items)

    other = Opening(
        one.level,
        shuffled(one.components),
        shuffled(one.depths),
        one.vectors_max,
        one.hidden_size,
    )
    assert answer(one) == answer(other)
    assert answer_value(answer(one)) == answer_value(answer(other))


@settings(max_examples=100, deadline=None)
@given(openings)
def test_a_word_for_the_level_enables_nothing(one: Opening) -> None:
    every = [answer(Opening(level, one.components, one.depths)) for level in Level]
    assert len({found.standings for found in every}) == 1


def test_nothing_opened_enables_nothing_and_leaves_the_holder_in_control() -> None:
    found = answer(Opening(Level.FULLY_CLOSED))
    assert {str(row.activity) for row in found.standings if row.enabled} == {"monitor", "rescind"}
    assert not found.flags


def test_weights_and_nothing_else_still_allow_fine_tuning() -> None:
    found = answer(Opening(Level.DOWNLOADABLE, {WEIGHTS: ComponentAccess.GATED_DOWNLOAD}))
    modify = found.of(Activity.MODIFY)
    assert modify.circle is Circle.LICENSEES
    assert [way.name for way in modify.ways] == ["train_a_copy"]
    assert "weights_alone_are_tuned" in {flag.name for flag in found.flags}
    assert not found.of(Activity.RESCIND).enabled
    assert not found.of(Activity.MONITOR).enabled


def test_code_and_data_without_the_weights_make_the_model_anew() -> None:
    parts = dict.fromkeys((ARCHITECTURE, CODE, DATA), PUBLIC)
    found = answer(Opening(Level.CLOUD_API, {**parts, WEIGHTS: ComponentAccess.SERVED}))
    assert found.of(Activity.REPRODUCE).circle is Circle.PUBLIC
    assert "trainable_anew" in {flag.name for flag in found.flags}
    for missing in parts:
        less = {**parts, missing: ComponentAccess.VETTED}
        assert not answer(Opening(Level.CLOUD_API, less)).of(Activity.REPRODUCE).enabled


def test_depths_of_two_audiences_are_put_together() -> None:
    depths = {
        "auditor": frozenset({Depth.ACTIVATIONS}),
        "developer": frozenset({Depth.LOGITS}),
    }
    found = answer(Opening(Level.CLOUD_API, {}, depths))
    flag = next(flag for flag in found.flags if flag.name == "last_layer_bracketed")
    # Only an auditor has both, so that it is looked at and not forbidden.
    assert (flag.verdict, flag.circle) == (Verdict.RISKY, Circle.AUDITORS)
    depths["partner"] = frozenset({Depth.ACTIVATIONS})
    found = answer(Opening(Level.CLOUD_API, {}, depths))
    assert "last_layer_bracketed" in {flag.name for flag in found.forbidden}


def test_an_audience_that_nobody_knows_is_taken_for_the_public() -> None:
    found = answer(Opening(Level.CLOUD_API, {}, {"friends": frozenset({Depth.SAMPLING})}))
    assert found.of(Activity.USE).circle is Circle.PUBLIC


def test_every_audience_has_a_circle() -> None:
    assert set(CIRCLE_OF) == set(AUDIENCES)
