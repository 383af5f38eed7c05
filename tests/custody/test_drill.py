"""A drill: who has its share can prove it, who has not cannot, and nobody learns the share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.custody.drill import DrillProof, DrillRequest, check_proofs
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.proof import is_proven, proof_key, prove
from dutchdoor.custody.shares import unwrap_share
from dutchdoor.errors import DutchdoorError, Refused
from tests.custody.parts import BUNDLE, OTHER_BUNDLE, Quorum


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def quorum(tmp_path: Path, clock: FixedClock) -> Quorum:
    return Quorum(tmp_path, clock)


def proofs_of(quorum: Quorum, drill: DrillRequest) -> list[bytes]:
    return [row.prove(drill.encode(), quorum.shares).encode() for row in quorum.custodians]


def code(action: Callable[[], object]) -> str:
    with pytest.raises(DutchdoorError) as caught:
        action()
    return caught.value.code


def test_custodians_prove_their_shares_without_a_decision_and_without_showing_them(
    quorum: Quorum, clock: FixedClock
) -> None:
    quorum.decisions.by_bundle.clear()
    drill = DrillRequest.new(quorum.shares, clock)
    proofs = proofs_of(quorum, drill)
    assert check_proofs(drill, quorum.shares, proofs) == tuple(k.key_id for k in quorum.keys)
    assert check_proofs(drill, quorum.shares, proofs[2:]) == (quorum.keys[2].key_id,)
    assert check_proofs(drill, quorum.shares, []) == ()
    for key, proof in zip(quorum.keys, proofs, strict=True):
        words = unwrap_share(quorum.shares, key).words
        assert words.encode() not in proof
        assert not any(word.encode() in proof for word in words.split() if len(word) > 5)
        assert not list(quorum.folder.glob("*.seen")), "a drill uses up no request"


def test_a_lost_share_cannot_be_proved_by_another_key(quorum: Quorum, clock: FixedClock) -> None:
    drill = DrillRequest.new(quorum.shares, clock)
    stranger = quorum.custodian(CustodianKey("custodian-0", bytes(96)))
    assert code(lambda: stranger.prove(drill.encode(), quorum.shares)) == "not_a_custodian"
    words = unwrap_share(quorum.wrap(BUNDLE), quorum.keys[0]).words  # Of another split.
    forged = DrillProof.make(drill, quorum.keys[0].key_id, words).encode()
    assert code(lambda: check_proofs(drill, quorum.shares, [forged])) == "wrong_proof"
    theirs = unwrap_share(quorum.shares, quorum.keys[1]).words
    borrowed = DrillProof.make(drill, quorum.keys[0].key_id, theirs).encode()
    assert code(lambda: check_proofs(drill, quorum.shares, [borrowed])) == "wrong_proof"


def test_a_proof_is_good_for_one_drill_and_once(quorum: Quorum, clock: FixedClock) -> None:
    first, second = (DrillRequest.new(quorum.shares, clock) for _ in range(2))
    proof = proofs_of(quorum, first)[0]
    assert code(lambda: check_proofs(second, quorum.shares, [proof])) == "other_request"
    assert code(lambda: check_proofs(first, quorum.shares, [proof] * 2)) == "duplicate_custodian"
    changed = proof.replace(quorum.keys[0].key_id.encode(), quorum.keys[1].key_id.encode())
    assert code(lambda: check_proofs(first, quorum.shares, [changed])) == "wrong_proof"
    for data in (b"", b"{}", b"null", proof[:-1], proof + b" ", proof.replace(b'"v":1', b'"v":2')):
        with pytest.raises(DutchdoorError):
            check_proofs(first, quorum.shares, [data])


def test_a_drill_that_is_over_or_about_another_split_is_answered_by_nobody(
    quorum: Quorum, clock: FixedClock
) -> None:
    drill = DrillRequest.new(quorum.shares, clock)
    custodian = quorum.custodians[0]
    other = replace(drill, bundle=OTHER_BUNDLE)
    assert code(lambda: custodian.prove(other.encode(), quorum.shares)) == "other_bundle"
    again = quorum.wrap(BUNDLE)
    assert code(lambda: custodian.prove(drill.encode(), again)) == "other_bundle"
    long = replace(drill, expires_ms=drill.expires_ms + 1)
    assert code(lambda: custodian.prove(long.encode(), quorum.shares)) == "request_not_fresh"
    clock.advance(drill.expires_ms - drill.created_ms)
    assert code(lambda: custodian.prove(drill.encode(), quorum.shares)) == "request_expired"


def test_a_bundle_of_before_drills_says_how_to_get_them(quorum: Quorum, clock: FixedClock) -> None:
    old = replace(quorum.shares, shares=tuple(replace(s, proof=b"") for s in quorum.shares.shares))
    with pytest.raises(Refused) as caught:
        DrillRequest.new(old, clock)
    assert caught.value.code == "no_proof_keys"
    assert "rotate" in caught.value.hint


def test_a_proof_is_about_what_was_asked_and_nothing_else() -> None:
    key, proof = proof_key("some words"), prove("some words", b"about")
    assert is_proven(key, b"about", proof)
    assert not is_proven(key, b"other", proof)
    assert not is_proven(proof_key("other words"), b"about", proof)
    for bad in (b"", proof[:-1], bytes(64), proof + b"\0"):
        assert not is_proven(key, b"about", bad)
    for bad_key in (b"", b"\xff" * 32, bytes(31)):
        assert not is_proven(bad_key, b"about", proof)
