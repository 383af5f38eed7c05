"""Each trigger speaks when it must, says the same thing twice as one, and else is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.audit.triggers import (
    DAY_MS,
    TERMS,
    GuardRate,
    Sealed,
    Subject,
    Traffic,
    TriggerKind,
    by_assumptions,
    by_guard_drift,
    by_new_adapter,
    by_people,
    by_time,
    count_traffic,
    rate_of,
)
from dutchdoor.clock import from_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import GRACE_MS, GRACE_MS_MAX, PERIOD_MS, Due
from tests.audit.parts import BUNDLE, OTHER_BUNDLE

NOW_MS = from_iso("2027-01-01")
SUBJECT = Subject(
    bundle=BUNDLE,
    model="smol",
    decision="decision_1",
    audit="sha256:" + "1" * 64,
    reasons="Because.\nAssumed until 2027-03-01: nothing better is open",
    reviewed_ms=NOW_MS,
)
RATE = GuardRate(0.01, 0.005, 0.02)


def test_time_is_due_half_a_year_after_the_last_review() -> None:
    due = by_time(SUBJECT)
    assert (due.due_ms, due.ends_ms) == (NOW_MS + PERIOD_MS, NOW_MS + PERIOD_MS + GRACE_MS)
    assert by_time(replace(SUBJECT, reviewed_ms=NOW_MS + 1)).id != due.id


def test_an_assumption_is_due_on_its_day_until_somebody_reviews_it() -> None:
    (due,) = by_assumptions(SUBJECT)
    assert due.due_ms == from_iso("2027-03-01")
    assert "nothing better is open" in due.detail
    assert due.ends_ms - due.due_ms == TERMS.assumption_grace_days * DAY_MS
    assert by_assumptions(replace(SUBJECT, reviewed_ms=due.due_ms)) == ()


@pytest.mark.parametrize(
    ("sealed", "speaks"),
    [
        (Sealed(OTHER_BUNDLE, "smol", NOW_MS + 1), True),
        (Sealed(OTHER_BUNDLE, "smol", NOW_MS), False),
        (Sealed(OTHER_BUNDLE, "other", NOW_MS + 1), False),
        (Sealed(BUNDLE, "smol", NOW_MS + 1), False),
    ],
)
def test_a_newer_bundle_of_the_same_model_brings_the_audit_up(sealed: Sealed, speaks: bool) -> None:
    found = by_new_adapter(SUBJECT, [sealed])
    assert bool(found) is speaks
    assert all(OTHER_BUNDLE in due.detail and due.due_ms == NOW_MS + 1 for due in found)


@pytest.mark.parametrize(
    ("traffic", "word"),
    [
        (Traffic(199, 199), ""),  # Too few to say anything.
        (Traffic(1000, 10), ""),  # As on the card.
        (Traffic(1000, 70), ""),  # Some of honest traffic is rightly stopped.
        (Traffic(1000, 85), ""),  # Over it, but the interval is not.
        (Traffic(1000, 150), "more than"),
        (Traffic(200, 0), ""),  # None of so few is compatible with half a per cent.
        (Traffic(3000, 0), "less than"),
    ],
)
def test_the_guard_drifts_only_where_the_interval_excludes_its_card(
    traffic: Traffic, word: str
) -> None:
    due = by_guard_drift(SUBJECT, traffic, RATE, NOW_MS)
    assert (due is not None) is bool(word)
    assert due is None or word in due.detail


@given(st.integers(200, 5_000), st.floats(0, 1))
def test_a_rate_inside_the_band_never_alarms(judged: int, part: float) -> None:
    most = RATE.high + TERMS.harmful_part_max
    flagged = round(judged * (RATE.low + part * (most - RATE.low)))
    assert by_guard_drift(SUBJECT, Traffic(judged, flagged), RATE, NOW_MS) is None


def test_a_drift_is_one_matter_however_its_figures_move() -> None:
    first = by_guard_drift(SUBJECT, Traffic(1000, 150), RATE, NOW_MS)
    later = by_guard_drift(SUBJECT, Traffic(1500, 300), RATE, NOW_MS + DAY_MS)
    other = by_guard_drift(SUBJECT, Traffic(3000, 0), RATE, NOW_MS)
    assert first is not None
    assert later is not None
    assert other is not None
    assert first.id == later.id != other.id


def test_what_people_say_needs_a_reason_and_a_grace_within_bounds() -> None:
    due = by_people(SUBJECT, TriggerKind.INCIDENT, " it leaked ", NOW_MS)
    assert (due.trigger, due.detail) == ("incident", "it leaked")
    assert due.grace_ms == TERMS.incident_grace_days * DAY_MS
    assert due.id != by_people(SUBJECT, TriggerKind.INCIDENT, "it leaked", NOW_MS).id
    with pytest.raises(Invalid):
        by_people(SUBJECT, TriggerKind.INCIDENT, " ", NOW_MS)
    for grace_ms in (-1, GRACE_MS_MAX + 1):
        with pytest.raises(Invalid):
            by_people(SUBJECT, TriggerKind.LANDSCAPE, "x", NOW_MS, grace_ms)


@pytest.mark.parametrize("kind", TriggerKind)
def test_every_kind_leaves_a_grace_within_the_logs_bounds(kind: TriggerKind) -> None:
    assert 0 <= TERMS.grace_ms(kind) <= GRACE_MS_MAX


MAKE: list[Callable[[], Due]] = [
    lambda: by_time(SUBJECT),
    lambda: by_assumptions(SUBJECT)[0],
    lambda: by_new_adapter(SUBJECT, [Sealed(OTHER_BUNDLE, "smol", NOW_MS + 1)])[0],
]


@pytest.mark.parametrize("make", MAKE)
def test_the_same_matter_has_the_same_id_and_may_be_recorded(make: Callable[[], Due]) -> None:
    assert make() == make()
    make().check()


def pair(name: str, actions: list[str], **begun: object) -> list[bytes]:
    """An inference of the log, with what the probe and the text rules said of it."""
    body = {"inference": name, "decision": "decision_1", "bundle": BUNDLE, **begun}
    verdicts = [{"layer": "rules", "version": "r1", "action": "block"}]
    verdicts += [{"layer": "probe", "version": "probe-1", "action": action} for action in actions]
    return [
        Entry(EntryKind.INFERENCE_BEGUN, NOW_MS + 5, body).encode(),
        Entry(
            EntryKind.INFERENCE_DONE, NOW_MS + 6, {"inference": name, "verdicts": verdicts}
        ).encode(),
    ]


def test_traffic_is_what_the_probe_judged_under_this_decision_since() -> None:
    unfitted = [{"layer": "probe", "version": "none", "action": "flag"}]
    entries = [
        *pair("a", ["allow"]),
        *pair("b", ["allow", "block"]),
        *pair("c", ["flag"]),
        *pair("d", []),
        *pair("e", ["block"], decision="decision_0"),
        *pair("f", ["block"], bundle=OTHER_BUNDLE),
        pair("g", [])[0],
        Entry(EntryKind.INFERENCE_DONE, NOW_MS, {"inference": "g", "verdicts": unfitted}).encode(),
        Entry(EntryKind.POLICY_LOADED, NOW_MS, {"policies": "x"}).encode(),
    ]
    assert count_traffic(entries, SUBJECT, NOW_MS) == Traffic(judged=3, flagged=2)
    assert count_traffic(entries, SUBJECT, NOW_MS + 6) == Traffic(0, 0)


def card_of(rate: Any) -> bytes:
    return canonical.encode({"thresholds": {"fpr_0.01": {"realised_false_positive_rate": rate}}})


def test_the_cards_rate_is_read_or_is_none() -> None:
    rate = {"value": "0.0100", "low": "0.0050", "high": "0.0200"}
    assert rate_of(card_of(rate), "fpr_0.01") == RATE
    assert rate_of(card_of(rate), "fpr_0.05") is None
    wrong: list[Any] = [{}, [], *({**rate, "low": text} for text in ("x", "0.9", "nan"))]
    assert [rate_of(card_of(value), "fpr_0.01") for value in wrong] == [None] * 5
    with pytest.raises(Invalid):
        rate_of(b"no", "fpr_0.01")
