"""Shares open together or not at all, and a wrong one is never combined silently."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.model import ContentKey, CustodianPublic
from dutchdoor.custody.shares import (
    Share,
    WrappedShares,
    combine,
    key_commitment,
    parse_quorum,
    split,
    unwrap_share,
    wrap_shares,
)
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Tampered
from tests.custody.parts import BUNDLE, OTHER_BUNDLE


@pytest.fixture(scope="module")
def keys() -> list[CustodianKey]:
    return [CustodianKey(f"custodian-{n}", os.urandom(96)) for n in range(3)]


@pytest.fixture(scope="module")
def key() -> ContentKey:
    return ContentKey.generate()


@pytest.fixture(scope="module")
def wrapped(keys: list[CustodianKey], key: ContentKey) -> WrappedShares:
    return wrap_shares(key, bundle=BUNDLE, custodians=[k.public for k in keys], threshold=2)


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (2, 2), (2, 3), (3, 5), (16, 16)])
def test_any_quorum_gives_the_key_back(threshold: int, count: int) -> None:
    key = ContentKey.generate()
    shares = split(key, threshold=threshold, count=count)
    for chosen in itertools.islice(itertools.combinations(shares, threshold), 12):
        assert combine(chosen, key_commitment(key)) == key


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (3, 5)])
def test_fewer_than_the_quorum_get_nothing(threshold: int, count: int) -> None:
    key = ContentKey.generate()
    shares = split(key, threshold=threshold, count=count)
    with pytest.raises(Refused) as caught:
        combine(shares[: threshold - 1], key_commitment(key))
    assert caught.value.code == "no_quorum"
    with pytest.raises(Refused):
        combine([], key_commitment(key))


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (1, 3), (2, 17), (-1, 1)])
def test_quorums_that_are_none_are_refused(threshold: int, count: int) -> None:
    with pytest.raises(Invalid) as caught:
        split(ContentKey.generate(), threshold=threshold, count=count)
    assert caught.value.code == "bad_quorum"


def test_shares_of_two_bundles_are_never_mixed() -> None:
    one, two = ContentKey.generate(), ContentKey.generate()
    mine = split(one, threshold=2, count=3)
    theirs = split(two, threshold=2, count=3)
    with pytest.raises(Tampered) as caught:
        combine([mine[0], theirs[1]], key_commitment(one))
    assert caught.value.code == "wrong_shares"


def test_a_whole_quorum_of_another_key_is_refused() -> None:
    other = split(ContentKey.generate(), threshold=2, count=3)
    with pytest.raises(Tampered):
        combine(other[:2], key_commitment(ContentKey.generate()))


def test_a_share_given_twice_is_no_quorum() -> None:
    key = ContentKey.generate()
    share = split(key, threshold=2, count=3)[0]
    with pytest.raises(Invalid) as caught:
        combine([share, share], key_commitment(key))
    assert caught.value.code == "duplicate_custodian"


@settings(max_examples=60)
@given(word=st.integers(0, 32), letters=st.text("abcdefghijklmnopqrstuvwxyz", max_size=8))
def test_a_changed_word_is_never_combined(word: int, letters: str) -> None:
    key = ContentKey(bytes(range(32)))
    first, second, _ = split(key, threshold=2, count=3)
    words = first.words.split(" ")
    original, words[word] = words[word], letters
    changed = Share(first.index, first.threshold, " ".join(words))
    if letters == original:
        assert combine([changed, second], key_commitment(key)) == key
        return
    with pytest.raises(Tampered) as caught:
        combine([changed, second], key_commitment(key))
    assert second.words[:12] not in str(caught.value)


def test_a_share_does_not_print_its_words() -> None:
    share = split(ContentKey.generate(), threshold=2, count=3)[0]
    assert share.words.split(" ")[10] not in repr(share)


def test_each_custodian_opens_its_own_share_alone(
    wrapped: WrappedShares, keys: list[CustodianKey], key: ContentKey
) -> None:
    shares = [unwrap_share(wrapped, custodian) for custodian in keys]
    assert combine(shares[1:], wrapped.commitment) == key
    stranger = CustodianKey("stranger", os.urandom(96))
    with pytest.raises(Refused) as caught:
        unwrap_share(wrapped, stranger)
    assert caught.value.code == "not_a_custodian"


def test_a_share_moved_to_another_place_does_not_open(
    wrapped: WrappedShares, keys: list[CustodianKey]
) -> None:
    first, second, third = wrapped.shares
    moved = {
        "another bundle": replace(wrapped, bundle=OTHER_BUNDLE),
        "another threshold": replace(wrapped, threshold=3),
        "another index": replace(wrapped, shares=(replace(first, index=1), second, third)),
        "another custodian": replace(
            wrapped, shares=(replace(second, custodian=first.custodian), second, third)
        ),
    }
    for name, shares in moved.items():
        with pytest.raises(Tampered) as caught:
            unwrap_share(shares, keys[0])
        assert caught.value.code == "share_unopened", name


def test_what_a_stranger_wraps_is_checked_after_it_opens(keys: list[CustodianKey]) -> None:
    """HPKE says to whom, not from whom: anybody can wrap something to a custodian."""
    forged = wrap_shares(
        ContentKey.generate(), bundle=BUNDLE, custodians=[k.public for k in keys], threshold=2
    )
    shares = [unwrap_share(forged, custodian) for custodian in keys]
    with pytest.raises(Tampered) as caught:
        combine(shares, key_commitment(ContentKey.generate()))
    assert caught.value.code == "wrong_shares"


def test_the_file_comes_back_and_only_in_one_form(wrapped: WrappedShares) -> None:
    data = wrapped.encode()
    assert WrappedShares.decode(data) == wrapped
    others = [data.replace(b'"v":2', b'"v":%d' % version) for version in (1, 3)]
    for other in (*others, data + b"\n", b"{}", b"[]", b"", b"null"):
        with pytest.raises(Invalid):
            WrappedShares.decode(other)


def test_shares_of_before_there_were_proofs_still_open(
    wrapped: WrappedShares, keys: list[CustodianKey]
) -> None:
    old = replace(wrapped, shares=tuple(replace(share, proof=b"") for share in wrapped.shares))
    data = old.encode()
    assert b'"v":1' in data
    assert b"proof" not in data
    assert WrappedShares.decode(data) == old
    assert [unwrap_share(old, key) for key in keys] == [unwrap_share(wrapped, key) for key in keys]


def test_a_custodian_named_twice_is_refused(
    wrapped: WrappedShares, keys: list[CustodianKey], key: ContentKey
) -> None:
    first = wrapped.shares[0]
    twice = replace(wrapped, shares=(first, replace(first, index=1)))
    with pytest.raises(Invalid) as caught:
        WrappedShares.decode(twice.encode())
    assert caught.value.code == "duplicate_custodian"
    public = keys[0].public
    with pytest.raises(Invalid):
        wrap_shares(key, bundle=BUNDLE, custodians=[public, public], threshold=2)


def test_what_is_no_public_key_is_refused(key: ContentKey) -> None:
    nobody = CustodianPublic("nobody", b"\xff" * 1216)
    with pytest.raises(Invalid) as caught:
        wrap_shares(key, bundle=BUNDLE, custodians=[nobody], threshold=1)
    assert caught.value.code == "bad_public_key"


@given(data=st.binary(max_size=400))
def test_any_bytes_are_shares_or_refused(data: bytes) -> None:
    try:
        decoded = WrappedShares.decode(data)
    except DutchdoorError:
        return
    assert decoded.encode() == data


@pytest.mark.parametrize(("text", "quorum"), [("2of3", (2, 3)), ("1of1", (1, 1))])
def test_a_quorum_is_read_as_people_write_it(text: str, quorum: tuple[int, int]) -> None:
    assert parse_quorum(text) == quorum


@pytest.mark.parametrize("text", ["", "2", "of", "3of2", "1of3", "2of17", "-1of3", "2of3 ", "²of3"])
def test_other_quorums_are_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_quorum(text)
    assert caught.value.code == "bad_quorum"
