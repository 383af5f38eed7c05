"""The tree of RFC 6962, written a second time: by recursion, as the definitions have it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["GrowingRoot", "join", "leaf", "root_by_proof", "row_root"]


def leaf(entry: bytes) -> bytes:
    """A leaf's hash."""
    return hashlib.sha256(b"\0" + entry).digest()


def join(left: bytes, right: bytes) -> bytes:
    """A node's hash."""
    return hashlib.sha256(b"\1" + left + right).digest()


def row_root(row: Sequence[bytes]) -> bytes:
    """The root over a row of at least one hash."""
    if len(row) == 1:
        return row[0]
    half = 1
    while half * 2 < len(row):
        half *= 2
    return join(row_root(row[:half]), row_root(row[half:]))


class GrowingRoot:
    """Complete subtrees, largest first; two of one size become one."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, bytes]] = []

    def add(self, hashed: bytes) -> None:
        """One more leaf."""
        leaves = 1
        while self._parts and self._parts[-1][0] == leaves:
            hashed = join(self._parts.pop()[1], hashed)
            leaves *= 2
        self._parts.append((leaves, hashed))

    def copy(self) -> GrowingRoot:
        """One of its own, equal to this."""
        other = GrowingRoot()
        other._parts = self._parts.copy()
        return other

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._parts:
            return hashlib.sha256(b"").digest()
        hashed = self._parts[-1][1]
        for _, left in self._parts[-2::-1]:
            hashed = join(left, hashed)
        return hashed


def root_by_proof(hashed: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to, or None where it has the wrong length.

    The proof runs from the leaf to the root; the definition goes down from the root.
    """
    if size == 1:
        return hashed if index == 0 and not proof else None
    if not 0 <= index < size or not proof:
        return None
    half = 1
    while half * 2 < size:
        half *= 2
    if index < half:
        left = root_by_proof(hashed, index, half, proof[:-1])
        return None if left is None else join(left, proof[-1])
    right = root_by_proof(hashed, index - half, size - half, proof[:-1])
    return None if right is None else join(proof[-1], right)
