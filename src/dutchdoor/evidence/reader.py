"""Reads the log without a lock, as it stands under a signed checkpoint, while others append."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dutchdoor.config import missing_hint
from dutchdoor.errors import NotFound, Tampered, Unavailable
from dutchdoor.evidence.checkpoint import Checkpoint, open_checkpoint
from dutchdoor.evidence.journal import SEGMENT_ENTRIES, read_frames, segment_path
from dutchdoor.evidence.merkle import leaf_hash
from dutchdoor.evidence.note import Note, VerifierKey
from dutchdoor.evidence.tiles import TILE_WIDTH
from dutchdoor.evidence.tree import Memory, Tree, View, load_blocks

__all__ = ["LogReader"]


class _Place(NamedTuple):
    """How far the journal was read. tail: the entries after the last full bundle."""

    segment: int
    position: int
    size: int
    tail: list[bytes]


class LogReader:
    """The log in `folder` for those who only read it.

    All it gives leads to the root of a checkpoint; with `key` that checkpoint's signature is
    checked too. Not safe to share between threads, other than through `view`, which never changes.
    """

    def __init__(self, folder: Path, key: VerifierKey | None = None) -> None:
        """Read the log's present state.

        key: who must have signed; None trusts the folder, for instance to show it to its owner.
        Raises NotFound: there is no log. Raises Invalid: not signed by `key`. Raises Tampered.
        """
        self.folder = folder
        self._key = key
        self._seen = b""
        self._tree = Tree()
        self._blocks: list[bytes] = []
        self._memory = Memory()
        self._place = _Place(0, 0, 0, [])
        self._view: View | None = None
        self.refresh()

    @property
    def view(self) -> View:
        """The log at the checkpoint of the last `refresh`."""
        assert self._view is not None, "the constructor has read it"
        return self._view

    def size(self) -> int:
        """How many entries the log has, as of the last `refresh`."""
        return self.view.size

    def head(self) -> Checkpoint:
        """The checkpoint of the last `refresh`."""
        return self.view.checkpoint

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The entries start..stop with their indexes, as of the last `refresh`.

        Raises Invalid: beyond the log. Raises Tampered: they are not those that were signed.
        """
        return self.view.entries(start, stop)

    def changed(self) -> bool:
        """Whether there is a newer checkpoint than the last `refresh` saw: one small read.

        The time and number of the file would not do: both come again within one tick.
        """
        return self._checkpoint() != self._seen

    def refresh(self) -> bool:
        """Take in what was appended since; gives whether there was anything.

        Raises Tampered: the folder does not lead to its checkpoint, or the log became shorter.
        Raises Unavailable: the folder cannot be read.
        """
        note = self._checkpoint()
        if note == self._seen:
            return False
        checkpoint = self._open(note)
        if self._view is not None and checkpoint.size <= self._view.size:
            # The log's writer publishes in order, under a lock: nobody honest does this.
            message = f"the log went from {self._view.size} to {checkpoint.size} entries"
            raise _tampered(message, "checkpoint")
        try:
            tree, blocks = self._read_blocks(checkpoint.size)
            place = self._read_journal(checkpoint.size)
        except OSError as error:
            message = "the log cannot be read"
            raise Unavailable(message, code="log_unavailable") from error
        frontier = tree.frontier.copy()
        rows = [[leaf_hash(entry) for entry in place.tail], *tree.rows[1:]]
        for leaf in rows[0]:
            frontier.push(leaf)
        if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
            raise _tampered("the entries are not those that were signed", "tile")
        self._blocks += blocks
        self._tree, self._place, self._seen = tree, place, note
        self._view = View(
            self.folder, checkpoint, note, rows, self._blocks, place.tail, self._memory
        )
        return True

    def _checkpoint(self) -> bytes:
        try:
            return (self.folder / "checkpoint").read_bytes()
        except FileNotFoundError as error:
            hint = missing_hint(self.folder.parent, "the checkpoint of its evidence log")
            message = f"there is no log in {self.folder}"
            raise NotFound(message, code="no_log", hint=hint) from error
        except OSError as error:
            message = "the log cannot be read"
            raise Unavailable(message, code="log_unavailable") from error

    def _open(self, note: bytes) -> Checkpoint:
        if self._key is not None:
            return open_checkpoint(note, self._key)
        return Checkpoint.from_text(Note.parse(note).text)

    def _read_blocks(self, size: int) -> tuple[Tree, list[bytes]]:
        """The tree over all full bundles, and the roots of those that are new."""
        tree = self._tree.copy()
        blocks = []
        for block in load_blocks(self.folder, len(self._blocks), size // TILE_WIDTH):
            tree.add(block, level=1)
            blocks.append(block)
        return tree, blocks

    def _read_journal(self, size: int) -> _Place:
        """Go on in the journal up to entry `size`, keeping those after the last full bundle."""
        place = self._place
        segment = (size - 1) // SEGMENT_ENTRIES
        if segment != place.segment:
            place = _Place(segment, 0, segment * SEGMENT_ENTRIES, [])
        position, index, tail = place.position, place.size, place.tail.copy()
        with segment_path(self.folder, segment).open("rb") as file:
            file.seek(position)
            data = file.read()
        end = 0
        for frame in read_frames(data):
            if index >= size:
                break
            tail += frame.entries
            index += len(frame.entries)
            # Only what follows the last full bundle is kept, or memory would grow with the log.
            if len(tail) >= TILE_WIDTH:
                tail = tail[len(tail) - index % TILE_WIDTH :]
            end = frame.end
        if index != size:
            where = f"journal/{segment:06d} from byte {position + end}"
            raise _tampered("the journal does not reach the checkpoint", where)
        return _Place(segment, position + end, index, tail)


def _tampered(message: str, where: str) -> Tampered:
    hint = "stop, keep the folder as it is, and run the verifier over it"
    return Tampered(message, code="log_damaged", hint=hint, where=where)
