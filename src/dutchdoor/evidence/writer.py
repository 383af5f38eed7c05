"""What a log does under its lock: go on from others' batches, mend, and write one batch more.

`log.Log` holds the lock and asks the gate; nobody else makes a writer.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dutchdoor.errors import Invalid, NotFound, Tampered
from dutchdoor.evidence.checkpoint import Checkpoint, open_checkpoint
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.journal import (
    SEGMENT_ENTRIES,
    Frame,
    Segment,
    encode_frame,
    holds_frame,
    read_frames,
    segment_numbers,
    segment_path,
)
from dutchdoor.evidence.model import Recorded
from dutchdoor.evidence.note import Note, VerifierKey, sign_note
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.tiles import TILE_WIDTH, bundle_path, tile_path
from dutchdoor.evidence.tree import Growth, Memory, Tree, View, load_blocks

__all__ = ["Writer", "begin_log"]


class _State(NamedTuple):
    """Where the log stands. Never changed once made, so that any thread may read it.

    position: the first byte of the segment after the last frame. view: None before any frame.
    """

    segment: int
    position: int
    tree: Tree
    tail: list[bytes]
    view: View | None


class Writer:
    """The log's state, and the only code that changes the folder. Call it under the lock."""

    def __init__(self, folder: Path, signer: Signer, files: Files) -> None:
        self._folder = folder
        self._signer = signer
        self._files = files
        self._blocks: list[bytes] = []
        self._memory = Memory()
        self._segment: Segment | None = None
        self._state = _State(0, 0, Tree(), [], None)

    @property
    def view(self) -> View:
        """The log at the newest checkpoint known; the one thing that needs no lock."""
        view = self._state.view
        assert view is not None, "an open log has a first entry"
        return view

    def open(self) -> None:
        """Read the last segment and mend what a dead writer left.

        Raises NotFound: the log was never created whole. Raises Tampered: as `catch_up`.
        """
        number = segment_numbers(self._folder)[-1]
        if number and not _begins_with_frame(segment_path(self._folder, number)):
            # Its writer died before the first frame; that it is there changes nothing.
            number -= 1
        tree = Tree()
        for block in load_blocks(self._folder, 0, number * TILE_WIDTH):
            self._blocks.append(block)
            tree.add(block, level=1)
        self._switch(_State(number, 0, tree, [], None))
        self.catch_up()
        if self._state.view is None:
            hint = "its creation was cut short: create it again"
            raise NotFound(f"there is no log in {self._folder}", code="no_log", hint=hint)

    def close(self) -> None:
        """Give the files back."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def catch_up(self) -> None:
        """Take in what others appended, and mend what one of them left when it died.

        Raises Tampered: what was durable is gone or changed. Raises OSError: the disk.
        """
        while True:
            state, segment = self._state, self._segment
            assert segment is not None, "an open log has a segment"
            end = segment.bytes_count()
            if end != state.position:
                self._replay(state, segment, end)
            following = state.segment + 1
            if self._state.tree.size < following * SEGMENT_ENTRIES or not (
                segment_path(self._folder, following).exists()
            ):
                return
            self._switch(self._state._replace(segment=following, position=0))

    def _replay(self, state: _State, segment: Segment, end: int) -> None:
        """Go on from `state` to `end`, the end of the segment.

        1. Parse whole frames. What follows the last one must be a dead writer's rest: it was
           never acknowledged. Where a whole frame follows it, it is no rest.
        2. The last frame's checkpoint must be ours, and lead to the root of all entries.
        3. The published checkpoint must not know more than that.
        4. Only then cut the rest off, write the tiles that are missing, and publish.
        """
        where = f"journal/{state.segment:06d} from byte {state.position}"
        data = segment.read(state.position, end) if end > state.position else b""
        frames = list(read_frames(data))
        good = frames[-1].end if frames else 0
        if end < state.position or holds_frame(data, good + 1):
            raise _tampered("a batch in the middle of the journal is gone or damaged", where)
        entries = [entry for frame in frames for entry in frame.entries]
        growth = Growth.of(state.tree, state.tail, entries)
        checkpoint = self._check_last(frames[-1], growth.tree, where) if frames else None
        published = self._published()
        # Where another segment follows, what is published may be there.
        last = growth.tree.size < (state.segment + 1) * SEGMENT_ENTRIES or not (
            segment_path(self._folder, state.segment + 1).exists()
        )
        ahead = published is not None and published.size > growth.tree.size
        if ahead and (last or good < len(data)):
            message = "the checkpoint covers entries that the journal no longer holds"
            raise _tampered(message, where)
        if good < len(data):
            segment.cut(state.position + good)
        if checkpoint is None:
            return
        note = frames[-1].note
        for path, content in growth.files():
            if not _holds(self._folder / path, content):
                self._files.replace(self._folder / path, content)
        if published is None or published.size < checkpoint.size:
            # A flush that failed in a writer now dead may have left these bytes in memory only,
            # marked as written: put again they are certain to reach the disk.
            segment.put(data[:good], state.position)
            self._files.replace(self._folder / "checkpoint", note)
        self._take(state.segment, state.position + good, growth, checkpoint, note)

    def commit(self, entries: list[bytes]) -> list[Recorded]:
        """One batch: durable, then its tiles, then its checkpoint. Call `catch_up` before.

        Raises OSError: the disk; nothing was acknowledged and nothing stays.
        """
        if not entries:
            return []
        state = self._state
        if state.tree.size == (state.segment + 1) * SEGMENT_ENTRIES:
            state = self._next_segment(state)
        room = (state.segment + 1) * SEGMENT_ENTRIES - state.tree.size
        if len(entries) > room:
            return self.commit(entries[:room]) + self.commit(entries[room:])
        growth = Growth.of(state.tree, state.tail, entries)
        checkpoint, note = _sign(self.view.checkpoint.origin, growth.tree, self._signer)
        frame = encode_frame(entries, note)
        segment = self._segment
        assert segment is not None, "an open log has a segment"
        try:
            segment.put(frame, state.position)
            for path, content in growth.files():
                self._files.replace(self._folder / path, content)
            self._files.replace(self._folder / "checkpoint", note)
        except OSError:
            # Nothing was acknowledged, so nothing may stay. Where even this fails, the next turn
            # finds either a torn batch, which it cuts off, or a whole one, which it completes.
            with suppress(OSError):
                segment.cut(state.position)
                for path, _ in growth.files():
                    self._files.remove(self._folder / path)
            raise
        self._take(state.segment, state.position + len(frame), growth, checkpoint, note)
        first = state.tree.size
        return [Recorded(first + place, entry) for place, entry in enumerate(entries)]

    def _check_last(self, frame: Frame, tree: Tree, where: str) -> Checkpoint:
        """The checkpoint at the end of `frame`, once it is known to be right."""
        try:
            checkpoint = _open_own(frame.note, self._signer)
        except Invalid as error:
            raise _tampered(f"a batch's checkpoint: {error.message}", where) from error
        if (checkpoint.size, checkpoint.root) != (tree.size, tree.frontier.root()):
            raise _tampered("the entries are not those that were signed", where)
        return checkpoint

    def _published(self) -> Checkpoint | None:
        """The checkpoint that readers see, or None where there is none that is ours.

        After a loss of power the file may be older than the journal, or empty.
        """
        with suppress(Invalid, FileNotFoundError):
            return _open_own((self._folder / "checkpoint").read_bytes(), self._signer)
        return None

    def _switch(self, state: _State) -> None:
        """Go on in the segment of `state`."""
        segment = Segment(self._folder, state.segment, self._files)
        if self._segment is not None:
            self._segment.close()
        self._segment, self._state = segment, state

    def _take(
        self, segment: int, position: int, growth: Growth, checkpoint: Checkpoint, note: bytes
    ) -> None:
        """Move on: the only place where it happens. Views before share the longer list."""
        for number, bundle in enumerate(growth.bundles, len(self._blocks)):
            self._memory.keep_bundle(number, bundle)
        self._blocks += growth.blocks()
        tree, tail = growth.tree, growth.tail
        view = View(self._folder, checkpoint, note, tree.rows, self._blocks, tail, self._memory)
        self._state = _State(segment, position, tree, tail, view)

    def _next_segment(self, state: _State) -> _State:
        """Begin a segment, once what the old one's tiles hold is durable.

        From now on, opening the log reads the new segment only and needs those tiles.
        """
        first = state.segment * TILE_WIDTH
        paths = [self._folder / tile_path(1, state.segment)]
        for number in range(first, first + TILE_WIDTH):
            paths += [self._folder / tile_path(0, number), self._folder / bundle_path(number)]
        folders = {parent for path in paths for parent in path.parents}
        for path in [*paths, *sorted(folders - set(self._folder.parents))]:
            self._files.flush_path(path)
        self._files.create(segment_path(self._folder, state.segment + 1))
        state = state._replace(segment=state.segment + 1, position=0)
        self._switch(state)
        return state


def begin_log(folder: Path, data: bytes, origin: str, signer: Signer, files: Files) -> None:
    """Write the first batch of a new log: the entry `data` alone. Call it under the lock.

    Raises Invalid: there is a log already. Raises OSError: the disk.
    """
    path = segment_path(folder, 0)
    if (folder / "checkpoint").exists() or _begins_with_frame(path):
        hint = "open it, or name another folder"
        raise Invalid(f"{folder} holds a log already", code="log_exists", hint=hint)
    files.create(path)
    files.flush_path(folder)
    growth = Growth.of(Tree(), [], [data])
    _, note = _sign(origin, growth.tree, signer)
    segment = Segment(folder, 0, files)
    try:
        segment.cut(0)
        segment.put(encode_frame([data], note), 0)
    finally:
        segment.close()


def _sign(origin: str, tree: Tree, signer: Signer) -> tuple[Checkpoint, bytes]:
    checkpoint = Checkpoint(origin, tree.size, tree.frontier.root())
    return checkpoint, sign_note(checkpoint.to_text(), origin, signer)


def _open_own(data: bytes, signer: Signer) -> Checkpoint:
    """The checkpoint in `data` (unverified bytes), if `signer` signed it under its origin."""
    origin = Note.parse(data).text.split("\n", 1)[0]
    return open_checkpoint(data, VerifierKey(origin, signer.public_key))


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False


def _begins_with_frame(path: Path) -> bool:
    try:
        return next(read_frames(path.read_bytes()), None) is not None
    except FileNotFoundError:
        return False


def _tampered(message: str, where: str) -> Tampered:
    hint = "stop, keep the folder as it is, and run the verifier over it"
    return Tampered(message, code="log_damaged", hint=hint, where=where)
