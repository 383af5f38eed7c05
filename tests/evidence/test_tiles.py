"""Paths and bytes of tiles and entry bundles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence.tiles import (
    bundle_path,
    decode_bundle,
    decode_tile,
    encode_bundle,
    tile_path,
)


def test_paths_are_those_of_the_specification() -> None:
    assert tile_path(0, 0) == "tile/0/000"
    assert tile_path(3, 1234067) == "tile/3/x001/x234/067"
    assert tile_path(1, 5, 17) == "tile/1/005.p/17"
    assert bundle_path(1000) == "tile/entries/x001/000"
    assert bundle_path(2, 255) == "tile/entries/002.p/255"


@given(st.lists(st.binary(max_size=300), max_size=50))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=200), st.integers(0, 20))
def test_an_accepted_bundle_reserialises_to_the_same_bytes(data: bytes, count: int) -> None:
    try:
        entries = decode_bundle(data, count)
    except Invalid:
        return
    assert encode_bundle(entries) == data


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x02a", b"\x00\x01a\x00", b"\xff\xff"])
def test_a_bundle_cut_short_is_refused(data: bytes) -> None:
    for count in range(3):
        with pytest.raises(Invalid):
            decode_bundle(data, count)


def test_a_tile_of_another_length_is_refused() -> None:
    assert decode_tile(b"a" * 64, 2) == [b"a" * 32] * 2
    for length in (0, 63, 65, 96):
        with pytest.raises(Invalid):
            decode_tile(b"a" * length, 2)
