"""Group commit: one flush for many, and nobody goes on where the log does not."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable

import pytest

from dutchdoor.errors import Invalid, NotInForce, Unavailable
from dutchdoor.evidence.committer import Committer
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.register import DecisionRegister
from tests.check_log import check_log
from tests.evidence.parts import BEGIN_MS, TRUST, Workspace, begun, decision_entry, small


class Disk(Files):
    """A disk that can be full, and counts its flushes."""

    full = False
    flushes = 0

    def flush(self, descriptor: int) -> None:
        self.flushes += 1
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().flush(descriptor)


def test_a_thousand_callers_share_few_flushes(workspace: Workspace) -> None:
    disk = Disk()
    log = workspace.create(files=disk)
    before = disk.flushes

    async def main() -> list[Recorded]:
        committer = Committer(log)
        rows = await asyncio.gather(*(committer.record(small(n)) for n in range(1000)))
        await committer.aclose()
        return rows

    rows = asyncio.run(main())
    assert disk.flushes - before <= 3
    assert [row.index for row in rows] == list(range(1, 1001))
    assert rows[7].data == small(7).encode()
    check_log(workspace.folder, TRUST)


def test_a_full_disk_fails_every_waiter_and_the_log_recovers(workspace: Workspace) -> None:
    disk = Disk()
    log = workspace.create(files=disk)

    async def main() -> None:
        committer = Committer(log)
        disk.full = True
        for _ in range(2):
            rows = await asyncio.gather(
                *(committer.record(small(n)) for n in range(10)), return_exceptions=True
            )
            assert {type(row) for row in rows} == {Unavailable}
            assert len({id(row) for row in rows}) == 10
        assert log.refresh().size == 1
        disk.full = False
        assert (await committer.record(small(1))).index == 1
        await committer.aclose()

    asyncio.run(main())
    check_log(workspace.folder, TRUST)


def test_one_callers_bad_entry_is_that_callers_alone(workspace: Workspace) -> None:
    register = DecisionRegister(None, TRUST)
    log = workspace.create(gate=register)
    floating = Entry(EntryKind.PERSON_REMOVED, BEGIN_MS, {"person": 0.5})

    async def main() -> list[Recorded | BaseException]:
        committer = Committer(log)
        calls: list[Awaitable[Recorded]] = [
            committer.record(entry) for entry in (small(1), floating, begun(), small(2))
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    rows = asyncio.run(main())
    assert [type(row) for row in rows] == [Recorded, Invalid, NotInForce, Recorded]
    check_log(workspace.folder, TRUST)


def test_an_unexpected_failure_fails_closed_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = workspace.create()

    async def main() -> None:
        committer = Committer(log)
        monkeypatch.setattr(log, "append_each", lambda _: 1 / 0)
        with pytest.raises(Unavailable):
            await committer.record(small(1))
        monkeypatch.undo()
        assert (await committer.record(small(1))).index == 1

    asyncio.run(main())


def test_too_many_waiters_are_turned_away_at_once(workspace: Workspace) -> None:
    log = workspace.create()

    async def main() -> list[Recorded | BaseException]:
        committer = Committer(log, queue_entries_max=5)
        calls = [committer.record(small(n)) for n in range(8)]
        return await asyncio.gather(*calls, return_exceptions=True)

    rows = asyncio.run(main())
    turned_away = [row for row in rows if isinstance(row, Unavailable)]
    assert len(turned_away) == 3
    assert {error.code for error in turned_away} == {"log_busy"}
    assert log.head().size == 6


def test_closing_records_those_that_wait_and_takes_no_more(workspace: Workspace) -> None:
    log = workspace.create()

    async def main() -> None:
        committer = Committer(log)
        waiting = asyncio.create_task(committer.record(small(1)))
        await asyncio.sleep(0)
        await committer.aclose()
        assert (await waiting).index == 1
        with pytest.raises(Unavailable) as caught:
            await committer.record(small(2))
        assert caught.value.code == "log_closed"

    asyncio.run(main())


def test_a_caller_that_went_away_harms_nobody(workspace: Workspace) -> None:
    log = workspace.create()

    async def main() -> None:
        committer = Committer(log)
        gone = asyncio.create_task(committer.record(small(1)))
        await asyncio.sleep(0)
        gone.cancel()
        stays = await committer.record(small(2))
        assert stays.data == small(2).encode()
        await committer.aclose()

    asyncio.run(main())
    check_log(workspace.folder, TRUST)


def test_a_decision_counts_for_what_follows_it_in_the_same_breath(workspace: Workspace) -> None:
    log = workspace.create(gate=DecisionRegister(None, TRUST))

    async def main() -> list[Recorded]:
        committer = Committer(log)
        calls = [committer.record(decision_entry()), committer.record(begun())]
        return await asyncio.gather(*calls)

    assert [row.index for row in asyncio.run(main())] == [1, 2]
    check_log(workspace.folder, TRUST)
