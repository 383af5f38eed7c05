"""A slice of a tensor as the stretches of bytes it is made of, so that nothing else is decrypted.

A tensor-parallel rank wants some rows or some columns. Rows are one stretch; columns are many
equal ones. Both are read slot by slot, each slot at most once, and a slot that holds nothing of
the slice is never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from types import EllipsisType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dutchdoor.errors import Invalid
from dutchdoor.weights.format import SLOT_PLAIN_BYTES, Span

__all__ = ["SliceIndex", "Stretches", "gather", "plan_slice"]

SliceIndex = int | slice | EllipsisType | Sequence[int | slice | EllipsisType]


class Stretches(NamedTuple):
    """Equal stretches of bytes in ascending order. shape: of what they make together.

    starts: offsets from the tensor's first byte. size: bytes of each.
    """

    shape: tuple[int, ...]
    starts: NDArray[np.int64]
    size: int

    @property
    def total(self) -> int:
        """Bytes of all of them."""
        return len(self.starts) * self.size

    @property
    def whole(self) -> Span | None:
        """The one stretch that it is, or None where it is several."""
        if len(self.starts) != 1:
            return None
        return Span(int(self.starts[0]), self.size)


def plan_slice(shape: Sequence[int], item_bytes: int, index: SliceIndex) -> Stretches:
    """The stretches of `tensor[index]`.

    index: integers, slices with a positive step, and at most one `...`.
    Raises Invalid: another kind of index, out of range, or more of them than dimensions.
    """
    chosen, dropped = _choose(tuple(shape), index)
    made = tuple(
        len(part) for n, part in enumerate(chosen) if n not in dropped
    )  # An integer takes its dimension away.
    if any(not part for part in chosen):
        return Stretches(made, np.empty(0, np.int64), 0)
    inner = len(chosen)
    while inner and chosen[inner - 1] == range(shape[inner - 1]):
        inner -= 1
    block = item_bytes * prod(shape[inner:])
    starts = np.zeros(1, np.int64)
    size = block
    for axis in range(inner):
        part = chosen[axis]
        stride = item_bytes * prod(shape[axis + 1 :])
        if axis == inner - 1 and part.step == 1:
            starts = starts + part.start * stride
            size = len(part) * stride
        else:
            places = np.arange(part.start, part.stop, part.step, dtype=np.int64) * stride
            starts = (starts[:, None] + places[None, :]).ravel()
    return Stretches(made, starts, size)


def gather(
    stretches: Stretches,
    begin: int,
    slot: Callable[[int], memoryview],
    into: memoryview,
) -> None:
    """Copies the stretches, one after the other, into memory of exactly their size.

    begin: where the tensor begins in the plain file. slot: gives a slot's plain bytes; it is
    called for each slot that is needed, once, in ascending order.
    """
    if not stretches.total:
        return
    size, starts = stretches.size, stretches.starts + begin
    rows = np.frombuffer(into, np.uint8).reshape(len(starts), size)
    slots = _Slots(slot)
    row = 0
    while row < len(starts):
        number = int(starts[row]) // SLOT_PLAIN_BYTES
        base, plain = number * SLOT_PLAIN_BYTES, slots.plain(number)
        end = int(np.searchsorted(starts, base + len(plain) - size, side="right"))
        if end > row:
            _copy_rows(plain, starts[row:end] - base, rows[row:end])
            row = end
        else:
            slots.copy(int(starts[row]), rows[row])
            row += 1


class _Slots:
    """The slot at hand, as bytes."""

    def __init__(self, slot: Callable[[int], memoryview]) -> None:
        self._slot = slot
        self._number = -1
        self._plain = np.empty(0, np.uint8)

    def plain(self, number: int) -> NDArray[np.uint8]:
        if number != self._number:
            self._plain = np.frombuffer(self._slot(number), np.uint8)
            self._number = number
        return self._plain

    def copy(self, start: int, row: NDArray[np.uint8]) -> None:
        """Fills a row that goes on from one slot into the next."""
        done = 0
        while done < len(row):
            number, place = divmod(start + done, SLOT_PLAIN_BYTES)
            piece = self.plain(number)[place : place + len(row) - done]
            row[done : done + len(piece)] = piece
            done += len(piece)


def _copy_rows(
    plain: NDArray[np.uint8], places: NDArray[np.int64], rows: NDArray[np.uint8]
) -> None:
    steps = np.diff(places)
    if len(places) > 1 and (steps == steps[0]).all():
        strided = np.lib.stride_tricks.as_strided(
            plain[places[0] :], rows.shape, (int(steps[0]), 1), writeable=False
        )
        rows[:] = strided
        return
    for row, place in enumerate(places):
        rows[row] = plain[place : place + rows.shape[1]]


def _choose(shape: tuple[int, ...], index: SliceIndex) -> tuple[list[range], set[int]]:
    """The indices of each dimension, and the dimensions that go away."""
    parts = list(index) if isinstance(index, tuple | list) else [index]
    gaps = [n for n, part in enumerate(parts) if isinstance(part, EllipsisType)]
    missing = len(shape) - len(parts) + len(gaps)
    if len(gaps) > 1 or missing < 0:
        raise _bad_slice(f"{len(parts)} indices of {len(shape)} dimensions")
    full = [slice(None)] * missing
    at = gaps[0] if gaps else len(parts)
    whole = [*parts[:at], *full, *parts[at + len(gaps) :]]
    chosen: list[range] = []
    dropped: set[int] = set()
    for axis, (part, size) in enumerate(zip(whole, shape, strict=True)):
        if isinstance(part, slice):
            try:
                found = range(size)[part]
            except (TypeError, ValueError) as error:
                raise _bad_slice("a slice that is none") from error
            if found.step < 1:
                raise _bad_slice("a step below 1")
            chosen.append(found)
        elif isinstance(part, int) and not isinstance(part, bool) and -size <= part < size:
            place = part % size
            chosen.append(range(place, place + 1))
            dropped.add(axis)
        else:
            raise _bad_slice(f"index {axis} is no number from {-size} to {size - 1} and no slice")
    return chosen, dropped


def _bad_slice(message: str) -> Invalid:
    hint = "use integers, slices with a positive step, and at most one '...'"
    return Invalid(message, code="bad_slice", hint=hint)
