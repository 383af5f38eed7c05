"""Whatever write breaks, in whatever way, the log comes back with all that was acknowledged."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.errors import NotFound, Tampered, Unavailable
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.note import VerifierKey
from dutchdoor.evidence.reader import LogReader
from tests.check_log import check_log
from tests.evidence.parts import LOG, ORIGIN, TRUST, Workspace, small

KEY = VerifierKey(ORIGIN, LOG.public_key)


class Died(BaseException):
    """The writer is gone: nothing of its own runs after this."""


class BreakingFiles(Files):
    """Breaks the n-th operation on the disk, after a part of it or before any.

    dies: as a killed process does, with no clean-up; otherwise the disk is full, once or for good.
    """

    def __init__(self, at: int, *, part: float = 0.0, dies: bool, lasting: bool = False) -> None:
        self.at = at
        self.part = part
        self.dies = dies
        self.lasting = lasting
        self.count = 0

    def _step(self) -> bool:
        self.count += 1
        return self.count == self.at or (self.lasting and self.count > self.at)

    def _break(self) -> None:
        if self.dies:
            raise Died
        raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        if self._step():
            super().write(descriptor, data[: int(len(data) * self.part)], position)
            self._break()
        super().write(descriptor, data, position)

    def flush(self, descriptor: int) -> None:
        if self._step():
            self._break()
        super().flush(descriptor)

    def cut(self, descriptor: int, size: int) -> None:
        if self._step():
            self._break()
        super().cut(descriptor, size)

    def rename(self, old: Path, new: Path) -> None:
        if self._step():
            self._break()
        super().rename(old, new)

    def remove(self, path: Path) -> None:
        if self._step():
            self._break()
        super().remove(path)

    def flush_path(self, path: Path) -> None:
        if self._step():
            self._break()
        super().flush_path(path)


BATCHES = (1, 250, 3, 2, 600, 1)  # crosses bundles of 256, by one and by two at once


def run(workspace: Workspace, files: Files) -> tuple[list[bytes], bool]:
    """Create and append; gives what was acknowledged, and whether something broke."""
    acknowledged: list[bytes] = []
    try:
        log = workspace.create(files=files)
    except (Unavailable, Died):
        return acknowledged, True
    broke = False
    try:
        for batch in BATCHES:
            try:
                rows = log.append([small(batch)] * batch)
                acknowledged += [row.data for row in rows]
            except Unavailable:
                broke = True
    except Died:
        broke = True
    if not broke:
        log.close()
    return acknowledged, broke


def check_comes_back(workspace: Workspace, acknowledged: list[bytes]) -> None:
    try:
        log = workspace.open()
    except NotFound:
        # Creation itself broke, and nothing can have been acknowledged.
        assert not acknowledged
        log = workspace.create()
    kept = [data for _, data in log.view.entries(1)]
    rest = iter(kept)
    assert all(data in rest for data in acknowledged), "an acknowledged entry is gone"
    row = log.append([small(9)])[0]
    assert row.index == len(kept) + 1
    log.close()
    report = check_log(workspace.folder, TRUST)
    assert report.entries == row.index + 1
    assert report.notices == ()
    assert LogReader(workspace.folder, KEY).size() == report.entries


def operations_count(tmp_path: Path) -> int:
    files = BreakingFiles(-1, dies=True)
    _, broke = run(Workspace(tmp_path / "count", FixedClock()), files)
    assert not broke
    return files.count


@pytest.mark.parametrize("part", [0.0, 0.3, 0.999, 1.0])
def test_a_writer_that_dies_at_any_operation_loses_nothing(tmp_path: Path, part: float) -> None:
    total = operations_count(tmp_path)
    assert total > 40
    for at in range(1, total + 1):
        workspace = Workspace(tmp_path / f"{at}", FixedClock())
        acknowledged, broke = run(workspace, BreakingFiles(at, part=part, dies=True))
        assert broke
        check_comes_back(workspace, acknowledged)


@pytest.mark.parametrize("lasting", [False, True])
def test_a_disk_that_fills_at_any_operation_loses_nothing(tmp_path: Path, lasting: bool) -> None:
    total = operations_count(tmp_path)
    for at in range(1, total + 1):
        workspace = Workspace(tmp_path / f"{at}", FixedClock())
        files = BreakingFiles(at, part=0.5, dies=False, lasting=lasting)
        acknowledged, broke = run(workspace, files)
        assert broke
        check_comes_back(workspace, acknowledged)


def test_a_full_disk_acknowledges_nothing_and_the_same_log_goes_on(workspace: Workspace) -> None:
    files = BreakingFiles(-1, part=0.5, dies=False)
    log = workspace.create(files=files)
    log.append([small(1)])
    before = log.head()
    files.at, files.lasting = files.count, True  # from now on everything fails
    for _ in range(3):
        with pytest.raises(Unavailable) as caught:
            log.append([small(2)] * 300)
        assert caught.value.code == "log_unavailable"
        assert caught.value.hint
    assert log.head() == before
    assert LogReader(workspace.folder, KEY).head() == before
    files.at, files.lasting = -1, False
    assert log.append([small(3)])[0].index == before.size
    check_log(workspace.folder, TRUST)


def frame_places(workspace: Workspace) -> tuple[bytes, int]:
    """The journal's bytes, and where its last frame begins."""
    log = workspace.create()
    log.append([small(1)] * 255)
    path = workspace.folder / "journal" / "000000"
    start = path.stat().st_size
    (workspace.folder / "before").write_bytes((workspace.folder / "checkpoint").read_bytes())
    log.append([small(2), small(3)])
    log.close()
    return path.read_bytes(), start


