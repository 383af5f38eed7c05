"""Terms of every kind, for tests that must hold for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from dutchdoor.evidence.decision import Audience, Decision, Depth, Level
from dutchdoor.evidence.terms import (
    ComponentAccess,
    ComponentTerms,
    Condition,
    Contact,
    CustodyTerms,
    OutsideTerms,
    Reference,
    RuntimeTerms,
    StageTerms,
    Terms,
)

TEXTS = st.text(max_size=24)
COUNTS = st.integers(0, 10**12)
AUDIENCES = st.builds(
    Audience,
    st.sampled_from(["auditor", "researcher", "public"]),
    # In the order and without the repetitions that a document gives them.
    st.sets(st.sampled_from(Depth), min_size=1, max_size=4).map(
        lambda found: tuple(depth for depth in Depth if depth in found)
    ),
    st.lists(TEXTS, max_size=2).map(tuple),
)


def rows(row: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(row, max_size=most).map(tuple)


def named(row: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Rows of which no two have one name."""
    return st.lists(row, max_size=3, unique_by=lambda found: found.name).map(tuple)


CONDITIONS = st.builds(
    Condition, TEXTS.filter(bool), st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3)
)
CUSTODY = st.builds(CustodyTerms, COUNTS, COUNTS, COUNTS, st.sampled_from(["", "software", "tee"]))
RUNTIME = st.builds(RuntimeTerms, COUNTS, rows(TEXTS), st.booleans())


def stages(level: st.SearchStrategy[Level]) -> st.SearchStrategy[StageTerms]:
    audiences = st.lists(AUDIENCES, min_size=1, max_size=2).map(tuple)
    conditions = rows(CONDITIONS)
    days = st.integers(0, 3_650)
    return st.builds(StageTerms, TEXTS.filter(bool), level, audiences, conditions, days, conditions)


def every_terms(
    components: st.SearchStrategy[str], keys: st.SearchStrategy[str], profiles: list[str]
) -> st.SearchStrategy[Terms]:
    """Terms of every kind. components: their names. keys: of those outside who must sign."""
    component = st.builds(
        ComponentTerms, components, st.sampled_from(ComponentAccess), TEXTS, rows(TEXTS)
    )
    duties = st.sampled_from(["condition", "licence", "non_objection"])
    return st.builds(
        Terms,
        profile=st.sampled_from(profiles),
        components=named(component),
        stages=named(stages(st.sampled_from(Level))),
        safety_margin=TEXTS,
        void_if=rows(TEXTS),
        heard=rows(TEXTS),
        limitations=rows(TEXTS),
        references=rows(st.builds(Reference, TEXTS, TEXTS)),
        outside=rows(st.builds(OutsideTerms, TEXTS, duties, TEXTS, keys)),
        contacts=rows(
            st.builds(Contact, st.sampled_from(["liability", "reporting"]), TEXTS, TEXTS)
        ),
        custody=CUSTODY,
        runtime=RUNTIME,
    )


def at_its_stage(decision: Decision, terms: Terms) -> Decision:
    """`decision` with `terms`, at one of their stages where they have any."""
    if not terms.stages:
        return replace(decision, terms=terms)
    here = replace(terms.stages[0], level=decision.level, audiences=decision.audiences)
    terms = replace(terms, stages=(here, *terms.stages[1:]))
    return replace(decision, stage=here.name, terms=terms)
