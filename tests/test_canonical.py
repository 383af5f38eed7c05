"""One value, one sequence of bytes: what is accepted encodes to the same, all else is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.errors import Invalid

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical.INTEGER_MAX, canonical.INTEGER_MAX)
    | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)
PIECES = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", '"a"', '"b"', "1", "-0", "0", "1.0", "1e2", "null", "true", " "]
)


@given(VALUES)
def test_values_round_trip(value: Any) -> None:
    data = canonical.encode(value)
    assert canonical.parse(data) == value
    assert canonical.encode(canonical.parse(data)) == data


@given(st.one_of(st.binary(max_size=40), st.lists(PIECES, max_size=8).map("".join).map(str.encode)))
@settings(max_examples=500)
def test_what_is_accepted_reencodes_to_the_same_bytes(data: bytes) -> None:
    try:
        value = canonical.parse(data)
    except Invalid:
        return
    assert canonical.encode(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1 ",
        b"1.0",
        b"1e3",
        b"-0",
        b"01",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"9" * 5000,
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'"\\u0061"',
        b'"\\/"',
        b'"\\ud800"',
        b'"\xff"',
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"[" * 34 + b"]" * 34,
    ],
)
def test_bytes_in_another_form_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        canonical.parse(data)
    assert caught.value.code == "not_canonical"


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), "\ud800", {1: 2}, {"a": {2}}, b"x", {"\udc00": 1}],
)
def test_values_without_a_canonical_form_are_refused(value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        canonical.encode(value)
    assert caught.value.code == "not_canonical"


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(canonical.DEPTH_MAX):
        value = [value]
    assert canonical.parse(canonical.encode(value)) == value
    with pytest.raises(Invalid):
        canonical.encode([value])


def test_keys_are_ordered_by_code_units_as_the_standard_has_it() -> None:
    # U+10000 begins with the code unit D800, which comes before U+E000.
    assert canonical.encode({"\ue000": 1, "\U00010000": 2, "a": 3}).decode() == (
        '{"a":3,"\U00010000":2,"\ue000":1}'
    )


def test_strings_are_escaped_as_the_standard_has_it() -> None:
    text = '\x00\x1f\b\t\n\f\r"\\/\x7fé\u2028'
    assert canonical.encode(text).decode() == ('"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\x7fé\u2028"')


def test_a_digest_names_its_algorithm() -> None:
    assert canonical.digest({}) == "sha256:" + canonical.sha256_hex(b"{}")
    assert canonical.sha256_hex(b"") == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
