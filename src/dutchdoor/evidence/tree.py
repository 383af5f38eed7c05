"""The growing tree in memory, and what can be read and proven of it at one size."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound, Tampered
from dutchdoor.evidence import merkle
from dutchdoor.evidence.checkpoint import Checkpoint
from dutchdoor.evidence.merkle import Frontier, fold, leaf_hash, node_hash
from dutchdoor.evidence.model import Opening
from dutchdoor.evidence.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    bundle_path,
    decode_bundle,
    decode_tile,
    encode_bundle,
    tile_path,
)

__all__ = ["FullTile", "Growth", "Memory", "Tree", "View", "load_blocks", "read_tile"]

RECEIPT_VERSION = 1
NODES_MAX = 65_536
BUNDLES_MAX = 8


class FullTile(NamedTuple):
    """A tile that has just become full. number: its index. root: the hash of all below it."""

    level: int
    number: int
    hashes: list[bytes]
    root: bytes


class Tree:
    """A tree that grows at the right; its rows are the tiles that are not full yet.

    Row L holds fewer than 256 hashes, each the root of 256**L entries.
    """

    __slots__ = ("frontier", "rows")

    def __init__(self) -> None:
        self.frontier = Frontier()
        self.rows: list[list[bytes]] = [[], []]

    @property
    def size(self) -> int:
        return self.frontier.size

    def add(self, node: bytes, level: int = 0) -> list[FullTile]:
        """Add the root of 256**level entries; gives the tiles that become full by it."""
        self.frontier.push(node, TILE_HEIGHT * level)
        full: list[FullTile] = []
        while True:
            if level == len(self.rows):
                self.rows.append([])
            row = self.rows[level]
            row.append(node)
            if len(row) < TILE_WIDTH:
                return full
            number = (self.size >> TILE_HEIGHT * (level + 1)) - 1
            node = fold(row)
            full.append(FullTile(level, number, row, node))
            self.rows[level] = []
            level += 1

    def copy(self) -> Tree:
        """A tree of its own, equal to this one."""
        other = Tree()
        other.frontier = self.frontier.copy()
        other.rows = [row.copy() for row in self.rows]
        return other


class Growth(NamedTuple):
    """A tree after some more entries, beside the tree before, which is left as it was.

    tail: the entries after the last full bundle. full: the tiles that became full. bundles: the
    entries of the bundles that became full, in the order of their tiles.
    """

    tree: Tree
    tail: list[bytes]
    full: list[FullTile]
    bundles: list[list[bytes]]

    @classmethod
    def of(cls, tree: Tree, tail: Sequence[bytes], entries: Sequence[bytes]) -> Growth:
        """What `tree`, whose last entries are `tail`, becomes with `entries`."""
        grown = tree.copy()
        full: list[FullTile] = []
        for entry in entries:
            full += grown.add(leaf_hash(entry))
        rest = [*tail, *entries]
        end = len(rest) - grown.size % TILE_WIDTH
        bundles = [rest[start : start + TILE_WIDTH] for start in range(0, end, TILE_WIDTH)]
        return cls(grown, rest[end:], full, bundles)

    def blocks(self) -> list[bytes]:
        """The roots of the bundles that became full."""
        return [tile.root for tile in self.full if tile.level == 0]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The path and the bytes of each file that the growth makes complete."""
        for tile in self.full:
            yield tile_path(tile.level, tile.number), b"".join(tile.hashes)
        numbers = [tile.number for tile in self.full if tile.level == 0]
        for number, bundle in zip(numbers, self.bundles, strict=True):
            yield bundle_path(number), encode_bundle(bundle)


class Memory:
    """What the views of one log have read and computed: full bundles and complete subtrees.

    Both never change in a log that only grows, so that all its views share them. Bounded: some
    12 MB at most, of 64 kB entries less than 150 MB.
    """

    __slots__ = ("_bundles", "_nodes")

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._bundles: dict[int, list[bytes]] = {}

    def node(self, height: int, index: int) -> bytes | None:
        """The root of a complete subtree, where it is known."""
        return self._nodes.get((height, index))

    def keep_node(self, height: int, index: int, node: bytes) -> None:
        if len(self._nodes) >= NODES_MAX:
            self._nodes.clear()
        self._nodes[height, index] = node

    def bundle(self, number: int) -> list[bytes] | None:
        """The entries of a full bundle, where they are known."""
        return self._bundles.get(number)

    def keep_bundle(self, number: int, entries: list[bytes]) -> None:
        """entries: known to lead to the bundle's root."""
        self._bundles[number] = entries
        for oldest in sorted(self._bundles)[:-BUNDLES_MAX]:
            self._bundles.pop(oldest, None)


