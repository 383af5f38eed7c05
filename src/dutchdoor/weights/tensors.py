"""The header of a safetensors file, read strictly and without the library.

Source: the safetensors format (huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import json
from math import prod
from typing import Any, NamedTuple

from dutchdoor.custody.fields import BAD_FIELD
from dutchdoor.errors import Invalid

__all__ = ["HEADER_BYTES_MAX", "TensorEntry", "TensorView", "parse_metadata", "parse_tensors"]

HEADER_BYTES_MAX = 32 << 20  # Half of what the index may hold: quotes in JSON are escaped.
LENGTH_BYTES = 8

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class TensorEntry(NamedTuple):
    """One tensor of a file. begin, end: bytes from the end of the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorView(NamedTuple):
    """One tensor in memory: `data` is a writable view of its bytes, little-endian, not a copy.

    dtype: as safetensors writes it (`BF16`).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def parse_tensors(text: str, data_bytes: int) -> tuple[TensorEntry, ...]:
    """The tensors of a header's text (unverified), in the order of their bytes.

    data_bytes: how many bytes follow the header. They must be covered without hole or overlap.
    Raises Invalid: malformed, a shape that does not fit its bytes, or an unknown type.
    """
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
        rows = [_entry(name, row) for name, row in value.items() if name != "__metadata__"]
    except (ValueError, RecursionError, *BAD_FIELD) as error:
        raise _malformed() from error
    rows.sort(key=lambda entry: (entry.begin, entry.end))
    position = 0
    for entry in rows:
        bits = prod(entry.shape) * _BITS[entry.dtype]
        if entry.begin != position or bits != 8 * (entry.end - entry.begin):
            raise _malformed()
        position = entry.end
    if position != data_bytes:
        raise _malformed()
    return tuple(rows)


def parse_metadata(text: str) -> dict[str, str]:
    """The `__metadata__` of a header's text that `parse_tensors` took; empty where there is none.

    Raises Invalid: not texts by name.
    """
    value = json.loads(text).get("__metadata__") or {}
    if not isinstance(value, dict) or any(not isinstance(text, str) for text in value.values()):
        raise _malformed()
    return value


def _entry(name: str, row: Any) -> TensorEntry:
    if set(row) != {"dtype", "shape", "data_offsets"} or row["dtype"] not in _BITS:
        raise _malformed()
    begin, end = row["data_offsets"]
    numbers = (begin, end, *row["shape"])
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in numbers):
        raise _malformed()
    return TensorEntry(name, row["dtype"], tuple(row["shape"]), begin, end)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _malformed()
    return result


def _malformed() -> Invalid:
    hint = "write the weights again with the safetensors library"
    return Invalid("not a safetensors file", code="bad_safetensors", hint=hint)
