"""Keys and values of a running batch: requests come and go without copying their neighbours.

All rows end at the same column; a shorter row begins later and what is left of its beginning is
masked. A step writes one column in place. A row that leaves is overwritten by the last row.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["BatchCache"]

_RESERVE_COLUMNS = 256


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One block's part of the batch, in the shape that transformers' attention asks for."""

    is_sliding = False

    def __init__(self, batch: BatchCache) -> None:
        super().__init__()
        self._batch = batch
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise AssertionError("the first row brings the buffers")

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_more: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows, first, end = self._batch.rows, self._batch.first, self._batch.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, first : end + 1], self.values[:rows, :, first : end + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self._batch.end - self._batch.first

    def get_max_length(self) -> int:
        return -1


class BatchCache:
    """The caches of all blocks, for at most `rows_max` rows."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._layers: list[_Layer] = []
        self._starts: list[int] = []
        self._columns = 0
        self.end = 0
        self._cache: Any = None

    @property
    def rows(self) -> int:
        return len(self._starts)

    @property
    def first(self) -> int:
        """The first column that any row uses."""
        return min(self._starts, default=self.end)

    @property
    def cache(self) -> Any:
        """What the model's forward pass takes as `past_key_values`."""
        return self._cache

    def add(self, prefilled: Any) -> None:
        """Appends a row from the cache of a prompt that ran alone."""
        parts = [(layer.keys, layer.values) for layer in prefilled.layers]
        length = parts[0][0].shape[2]
        assert self.rows < self._rows_max, "the batch is full"
        if not self._starts:
            self.end = 0
        self._make_room(max(self.end, length) + 1, parts)
        if length > self.end:
            self._shift(length - self.end)
        row = self.rows
        for layer, (keys, values) in zip(self._layers, parts, strict=True):
            layer.keys[row, :, self.end - length : self.end] = keys[0]
            layer.values[row, :, self.end - length : self.end] = values[0]
        self._starts.append(self.end - length)

    def remove(self, row: int) -> None:
        """Frees `row`; the last row takes its place."""
        last = self.rows - 1
        if row != last:
            start = self._starts[last]
            for layer in self._layers:
                layer.keys[row, :, start : self.end] = layer.keys[last, :, start : self.end]
                layer.values[row, :, start : self.end] = layer.values[last, :, start : self.end]
            self._starts[row] = start
        del self._starts[last]

    def before_step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Makes room for one column. Gives the attention mask [rows, columns] and the position
        of each row's next token [rows, 1]."""
        if self.end + 1 > self._columns:
            if self.first > 0:
                self._shift(-self.first)
            self._make_room(self.end + 1, None)
        starts = torch.tensor(self._starts)[:, None]
        columns = torch.arange(self.first, self.end + 1)[None, :]
        return (columns >= starts).long(), self.end - starts

    def after_step(self) -> None:
        """The step's column is part of every row from now on."""
        self.end += 1

    def clear(self) -> None:
        """Forgets all rows."""
        self._starts = []
        self.end = 0

    def _make_room(self, columns: int, parts: list[Any] | None) -> None:
        if not self._layers:
            assert parts is not None, "the first row brings the shapes"
            self._layers = [_Layer(self) for _ in parts]
            self._cache = Cache(layers=self._layers)
            for layer, (keys, values) in zip(self._layers, parts, strict=True):
                layer.keys = keys.new_empty((self._rows_max, keys.shape[1], 0, keys.shape[3]))
                layer.values = values.new_empty(
                    (self._rows_max, values.shape[1], 0, values.shape[3])
                )
        if columns <= self._columns:
            return
        self._columns = columns + _RESERVE_COLUMNS
        for layer in self._layers:
            layer.keys = _wider(layer.keys, self._columns)
            layer.values = _wider(layer.values, self._columns)

    def _shift(self, by: int) -> None:
        """Moves what all rows hold by so many columns to the right (or left, where negative)."""
        first, end, rows = self.first, self.end, self.rows
        for layer in self._layers:
            for buffer in (layer.keys, layer.values):
                # A copy, because the two places overlap.
                moved = buffer[:rows, :, first:end].clone()
                buffer[:rows, :, first + by : end + by] = moved
        self._starts = [start + by for start in self._starts]
        self.end += by


def _wider(buffer: torch.Tensor, columns: int) -> torch.Tensor:
    # Zeros, not garbage: a masked column may still be multiplied, and 0 times NaN is NaN.
    wide = buffer.new_zeros((buffer.shape[0], buffer.shape[1], columns, buffer.shape[3]))
    wide[:, :, : buffer.shape[2]] = buffer
    return wide