@dataclass(frozen=True)
class View:
    """The log at one signed checkpoint: reads and proves, never changes.

    note: the checkpoint as it was signed. rows: hashes of the tiles that are not full. blocks: the
    root of each full bundle of 256 entries, of which only the first size // 256 are used. tail:
    the entries after the last full bundle. All of these lead to the checkpoint's root: who makes a
    view has checked it. memory: shared with the log's other views.
    """

    folder: Path
    checkpoint: Checkpoint
    note: bytes
    rows: Sequence[Sequence[bytes]]
    blocks: Sequence[bytes]
    tail: Sequence[bytes]
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)

    @property
    def size(self) -> int:
        return self.checkpoint.size

    def hash_of(self, height: int, index: int) -> bytes:
        """The root of one complete subtree of this view. Raises Tampered: its tile is damaged."""
        known = self.memory.node(height, index)
        if known is None:
            known = self._compute(height, index)
            self.memory.keep_node(height, index, known)
        return known

    def _compute(self, height: int, index: int) -> bytes:
        level, rest = divmod(height, TILE_HEIGHT)
        tile, start = divmod(index << rest, TILE_WIDTH)
        if rest and tile == self.size >> TILE_HEIGHT * (level + 1):
            # The tile still grows: each of its nodes is asked for again and again while it does.
            return node_hash(
                self.hash_of(height - 1, 2 * index), self.hash_of(height - 1, 2 * index + 1)
            )
        if level == 1:
            row: Sequence[bytes] = self.blocks[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]
        elif tile == self.size >> TILE_HEIGHT * (level + 1):
            row = self.rows[level]
        else:
            row = read_tile(self.folder, level, tile)
        return fold(row[start : start + (1 << rest)])

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The entries start..stop with their indexes, each bundle checked against the tree.

        Raises Invalid: beyond this view. Raises Tampered: a bundle is not what was signed.
        """
        end = self.size if stop is None else stop
        if not 0 <= start <= end <= self.size:
            message = f"no entries {start} to {end} in a log of {self.size}"
            raise Invalid(message, code="out_of_range")
        bundled = self.size // TILE_WIDTH * TILE_WIDTH
        for number in range(start // TILE_WIDTH, -(-min(end, bundled) // TILE_WIDTH)):
            first = number * TILE_WIDTH
            bundle = self._bundle(number)
            for index in range(max(start, first), min(end, first + TILE_WIDTH)):
                yield index, bundle[index - first]
        for index in range(max(start, bundled), end):
            yield index, self.tail[index - bundled]

    def entry(self, index: int) -> bytes:
        """The bytes of one entry. Raises NotFound: there is none."""
        if not 0 <= index < self.size:
            raise NotFound(f"the log has no entry {index}", code="no_entry")
        number, place = divmod(index, TILE_WIDTH)
        # What was just recorded need not be read back; who goes through the log reads the disk.
        known = self.memory.bundle(number)
        return next(self.entries(index, index + 1))[1] if known is None else known[place]

    def inclusion(self, index: int) -> list[bytes]:
        """The proof that entry `index` is under this view's checkpoint."""
        return merkle.inclusion_proof(index, self.size, self.hash_of)

    def consistency(self, size1: int, size2: int | None = None) -> list[bytes]:
        """The proof that the log of `size2` (this view's) continues that of `size1`."""
        end = self.size if size2 is None else size2
        if end > self.size:
            raise Invalid(f"the log has {self.size} entries, not {end}", code="out_of_range")
        return merkle.consistency_proof(size1, end, self.hash_of)

    def receipt(self, index: int, openings: Mapping[str, Opening] | None = None) -> bytes:
        """All that a stranger needs to check entry `index`, as canonical JSON.

        openings: what opens the entry's commitments, by the name of the body's field; whoever
        holds the receipt can then read and prove the content.
        Raises NotFound: there is no such entry.
        """
        return canonical.encode(self.receipt_value(index, openings))

    def receipt_value(
        self, index: int, openings: Mapping[str, Opening] | None = None
    ) -> dict[str, Any]:
        """The receipt as canonical values, for whoever writes it into JSON of their own."""
        return {
            "v": RECEIPT_VERSION,
            "entry": _text(self.entry(index)),
            "index": index,
            "size": self.size,
            "proof": [_text(node) for node in self.inclusion(index)],
            "checkpoint": self.note.decode(),
            "openings": {
                name: {"salt": _text(opening.salt), "content": _text(opening.content)}
                for name, opening in (openings or {}).items()
            },
        }

    def _bundle(self, number: int) -> list[bytes]:
        path = bundle_path(number)
        try:
            entries = decode_bundle((self.folder / path).read_bytes(), TILE_WIDTH)
        except (OSError, Invalid) as error:
            raise _damaged(path) from error
        if fold([leaf_hash(entry) for entry in entries]) != self.blocks[number]:
            raise _damaged(path)
        self.memory.keep_bundle(number, entries)
        return entries


def read_tile(folder: Path, level: int, index: int) -> list[bytes]:
    """The hashes of a full tile. Raises Tampered: it is missing or has another length."""
    path = tile_path(level, index)
    try:
        return decode_tile((folder / path).read_bytes(), TILE_WIDTH)
    except (OSError, Invalid) as error:
        raise _damaged(path) from error


def load_blocks(folder: Path, start: int, stop: int) -> Iterator[bytes]:
    """The roots of the full bundles start..stop, read from the tiles; unverified.

    Raises Tampered: a tile is missing or has another length.
    """
    while start < stop:
        tile, offset = divmod(start, TILE_WIDTH)
        if offset == 0 and start + TILE_WIDTH <= stop:
            yield from read_tile(folder, 1, tile)
            start += TILE_WIDTH
        else:
            yield fold(read_tile(folder, 0, start))
            start += 1


def _damaged(path: str) -> Tampered:
    hint = "run the verifier over the evidence folder: it says which byte"
    message = f"{path} is missing or was changed"
    return Tampered(message, code="log_damaged", hint=hint, where=path)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
