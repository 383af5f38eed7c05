"""What a holder shows of a model to anybody: licence, origin and, if they like, its tensors.

It is signed with the bundle and part of its digest. Names and shapes of tensors tell much of an
architecture, so that they stay hidden unless the holder says otherwise. Whoever opens the bundle
compares the table with what is really sealed: a table that lies is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from dutchdoor.custody import fields
from dutchdoor.errors import Invalid
from dutchdoor.weights.format import Index
from dutchdoor.weights.tensors import LENGTH_BYTES, TensorEntry, parse_tensors

__all__ = [
    "NOTHING_SHOWN",
    "Public",
    "PublicTensor",
    "check_public_text",
    "table_of_indices",
    "tensor_table",
]

TEXT_CHARS_MAX = 256


class PublicTensor(NamedTuple):
    """One tensor without its values. dtype: as safetensors writes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Public:
    """The public part of a manifest. licence: best an SPDX expression. origin: where it was from.

    tensors: of all safetensors files, by name; None where the holder hides them.
    """

    licence: str = ""
    origin: str = ""
    tensors: tuple[PublicTensor, ...] | None = None

    def to_value(self) -> dict[str, Any]:
        """Canonical values."""
        rows = None
        if self.tensors is not None:
            rows = [[tensor.name, tensor.dtype, list(tensor.shape)] for tensor in self.tensors]
        return {"licence": self.licence, "origin": self.origin, "tensors": rows}

    @classmethod
    def from_value(cls, value: Any) -> Public:
        """The public part of parsed, unverified values; raises what `fields.BAD_FIELD` names."""
        rows = value["tensors"]
        return cls(
            licence=check_public_text(fields.text(value["licence"])),
            origin=check_public_text(fields.text(value["origin"])),
            tensors=None if rows is None else tuple(_row(row) for row in rows),
        )

    @property
    def parameters(self) -> int | None:
        """How many numbers the tensors hold together; None where the table is hidden."""
        if self.tensors is None:
            return None
        total = 0
        for tensor in self.tensors:
            count = 1
            for size in tensor.shape:
                count *= size
            total += count
        return total


NOTHING_SHOWN = Public()


def check_public_text(text: str) -> str:
    """`text`, where it is fit to be shown: at most 256 characters that print.

    Raises Invalid: it is not.
    """
    if len(text) > TEXT_CHARS_MAX or not (text.isprintable() or not text):
        message = f"a public text has at most {TEXT_CHARS_MAX} characters that print"
        raise Invalid(message, code="bad_public_text", hint="shorten it, on one line")
    return text


def tensor_table(entries: Iterable[TensorEntry]) -> tuple[PublicTensor, ...]:
    """The table of these tensors, by name."""
    rows = (PublicTensor(entry.name, entry.dtype, entry.shape) for entry in entries)
    return tuple(sorted(rows))


def table_of_indices(indices: Iterable[Index]) -> tuple[PublicTensor, ...]:
    """The table of all safetensors files among these."""
    entries: list[TensorEntry] = []
    for index in indices:
        if index.safetensors is not None:
            header_bytes = LENGTH_BYTES + len(index.safetensors.encode())
            entries += parse_tensors(index.safetensors, index.size - header_bytes)
    return tensor_table(entries)


def _row(row: Any) -> PublicTensor:
    if not isinstance(row, list) or len(row) != 3:
        raise Invalid("not a row of a tensor table", code="bad_field")
    name, dtype, shape = row
    sizes = tuple(fields.count(size) for size in shape)
    return PublicTensor(fields.text(name), fields.text(dtype), sizes)
