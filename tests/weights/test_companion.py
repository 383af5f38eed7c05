"""A companion opens with its bundle's key, for its bundle, as what it was sealed as."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.companion import open_companion, seal_companion

KEY = ContentKey(bytes(range(32)))
BUNDLE = BundleDigest("sha256:" + "a" * 64)
DATA = b"weights of a probe" * 5
SEALED = seal_companion(KEY, BUNDLE, "probe", DATA)


@pytest.mark.parametrize("data", [b"", b"x", DATA, bytes(100_000)])
def test_it_comes_back(data: bytes) -> None:
    sealed = seal_companion(KEY, BUNDLE, "probe", data)
    assert open_companion(KEY, BUNDLE, "probe", sealed) == data
    assert not data or len(data) < 8 or data not in sealed


def test_it_opens_with_no_other_key_bundle_or_label() -> None:
    other = BundleDigest("sha256:" + "b" * 64)
    for key, bundle, label in (
        (ContentKey(bytes(32)), BUNDLE, "probe"),
        (KEY, other, "probe"),
        (KEY, BUNDLE, "other"),
    ):
        with pytest.raises(Invalid):
            open_companion(key, bundle, label, SEALED)


def test_two_sealings_never_share_a_key() -> None:
    again = seal_companion(KEY, BUNDLE, "probe", DATA)
    assert again != SEALED
    assert again[-len(DATA) :] != SEALED[-len(DATA) :]


@given(place=st.integers(0, len(SEALED) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(place: int, bit: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= 1 << bit
    with pytest.raises(Invalid):
        open_companion(KEY, BUNDLE, "probe", bytes(changed))


@given(length=st.integers(0, len(SEALED) - 1))
def test_any_other_length_is_refused(length: int) -> None:
    with pytest.raises(Invalid):
        open_companion(KEY, BUNDLE, "probe", SEALED[:length])
    with pytest.raises(Invalid):
        open_companion(KEY, BUNDLE, "probe", SEALED + bytes(length + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_our_own_errors(data: bytes) -> None:
    for attempt in (data, b"DDCOMP\0\1" + len(data).to_bytes(4, "big") + data):
        with suppress(DutchdoorError):
            open_companion(KEY, BUNDLE, "probe", attempt)


@pytest.mark.parametrize("label", ["", "Probe", "a/b", "x" * 65, "é"])
def test_other_labels_are_refused(label: str) -> None:
    with pytest.raises(Invalid) as caught:
        seal_companion(KEY, BUNDLE, label, b"")
    assert caught.value.code == "bad_companion"
