"""The log: appends entries so that they are durable, signed, and in one order for everyone.

Several processes append to one folder. Each batch is one turn under an exclusive lock:

1. take in what others appended since (one system call where nobody did);
2. ask the gate whether each entry may stand at this place;
3. write one frame to the journal and make it durable: the one fdatasync;
4. write the tiles and bundles that became full;
5. publish the signed checkpoint by renaming it into place. Only now is the batch acknowledged.

A writer that died after any of these is mended by the next one in step 1: opening a log is step 1
from the beginning of the last segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dutchdoor.clock import Clock
from dutchdoor.config import missing_hint
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.evidence.checkpoint import Checkpoint
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.journal import (
    FRAME_BODY_BYTES_MAX,
    FRAME_ENTRIES_MAX,
    segment_numbers,
)
from dutchdoor.evidence.lock import FolderLock, or_unavailable
from dutchdoor.evidence.model import Entry, EntryKind, Opening, Recorded
from dutchdoor.evidence.note import VerifierKey
from dutchdoor.evidence.panel_book import PANEL_KINDS
from dutchdoor.evidence.ports import Gate, Signer
from dutchdoor.evidence.tree import View
from dutchdoor.evidence.writer import Writer, begin_log

__all__ = ["Log"]

# What follows one of these is judged by it, so it ends its batch and the gate follows it first.
_DECISIVE = frozenset({EntryKind.DECISION_SIGNED, EntryKind.DECISION_REVOKED}) | PANEL_KINDS


class _Item(NamedTuple):
    """An entry on its way in. order: its place among the caller's."""

    order: int
    entry: Entry
    data: bytes


class Log:
    """The log in `folder`, open for appending; safe to share between threads."""

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        clock: Clock,
        *,
        gate: Gate | None = None,
        files: Files | None = None,
    ) -> None:
        """Open the log and mend what a dead writer left.

        gate: asked about each entry under the lock, once it has followed all that came before.
        Raises NotFound: there is no log. Raises Tampered: what was durable is gone or changed.
        Raises Unavailable: the disk or the lock is not to be had.
        """
        self.folder = folder
        self._signer = signer
        self._gate = gate
        if not segment_numbers(folder):
            hint = missing_hint(folder.parent, "its evidence log")
            raise NotFound(f"there is no log in {folder}", code="no_log", hint=hint)
        with or_unavailable():
            self._lock = FolderLock(folder)
        self._writer = Writer(folder, signer, files or Files())
        try:
            with or_unavailable(), self._lock.held():
                self._writer.open()
                self._follow()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        folder: Path,
        signer: Signer,
        origin: str,
        clock: Clock,
        *,
        gate: Gate | None = None,
        files: Files | None = None,
    ) -> Log:
        """A new log named `origin`, whose first entry says so.

        origin: for instance `example.org/dutchdoor`; no spaces, no plus; never changed.
        Raises Invalid: there is a log already, or the name is none.
        Raises Unavailable: the disk or the lock is not to be had.
        """
        files = files or Files()
        VerifierKey.from_text(VerifierKey(origin, signer.public_key).to_text())
        data = Entry(EntryKind.LOG_OPENED, clock.now_ms(), {"origin": origin}).encode()
        with or_unavailable():
            folder.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(folder)
            try:
                with lock.held():
                    begin_log(folder, data, origin, signer, files)
            finally:
                lock.close()
        # Opening publishes the first checkpoint, as it does after a crash.
        return cls(folder, signer, clock, gate=gate, files=files)

    @property
    def view(self) -> View:
        """The log as this process knows it: reads, proofs and receipts at one checkpoint."""
        return self._writer.view

    @property
    def key(self) -> VerifierKey:
        """The key that verifies this log's checkpoints; its name is the log's origin."""
        return VerifierKey(self.view.checkpoint.origin, self._signer.public_key)

    def head(self) -> Checkpoint:
        """The newest checkpoint this process knows."""
        return self.view.checkpoint

    def receipt(self, index: int, openings: Mapping[str, Opening] | None = None) -> bytes:
        """The receipt of entry `index` under the newest checkpoint: see `View.receipt`."""
        return self.view.receipt(index, openings)

    def refresh(self) -> View:
        """The log with all that other processes appended.

        Raises Tampered, Unavailable: as `append`.
        """
        with self._turn():
            return self.view

    def append(self, entries: Sequence[Entry]) -> list[Recorded]:
        """Record `entries` together and in order; returns once they are durable.

        Where one may not stand, none of its batch is recorded; a decision or a revocation ends
        its batch, because what follows is judged by it.
        Raises Invalid: an entry has no canonical form or is too long. Raises Refused: the gate.
        Raises Unavailable: the disk or the lock failed: nothing of the batch is acknowledged.
        Raises Tampered: what was durable is gone or changed.
        """
        items = [_Item(order, entry, entry.encode()) for order, entry in enumerate(entries)]
        recorded: list[Recorded] = []
        with self._turn():
            for batch in _batches(items):
                for item in batch:
                    self._admit(item.entry)
                recorded += self._commit(batch)
        return recorded

    def append_each(self, entries: Sequence[Entry]) -> list[Recorded | DutchdoorError]:
        """Record those of `entries` that may stand; the others' places hold the reason.

        One batch for many callers: one caller's refused entry keeps no other's out.
        Raises Unavailable, Tampered: as `append`; none of `entries` is then acknowledged.
        """
        outcomes: dict[int, Recorded | DutchdoorError] = {}
        items = []
        for order, entry in enumerate(entries):
            try:
                items.append(_Item(order, entry, entry.encode()))
            except Invalid as error:
                outcomes[order] = error
        with self._turn():
            for batch in _batches(items):
                admitted = []
                for item in batch:
                    try:
                        self._admit(item.entry)
                    except (Refused, Invalid) as error:
                        outcomes[item.order] = error
                    else:
                        admitted.append(item)
                recorded = self._commit(admitted)
                outcomes.update(zip((i.order for i in admitted), recorded, strict=True))
        return [outcomes[order] for order in range(len(entries))]

    def close(self) -> None:
        """Give the files back; what was recorded stays."""
        self._lock.close()
        self._writer.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the log, with all that others appended taken in."""
        with or_unavailable(), self._lock.held():
            self._writer.catch_up()
            self._follow()
            yield

    def _follow(self) -> None:
        view = self.view
        if self._gate is not None and self._gate.position < view.size:
            for index, data in view.entries(self._gate.position):
                self._gate.follow(index, data)

    def _admit(self, entry: Entry) -> None:
        if entry.kind is EntryKind.LOG_OPENED:
            raise Refused("a log is opened once", code="already_opened")
        if self._gate is not None:
            self._gate.admit(entry)

    def _commit(self, batch: list[_Item]) -> list[Recorded]:
        recorded = self._writer.commit([item.data for item in batch])
        if self._gate is not None:
            for row in recorded:
                self._gate.follow(row.index, row.data)
        return recorded


def _batches(items: list[_Item]) -> Iterator[list[_Item]]:
    """`items` in frames: not too many, not too long, ended by what decides about the next."""
    batch: list[_Item] = []
    bytes_count = 0
    for item in items:
        batch.append(item)
        bytes_count += len(item.data)
        if (
            len(batch) == FRAME_ENTRIES_MAX
            or bytes_count > FRAME_BODY_BYTES_MAX
            or item.entry.kind in _DECISIVE
        ):
            yield batch
            batch, bytes_count = [], 0
    if batch:
        yield batch
