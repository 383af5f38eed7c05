"""A safetensors header is read strictly: what does not fit its bytes is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.weights.tensors import parse_tensors


def row(dtype: str, shape: list[Any], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_tensors_come_in_the_order_of_their_bytes() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": row("F32", [2], 4, 12),
        "a": row("BF16", [2, 1], 0, 4),
        "c": row("F4", [3, 2], 12, 15),
        "empty": row("F32", [0], 15, 15),
    }
    entries = parse_tensors(json.dumps(header), 15)
    assert [entry.name for entry in entries] == ["a", "b", "c", "empty"]
    assert entries[0].shape == (2, 1)


BAD: dict[str, tuple[str, int]] = {
    "reshaped": (json.dumps({"a": row("F32", [3], 0, 8)}), 8),
    "retyped": (json.dumps({"a": row("F64", [2], 0, 8)}), 8),
    "overlap": (json.dumps({"a": row("U8", [4], 0, 4), "b": row("U8", [4], 2, 6)}), 6),
    "hole": (json.dumps({"a": row("U8", [2], 0, 2), "b": row("U8", [2], 4, 6)}), 6),
    "rest": (json.dumps({"a": row("U8", [2], 0, 2)}), 3),
    "beyond": (json.dumps({"a": row("U8", [9], 0, 9)}), 3),
    "backwards": (json.dumps({"a": row("U8", [0], 4, 2)}), 4),
    "negative": (json.dumps({"a": row("U8", [-1, -2], 0, 2)}), 2),
    "unknown type": (json.dumps({"a": row("Q8", [2], 0, 2)}), 2),
    "true as count": (json.dumps({"a": row("U8", [True], 0, 1)}), 1),
    "float as count": (json.dumps({"a": row("U8", [1.0], 0, 1)}), 1),
    "unknown field": (json.dumps({"a": {**row("U8", [1], 0, 1), "x": 1}}), 1),
    "missing field": ('{"a":{"dtype":"U8"}}', 0),
    "twice": ('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}', 0),
    "not an object": ("[]", 0),
    "not json": ("{", 0),
    "deep": ("[" * 100_000, 0),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_does_not_fit_is_refused(name: str) -> None:
    text, size = BAD[name]
    with pytest.raises(Invalid) as caught:
        parse_tensors(text, size)
    assert caught.value.code == "bad_safetensors"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(value=JSON, size=st.integers(0, 100))
def test_any_value_is_a_header_or_refused(value: object, size: int) -> None:
    with suppress(DutchdoorError):
        parse_tensors(json.dumps(value), size)
