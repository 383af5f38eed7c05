"""A key leaves its custodians under a decision in force, recorded first, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.messages import OpenRequest, ShareRelease
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.opening import (
    Opened,
    Opening,
    gather_releases,
    open_with_quorum,
)
from dutchdoor.custody.shares import wrap_shares
from dutchdoor.errors import DutchdoorError, Invalid, NotInForce, Refused, Tampered, Unavailable
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.terms import Terms
from dutchdoor.ids import DecisionId
from tests.custody.parts import BUNDLE, OTHER_BUNDLE, Quorum, decision_on


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def quorum(tmp_path: Path, clock: FixedClock) -> Quorum:
    return Quorum(tmp_path, clock)


def opened(quorum: Quorum, **changes: Any) -> Opened:
    arguments: dict[str, Any] = {
        "shares": quorum.shares,
        "custodians": quorum.custodians,
        "record": quorum.record,
        "clock": quorum.clock,
        **changes,
    }
    return open_with_quorum(quorum.terms, **arguments)


def gathered(quorum: Quorum, request: bytes, **changes: Any) -> tuple[bytes, ...]:
    arguments: dict[str, Any] = {
        "shares": quorum.shares,
        "custodians": quorum.custodians,
        "record": quorum.record,
        "clock": quorum.clock,
        **changes,
    }
    return gather_releases(request, **arguments)


def refusal(action: Callable[[], object]) -> DutchdoorError:
    with pytest.raises(DutchdoorError) as caught:
        action()
    return caught.value


def answered(quorum: Quorum) -> int:
    """How many requests the custodians have answered."""
    files = quorum.folder.glob("*.seen")
    return sum(len(path.read_text().splitlines()) for path in files)


def test_a_quorum_opens_under_a_decision_in_force(quorum: Quorum) -> None:
    result = opened(quorum)
    assert result.key == quorum.key
    assert result.decision == "decision_one"
    (entry,) = quorum.record.entries
    assert entry.kind is EntryKind.KEY_RELEASED
    assert entry.body["bundle"] == BUNDLE
    assert entry.body["decision_index"] == 7
    assert entry.body["custodians"] == sorted(key.key_id for key in quorum.keys[:2])


def test_any_two_of_three_suffice(quorum: Quorum) -> None:
    for left_out in range(3):
        custodians = [c for n, c in enumerate(quorum.custodians) if n != left_out]
        assert opened(quorum, custodians=custodians).key == quorum.key


def test_one_custodian_alone_opens_nothing_and_nothing_is_recorded(quorum: Quorum) -> None:
    error = refusal(lambda: opened(quorum, custodians=quorum.custodians[:1]))
    assert isinstance(error, Refused)
    assert error.code == "no_quorum"
    assert quorum.record.entries == []
    assert answered(quorum) == 0


def test_a_custodian_counts_once(quorum: Quorum) -> None:
    twice = [quorum.custodians[0], quorum.custodian(quorum.keys[0])]
    assert refusal(lambda: opened(quorum, custodians=twice)).code == "duplicate_custodian"
    assert quorum.record.entries == []


def test_without_a_decision_in_force_nothing_opens(quorum: Quorum) -> None:
    quorum.decisions.by_bundle.clear()
    assert isinstance(refusal(lambda: opened(quorum)), NotInForce)
    assert quorum.record.entries == []
    assert answered(quorum) == 0


@pytest.mark.parametrize("moved_ms", [-2_000, 90_000_000])
def test_a_decision_outside_its_dates_opens_nothing(
    quorum: Quorum, clock: FixedClock, moved_ms: int
) -> None:
    decision = quorum.decisions.by_bundle[BUNDLE]
    quorum.decisions.by_bundle[BUNDLE] = replace(
        decision,
        not_before_ms=decision.not_before_ms - moved_ms,
        not_after_ms=decision.not_after_ms - moved_ms,
    )
    assert isinstance(refusal(lambda: opened(quorum)), NotInForce)


def test_a_decision_whose_day_of_review_was_missed_opens_nothing(
    quorum: Quorum, clock: FixedClock
) -> None:
    decision = quorum.decisions.by_bundle[BUNDLE]
    terms = Terms(review_by_ms=clock.now_ms())
    quorum.decisions.by_bundle[BUNDLE] = replace(decision, terms=terms)
    assert isinstance(refusal(lambda: opened(quorum)), NotInForce)
    assert quorum.record.entries == []
    assert answered(quorum) == 0


def test_a_decision_on_another_bundle_opens_nothing(quorum: Quorum, clock: FixedClock) -> None:
    """Even where the register itself is wrong: the custodian looks at the decision."""
    quorum.decisions.by_bundle[BUNDLE] = decision_on(OTHER_BUNDLE, clock)
    assert refusal(lambda: opened(quorum)).code == "other_bundle"
    assert quorum.record.entries == []


def test_a_request_for_another_bundle_gets_no_share(quorum: Quorum, clock: FixedClock) -> None:
    """An open bundle's decision must not open a closed bundle's shares."""
    quorum.decisions.by_bundle[OTHER_BUNDLE] = decision_on(OTHER_BUNDLE, clock)
    request = Opening(OTHER_BUNDLE, clock).request
    assert refusal(lambda: gathered(quorum, request)).code == "other_bundle"
    relabelled = replace(quorum.shares, bundle=OTHER_BUNDLE)
    error = refusal(lambda: gathered(quorum, request, shares=relabelled))
    assert error.code == "share_unopened"
    assert quorum.record.entries == []


def test_an_expired_request_is_refused(quorum: Quorum, clock: FixedClock) -> None:
    request = Opening(BUNDLE, clock).request
    clock.advance(60_000)
    assert refusal(lambda: gathered(quorum, request)).code == "request_expired"
    assert answered(quorum) == 0


def test_a_request_expires_between_agreement_and_release(quorum: Quorum, clock: FixedClock) -> None:
    def slow(entry: Entry) -> Recorded:
        clock.advance(60_000)
        return quorum.record(entry)

    assert refusal(lambda: opened(quorum, record=slow)).code == "request_expired"
    assert answered(quorum) == 0


@pytest.mark.parametrize(("early_ms", "lifetime_ms"), [(5_001, 60_000), (0, 300_001), (0, 0)])
def test_a_request_from_the_future_or_for_ever_is_refused(
    quorum: Quorum, clock: FixedClock, early_ms: int, lifetime_ms: int
) -> None:
    request = OpenRequest.decode(Opening(BUNDLE, clock).request)
    created_ms = request.created_ms + early_ms
    moved = replace(request, created_ms=created_ms, expires_ms=created_ms + lifetime_ms)
    assert refusal(lambda: gathered(quorum, moved.encode())).code == "request_not_fresh"


def test_a_request_is_answered_once_even_after_a_restart(quorum: Quorum, clock: FixedClock) -> None:
    request = Opening(BUNDLE, clock).request
    gathered(quorum, request)
    again = [quorum.custodian(key) for key in quorum.keys[:2]]
    assert refusal(lambda: gathered(quorum, request, custodians=again)).code == "request_replayed"
    assert len(quorum.record.entries) == 1


def test_if_it_cannot_be_recorded_nothing_is_released(quorum: Quorum, clock: FixedClock) -> None:
    def full(entry: Entry) -> Recorded:
        raise Unavailable("the disk is full", code="log_full")

    opening = Opening(BUNDLE, clock)
    assert refusal(lambda: gathered(quorum, opening.request, record=full)).code == "log_full"
    assert answered(quorum) == 0
    # The request was not used up: once the log has room, the same one is answered.
    assert len(gathered(quorum, opening.request)) == 2


def test_recorded_means_recorded_as_it_is(quorum: Quorum, clock: FixedClock) -> None:
    """A recorder that drops, changes or swaps the entry moves no custodian."""

    def changed(**body: Any) -> Callable[[Entry], Recorded]:
        return lambda entry: quorum.record(Entry(entry.kind, entry.time_ms, {**entry.body, **body}))

    def kind(entry: Entry) -> Recorded:
        return quorum.record(Entry(EntryKind.RUNTIME_STARTED, entry.time_ms, entry.body))

    attempts: list[Callable[[Entry], Recorded]] = [
        kind,
        changed(bundle=OTHER_BUNDLE),
        changed(request="sha256:" + "0" * 64),
        changed(runtime_key="sha256:" + "0" * 64),
        changed(decision="decision_other"),
        changed(custodians=[]),
        changed(custodians=None),
    ]
    for record in attempts:
        assert refusal(partial(opened, quorum, record=record)).code == "not_recorded"
    assert answered(quorum) == 0

    def nothing(entry: Entry) -> Recorded:
        return Recorded(entry.time_ms, b"")

    assert isinstance(refusal(partial(opened, quorum, record=nothing)), Invalid)
    assert answered(quorum) == 0


def test_a_revocation_between_agreement_and_release_wins(quorum: Quorum) -> None:
    def revoked(entry: Entry) -> Recorded:
        quorum.decisions.by_bundle.clear()
        return quorum.record(entry)

    assert isinstance(refusal(lambda: opened(quorum, record=revoked)), NotInForce)
    assert answered(quorum) == 0


def test_another_decision_in_between_wins_too(quorum: Quorum, clock: FixedClock) -> None:
    def superseded(entry: Entry) -> Recorded:
        quorum.decisions.by_bundle[BUNDLE] = decision_on(BUNDLE, clock, "decision_two")
        return quorum.record(entry)

    assert refusal(lambda: opened(quorum, record=superseded)).code == "not_recorded"
    assert answered(quorum) == 0


def test_a_release_opens_for_no_other_runtime(quorum: Quorum, clock: FixedClock) -> None:
    mine, other = Opening(BUNDLE, clock), Opening(BUNDLE, clock)
    releases = gathered(quorum, mine.request)
    assert refusal(lambda: other.finish(releases, quorum.terms)).code == "other_request"
    # Relabelled as an answer to its own request, it is sealed to another key all the same.
    digest = OpenRequest.decode(other.request).digest
    third = Opening(BUNDLE, clock)
    digest = OpenRequest.decode(third.request).digest
    relabelled = [replace(ShareRelease.decode(r), request=digest).encode() for r in releases]
    assert refusal(lambda: third.finish(relabelled, quorum.terms)).code == "release_unopened"


@pytest.mark.parametrize("position", [0, 600, 1119, 1120, -1])
def test_a_tampered_release_is_refused(quorum: Quorum, clock: FixedClock, position: int) -> None:
    opening = Opening(BUNDLE, clock)
    first, second = gathered(quorum, opening.request)
    release = ShareRelease.decode(second)
    sealed = bytearray(release.sealed)
    sealed[position] ^= 1
    changed = replace(release, sealed=bytes(sealed)).encode()
    error = refusal(lambda: opening.finish([first, changed], quorum.terms))
    assert isinstance(error, Tampered)
    assert error.code == "release_unopened"


def test_every_field_of_a_release_is_bound(quorum: Quorum, clock: FixedClock) -> None:
    attempts: list[dict[str, Any]] = [
        {"index": 2},
        {"custodian": quorum.keys[2].key_id},
        {"threshold": 3},
    ]
    for changes in attempts:
        opening = Opening(BUNDLE, clock)
        first, second = gathered(quorum, opening.request)
        changed = replace(ShareRelease.decode(second), **changes).encode()
        error = refusal(partial(opening.finish, [first, changed], quorum.terms))
        assert error.code == "release_unopened", changes


def test_releases_under_two_decisions_are_refused(quorum: Quorum, clock: FixedClock) -> None:
    opening = Opening(BUNDLE, clock)
    first, second = gathered(quorum, opening.request)
    other = replace(ShareRelease.decode(second), decision=DecisionId("decision_two")).encode()
    error = refusal(lambda: opening.finish([first, other], quorum.terms))
    assert error.code == "mixed_decisions"


def test_too_few_repeated_or_foreign_releases_are_refused(
    quorum: Quorum, clock: FixedClock
) -> None:
    def attempt(*places: int, **terms: Any) -> str:
        opening = Opening(BUNDLE, clock)
        releases = [*gathered(quorum, opening.request), b"{}"]
        chosen = [releases[place] for place in places]
        return refusal(lambda: opening.finish(chosen, replace(quorum.terms, **terms))).code

    assert attempt(0) == "no_quorum"
    assert attempt() == "no_quorum"
    assert attempt(0, 0) == "duplicate_custodian"
    assert attempt(0, 1, custodians=()) == "not_a_custodian"
    assert attempt(0, 1, bundle=OTHER_BUNDLE) == "other_bundle"
    assert attempt(0, 1, commitment="0" * 64) == "wrong_shares"
    assert attempt(0, 2) == "bad_release"


def test_shares_of_another_key_are_never_combined(quorum: Quorum) -> None:
    """Somebody replaces shares.json by shares of a key of their own."""
    forged = wrap_shares(
        ContentKey.generate(),
        bundle=BUNDLE,
        custodians=[key.public for key in quorum.keys],
        threshold=2,
    )
    assert refusal(lambda: opened(quorum, shares=forged)).code == "wrong_shares"


def test_an_opening_is_used_once(quorum: Quorum, clock: FixedClock) -> None:
    opening = Opening(BUNDLE, clock)
    releases = gathered(quorum, opening.request)
    assert opening.finish(releases, quorum.terms).key == quorum.key
    assert refusal(lambda: opening.finish(releases, quorum.terms)).code == "request_replayed"


def test_a_custodian_that_cannot_agree_does_not_hold_up_the_others(quorum: Quorum) -> None:
    stranger = quorum.custodian(CustodianKey("stranger", os.urandom(96)))
    result = opened(quorum, custodians=[stranger, *quorum.custodians[1:]])
    assert result.key == quorum.key
    short = refusal(lambda: opened(quorum, custodians=[stranger, quorum.custodians[0]]))
    assert short.code == "no_quorum"
    assert stranger.key_id in short.message


def test_a_lone_holder_may_be_their_own_quorum(tmp_path: Path, clock: FixedClock) -> None:
    quorum = Quorum(tmp_path, clock, count=1, threshold=1)
    assert opened(quorum).key == quorum.key
