"""The evidence folder, read in the log's order and compared with what its entries lead to."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.frames import (
    Frame,
    candidates,
    next_frame,
    read_entries,
    read_frame,
)
from dutchdoor.evidence.verify.hashes import GrowingRoot, leaf, row_root
from dutchdoor.evidence.verify.keys import Head, Trusted, open_head
from dutchdoor.evidence.verify.report import Findings

__all__ = ["Folder", "Located"]

WIDTH = 256
SEGMENT_ENTRIES = WIDTH * WIDTH
_TILE = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(\.p/[0-9]+)?")
_SEGMENT = re.compile(r"journal/[0-9]{6}")


class Located(NamedTuple):
    """An entry and where it lies, for findings."""

    number: int
    data: bytes
    where: str


class Folder:
    """One evidence folder: `entries` walks all of it once and adds what is wrong to `findings`."""

    def __init__(self, folder: Path, trusted: Trusted, findings: Findings) -> None:
        self.notices: list[str] = []
        self.head: Head | None = None
        self.size = 0
        self.tree = GrowingRoot()
        self._folder = folder
        self._trusted = trusted
        self._findings = findings
        self._rows: list[list[bytes]] = [[]]
        self._bundle: list[bytes] = []
        self._last_note = b""
        self._stopped = False
        self._files = sorted(self._list())
        self._unchecked = set(self._files)
        self._partial = any(".p/" in name for name in self._files)

    def entries(self) -> Iterator[Located]:
        """Each entry in order. Findings about files are complete once this has ended.

        Where the journal is missing, as in an export, the entry bundles take its place.
        """
        published = self._open_checkpoint()
        journal = any(name.startswith("journal/") for name in self._files)
        for located in self._journal() if journal else self._bundles():
            yield located
            self._grow(located)
            if published is not None and published.size == self.size:
                self._check_root(published)
        self._end(published, journal=journal)

    def _list(self) -> Iterator[str]:
        for place, folders, files in os.walk(self._folder):
            for name in [*folders, *files]:
                path = Path(place) / name
                short = path.relative_to(self._folder).as_posix()
                if path.is_symlink():
                    self._findings.add(short, "a link: evidence lies in the folder itself")
                elif name in files:
                    yield short

    def _open_checkpoint(self) -> Head | None:
        try:
            self.head = open_head(self._read("checkpoint"), self._trusted)
        except Invalid:
            # `_end` says what is wrong with it, once the journal tells what it should be.
            return None
        return self.head

    def _journal(self) -> Iterator[Located]:
        for number, name in enumerate(n for n in self._files if n.startswith("journal/")):
            if not _SEGMENT.fullmatch(name):
                continue
            if name != f"journal/{number:06d}" or self.size != number * SEGMENT_ENTRIES:
                self._findings.add(name, f"a segment that does not begin at entry {self.size}")
                return
            data = self._read(name)
            start = 0
            while start < len(data):
                frame = read_frame(data, start)
                if frame is None:
                    end = next_frame(data, start + 1)
                    frame = self._damaged(name, data, start, end)
                    if frame is None:
                        self._stopped = end < len(data)
                        return
                for place, entry in frame.entries:
                    span = f"{name} bytes {place}-{place + len(entry) - 1}"
                    yield Located(self.size, entry, f"entry {self.size} ({span})")
                self._check_note(frame, name)
                start = frame.end

    def _check_note(self, frame: Frame, name: str) -> None:
        """Every frame's checkpoint must name its size and root; the last one is verified."""
        self._last_note = frame.note
        lines = frame.note.decode(errors="replace").split("\n")
        expected = [self._trusted.origin, str(self.size)]
        if lines[:2] != expected or self.tree.root() != _root_of(lines):
            where = f"{name} bytes {frame.start}-{frame.end - 1}"
            self._findings.add(where, f"a batch that is not what was signed at size {self.size}")

    def _damaged(self, name: str, data: bytes, start: int, end: int) -> Frame | None:
        """Find the byte that was changed in a damaged frame, and give the frame without that."""
        region = data[start:end]
        for place, mended in candidates(region):
            frame = read_frame(mended, 0)
            if frame is None or frame.end != len(mended) or not self._fits(frame):
                continue
            index = self.size + sum(at + len(e) <= place for at, e in frame.entries)
            inside = any(at <= place < at + len(e) for at, e in frame.entries)
            what = f"was {mended[place]:#04x} and is {region[place]:#04x}"
            where = f"{name} byte {start + place}"
            self._findings.add(where, f"in entry {index}: {what}" if inside else what)
            moved = [(start + at, entry) for at, entry in frame.entries]
            return Frame(start, end, moved, frame.note)
        published = self.head.size if self.head is not None else None
        if end == len(data) and published == self.size:
            text = f"{name} from byte {start}: {end - start} bytes of a batch nobody was told of"
            self.notices.append(text)
        else:
            where = f"{name} bytes {start}-{end - 1}"
            self._findings.add(where, f"damaged: the batch that begins with entry {self.size}")
        return None

    def _fits(self, frame: Frame) -> bool:
        tree = self.tree.copy()
        for _, entry in frame.entries:
            tree.add(leaf(entry))
        try:
            head = open_head(frame.note, self._trusted)
        except Invalid:
            return False
        return head == (self.size + len(frame.entries), tree.root())

    def _bundles(self) -> Iterator[Located]:
        size = self.head.size if self.head is not None else 0
        for number in range(-(-size // WIDTH)):
            count = min(WIDTH, size - number * WIDTH)
            name = _path("entries", number, count)
            data = self._read(name)
            rows = read_entries(data, 0, len(data))
            if rows is None or len(rows) != count:
                self._findings.add(name, f"not the {count} entries from {number * WIDTH} on")
                self._stopped = True
                return
            for place, entry in rows:
                span = f"{name} bytes {place}-{place + len(entry) - 1}"
                yield Located(self.size, entry, f"entry {self.size} ({span})")

    def _grow(self, located: Located) -> None:
        """Take one entry in, and compare the tiles that are complete with it."""
        hashed = leaf(located.data)
        self.tree.add(hashed)
        self.size += 1
        self._bundle.append(located.data)
        self._compare_bundle()
        level = 0
        while True:
            if level == len(self._rows):
                self._rows.append([])
            row = self._rows[level]
            row.append(hashed)
            if len(row) == WIDTH or self._partial:
                number = (self.size - 1) >> 8 * (level + 1)
                name = _path(str(level), number, len(row))
                self._compare(name, b"".join(row), needed=len(row) == WIDTH)
            if len(row) < WIDTH:
                return
            hashed, self._rows[level] = row_root(row), []
            level += 1

    def _compare_bundle(self) -> None:
        count = len(self._bundle)
        if count == WIDTH or self._partial:
            name = _path("entries", (self.size - 1) // WIDTH, count)
            content = b"".join(len(e).to_bytes(2, "big") + e for e in self._bundle)
            self._compare(name, content, needed=count == WIDTH)
        if count == WIDTH:
            self._bundle = []

    def _compare(self, name: str, expected: bytes, *, needed: bool) -> None:
        if name not in self._unchecked:
            if needed:
                self._findings.add(name, "missing")
            return
        self._unchecked.discard(name)
        found = self._read(name)
        if found != expected:
            self._findings.add(*_difference(name, found, expected))

    def _check_root(self, published: Head) -> None:
        if self.tree.root() != published.root:
            what = f"the first {published.size} entries are not those that were signed"
            self._findings.add("checkpoint", what)

    def _end(self, published: Head | None, *, journal: bool) -> None:
        """What can only be said about files once all entries were seen."""
        if published is None:
            self._explain_checkpoint()
        elif published.size > self.size:
            what = f"covers {published.size} entries, of which {self.size} can be read"
            self._findings.add("checkpoint", what)
        elif published.size < self.size:
            count = self.size - published.size
            self.notices.append(f"{count} entries are durable and not yet published")
        if journal and self._last_note:
            try:
                open_head(self._last_note, self._trusted)
            except Invalid as error:
                self._findings.add("journal, last batch", error.message)
        for name in sorted(self._unchecked):
            if name == "lock":
                if self._read(name):
                    self._findings.add(name, "is not empty")
            elif name.endswith(".new"):
                self.notices.append(f"{name}: left by a writer that died, replaced by the next")
            elif _TILE.fullmatch(name):
                if not self._stopped:
                    self.notices.append(f"{name}: beyond the last entry, not checked")
            elif name != "checkpoint" and not _SEGMENT.fullmatch(name):
                self._findings.add(name, "is no part of a log")

    def _explain_checkpoint(self) -> None:
        found = self._read("checkpoint") if "checkpoint" in self._unchecked else None
        if found is None:
            self._findings.add("checkpoint", "missing")
        elif self._last_note and len(found) == len(self._last_note) and found != self._last_note:
            self._findings.add(*_difference("checkpoint", found, self._last_note))
        else:
            try:
                open_head(found, self._trusted)
            except Invalid as error:
                self._findings.add("checkpoint", error.message)

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            self._findings.add(name, f"cannot be read: {error.strerror}")
            return b""


def _path(kind: str, number: int, count: int) -> str:
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.append(f"x{number % 1000:03d}")
    suffix = "" if count == WIDTH else f".p/{count}"
    return f"tile/{kind}/{'/'.join(reversed(groups))}{suffix}"


def _root_of(lines: list[str]) -> bytes:
    try:
        return base64.b64decode(lines[2])
    except (IndexError, ValueError):
        return b""


def _difference(name: str, found: bytes, expected: bytes) -> tuple[str, str]:
    """Where `found` differs from `expected`, and how."""
    length = min(len(found), len(expected))
    places = [at for at in range(length) if found[at] != expected[at]]
    if len(found) != len(expected):
        return name, f"has {len(found)} bytes instead of {len(expected)}"
    if len(places) == 1:
        at = places[0]
        return f"{name} byte {at}", f"was {expected[at]:#04x} and is {found[at]:#04x}"
    return f"{name} bytes {places[0]}-{places[-1]}", f"{len(places)} bytes were changed"