@pytest.mark.parametrize("kind", ["torn", "zeroed", "noise"])
def test_a_batch_torn_or_zeroed_by_a_loss_of_power_is_cut_off(
    workspace: Workspace, kind: str
) -> None:
    data, start = frame_places(workspace)
    path = workspace.folder / "journal" / "000000"
    checkpoint = (workspace.folder / "before").read_bytes()
    (workspace.folder / "before").unlink()
    for cut in sorted({*range(start, len(data), 7), *range(start, start + 22), len(data) - 1}):
        rest = {
            "torn": b"",
            "zeroed": bytes(len(data) - cut),
            "noise": random.Random(cut).randbytes(len(data) - cut),
        }[kind]
        path.write_bytes(data[:cut] + rest)
        (workspace.folder / "checkpoint").write_bytes(checkpoint)
        shutil.rmtree(workspace.folder / "tile", ignore_errors=True)
        log = workspace.open()
        assert log.head().size == 256
        assert log.append([small(5)])[0].index == 256
        log.close()
        check_log(workspace.folder, TRUST)


def test_an_acknowledged_batch_that_is_gone_is_never_taken_for_a_torn_one(
    workspace: Workspace,
) -> None:
    data, start = frame_places(workspace)
    (workspace.folder / "before").unlink()
    path = workspace.folder / "journal" / "000000"
    for broken in (data[:start], data[:-1], data[: start + 30] + bytes(len(data) - start - 30)):
        path.write_bytes(broken)
        with pytest.raises(Tampered) as caught:
            workspace.open()
        assert caught.value.where.startswith("journal/000000")
        assert path.read_bytes() == broken, "what is evidence of a change stays as it is"


def test_a_change_before_the_last_batch_is_never_taken_for_a_torn_one(
    workspace: Workspace,
) -> None:
    data, start = frame_places(workspace)
    path = workspace.folder / "journal" / "000000"
    # Even where the checkpoint is gone too, a whole batch behind the hole tells.
    (workspace.folder / "checkpoint").unlink()
    for place in range(0, start, 37):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises((Tampered, NotFound)):
            workspace.open()


def test_a_lost_or_older_checkpoint_is_published_again(workspace: Workspace) -> None:
    _, _ = frame_places(workspace)
    checkpoint = workspace.folder / "checkpoint"
    newest = checkpoint.read_bytes()
    older = (workspace.folder / "before").read_bytes()
    (workspace.folder / "before").unlink()
    for content in (older, b"", bytes(200)):
        checkpoint.write_bytes(content)
        workspace.open().close()
        assert checkpoint.read_bytes() == newest
    checkpoint.unlink()
    workspace.open().close()
    assert checkpoint.read_bytes() == newest


def test_tiles_that_a_loss_of_power_took_are_derived_again(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(number) for number in range(600)])
    log.close()
    shutil.rmtree(workspace.folder / "tile" / "0")
    (workspace.folder / "tile" / "entries" / "001").write_bytes(b"")
    workspace.open().close()
    check_log(workspace.folder, TRUST)


def test_a_journal_shortened_under_an_open_log_stops_it(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([small(1)])
    path = workspace.folder / "journal" / "000000"
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises(Tampered):
        log.append([small(2)])


CHILD = """
import sys
from pathlib import Path
from tests.evidence.parts import Workspace, small
from dutchdoor.clock import FixedClock
log = Workspace(Path(sys.argv[1]), FixedClock()).open()
number = 0
while True:
    count = (1, 40, 300)[number % 3]
    rows = log.append([small(number)] * count)
    sys.stdout.write(f"{rows[0].index} {count} {number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.slow
def test_killed_writers_lose_nothing_that_they_told_anyone(workspace: Workspace) -> None:
    """Two writers at a time on one log, killed at 50 random moments."""
    workspace.create().close()
    chance = random.Random(20261124)
    told: dict[int, tuple[int, int]] = {}
    for _ in range(25):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, str(workspace.folder)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        for child in children:
            assert child.stdout is not None
            first = child.stdout.readline()
            index, count, number = map(int, first.split())
            told[index] = (count, number)
        for child in children:
            time.sleep(chance.random() * 0.02)
            child.send_signal(signal.SIGKILL)
        for child in children:
            for line in child.communicate()[0].splitlines(keepends=True):
                if line.endswith("\n"):
                    index, count, number = map(int, line.split())
                    told[index] = (count, number)
    log: Log = workspace.open()
    for index, (count, number) in told.items():
        expected = small(number).encode()
        for _, data in log.view.entries(index, index + count):
            assert data == expected
    log.append([small(0)])
    assert check_log(workspace.folder, TRUST).entries > 500
