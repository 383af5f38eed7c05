"""The Merkle tree of RFC 6962: hashes, roots, proofs and their verification. Pure.

Proofs are built over a reader `hash_of(height, index)`: the root of the complete subtree of
2**height leaves that begins at leaf index * 2**height. Where those hashes live is not known here.
Sizes and indexes count leaves. A size of 0 has a root, but no proof says anything about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from dutchdoor.errors import Invalid

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "Frontier",
    "HashOf",
    "consistency_proof",
    "fold",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

HashOf = Callable[[int, int], bytes]
"""`hash_of(height, index)`: the root of one complete subtree."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry. Source: RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and both children. Source: RFC 9162, section 2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over `hashes`, a power of two of them, all of one height."""
    assert hashes, "at least one hash"
    assert len(hashes) & (len(hashes) - 1) == 0, "a power of two"
    row = list(hashes)
    sha256 = hashlib.sha256
    while len(row) > 1:
        row = [sha256(b"\x01" + row[i] + row[i + 1]).digest() for i in range(0, len(row), 2)]
    return row[0]


class Frontier:
    """The right edge of a growing tree: enough to know its root, in O(log size) memory."""

    __slots__ = ("_stack", "size")

    def __init__(self) -> None:
        self.size = 0
        self._stack: list[bytes] = []

    def push(self, node: bytes, height: int = 0) -> None:
        """Add the complete subtree with root `node` and 2**height leaves at the right."""
        assert self.size % (1 << height) == 0, "a subtree begins at a multiple of its width"
        count = self.size >> height
        stack, sha256 = self._stack, hashlib.sha256
        while count & 1:
            node = sha256(b"\x01" + stack.pop() + node).digest()
            count >>= 1
        stack.append(node)
        self.size += 1 << height

    def root(self) -> bytes:
        """The tree's root at its present size."""
        if not self._stack:
            return EMPTY_ROOT
        result = self._stack[-1]
        for left in reversed(self._stack[:-1]):
            result = node_hash(left, result)
        return result

    def copy(self) -> Frontier:
        """A frontier of its own, equal to this one."""
        other = Frontier()
        other.size = self.size
        other._stack = self._stack.copy()
        return other


def root(size: int, hash_of: HashOf) -> bytes:
    """The root of the first `size` leaves."""
    return _range_hash(0, size, hash_of) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, hash_of: HashOf) -> list[bytes]:
    """The proof that leaf `index` is in the tree of the first `size` leaves.

    Raises Invalid: there is no such leaf.
    Source: RFC 9162, section 2.1.3.1.
    """
    if not 0 <= index < size:
        raise Invalid(f"no leaf {index} in a tree of {size}", code="out_of_range")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, hash_of))
            end = middle
        else:
            proof.append(_range_hash(start, middle, hash_of))
            start = middle
    return proof[::-1]


def consistency_proof(size1: int, size2: int, hash_of: HashOf) -> list[bytes]:
    """The proof that the tree of `size2` leaves begins with that of `size1`.

    Raises Invalid: not 1 <= size1 <= size2.
    Source: RFC 9162, section 2.1.4.1.
    """
    if not 1 <= size1 <= size2:
        raise Invalid(f"no proof from size {size1} to {size2}", code="out_of_range")
    proof = []
    start, end = 0, size2
    while size1 != end:
        middle = start + _split(end - start)
        if size1 <= middle:
            proof.append(_range_hash(middle, end, hash_of))
            end = middle
        else:
            proof.append(_range_hash(start, middle, hash_of))
            start = middle
    if start:
        # The old root is no node of the new tree, so the proof begins with its last part.
        proof.append(_range_hash(start, end, hash_of))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], tree_root: bytes
) -> None:
    """Check that the leaf hash `leaf` stands at `index` in the tree `size`, `tree_root`.

    Raises Invalid: it does not, or the proof is malformed.
    Source: RFC 9162, section 2.1.3.2.
    """
    _check_hashes([leaf, tree_root, *proof])
    if not 0 <= index < size:
        raise Invalid(f"no leaf {index} in a tree of {size}", code="bad_proof")
    position, last, result = index, size - 1, leaf
    for node in proof:
        if last == 0:
            raise Invalid("the inclusion proof is too long", code="bad_proof")
        if position & 1 or position == last:
            result = node_hash(node, result)
            while position & 1 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, node)
        position, last = position >> 1, last >> 1
    if last != 0 or result != tree_root:
        raise Invalid("the inclusion proof does not lead to the root", code="bad_proof")


def verify_consistency(
    size1: int, root1: bytes, size2: int, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree `size2`, `root2` begins with the tree `size1`, `root1`.

    Raises Invalid: it does not, the proof is malformed, or size1 is 0, of which every tree is a
    continuation so that a proof would say nothing.
    Source: RFC 9162, section 2.1.4.2.
    """
    if not 1 <= size1 <= size2:
        raise Invalid(f"no proof from size {size1} to {size2}", code="bad_proof")
    if size1 == size2:
        if proof or root1 != root2:
            raise Invalid("one size, two roots, or a needless proof", code="bad_proof")
        return
    _check_hashes([root1, root2, *proof])
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not path:
        raise Invalid("the consistency proof is empty", code="bad_proof")
    position, last = size1 - 1, size2 - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            raise Invalid("the consistency proof is too long", code="bad_proof")
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position & 1 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            new = node_hash(new, node)
        position, last = position >> 1, last >> 1
    if last != 0 or old != root1 or new != root2:
        raise Invalid("the consistency proof does not lead to both roots", code="bad_proof")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise Invalid("a hash has 32 bytes", code="bad_proof")


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(start: int, end: int, hash_of: HashOf) -> bytes:
    """The root over leaves start..end, where start is a multiple of the first part's width."""
    parts = list(_complete_parts(start, end, hash_of))
    result = parts[-1]
    for left in reversed(parts[:-1]):
        result = node_hash(left, result)
    return result


def _complete_parts(start: int, end: int, hash_of: HashOf) -> Iterator[bytes]:
    while start < end:
        height = (end - start).bit_length() - 1
        yield hash_of(height, start >> height)
        start += 1 << height
