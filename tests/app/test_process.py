"""A kept child: restarted after a crash, given up where that is hopeless, never orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dutchdoor.app.process import KeepLimits, KeptProcess

QUICK = KeepLimits(restart_s=0.01, restart_s_max=0.05, stop_s_max=5.0)

# Lives until its lifeline ends, as the gateway does.
CHILD = """
import os, select, sys
fd = int(sys.argv[sys.argv.index("--lifeline-fd") + 1])
print("up", flush=True)
select.select([fd], [], [])
"""

KEEPER = """
import asyncio, sys
from dutchdoor.app.process import KeptProcess

async def main():
    child = KeptProcess([sys.executable, "-c", {child!r}], environment={{}}, pass_fds=())
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


def kept(code: str, **more: frozenset[int]) -> KeptProcess:
    arguments = [sys.executable, "-c", code]
    return KeptProcess(arguments, environment={}, pass_fds=(), limits=QUICK, **more)


@pytest.mark.anyio
async def test_a_killed_child_is_started_again() -> None:
    child = kept(CHILD)
    await child.start()
    first = child.pid
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        while child.pid in (0, first):  # noqa: ASYNC110 - another process, no event of ours
            await asyncio.sleep(0.01)
    await child.stop()
    assert child.restarts >= 1
    assert child.pid == 0


@pytest.mark.anyio
async def test_a_child_that_says_it_cannot_start_is_given_up() -> None:
    child = kept("raise SystemExit(3)", give_up_on=frozenset({3}))
    await child.start()
    async with asyncio.timeout(10):
        assert await child.given_up() == 3
    await child.stop()
    assert child.restarts == 0


@pytest.mark.anyio
async def test_a_child_that_ignores_the_request_to_stop_is_killed() -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(3600)"
    limits = KeepLimits(stop_s_max=0.5)
    child = KeptProcess([sys.executable, "-c", code], environment={}, pass_fds=(), limits=limits)
    await child.start()
    await asyncio.sleep(0.3)
    await child.stop()
    assert child.pid == 0


def test_a_child_whose_keeper_is_killed_does_not_live_on(tmp_path: Path) -> None:
    code = KEEPER.format(child=CHILD)
    keeper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    pid = int(keeper.stdout.readline())
    keeper.kill()
    keeper.wait()
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # A zombie whose parent is gone belongs to init, which may not reap it here at once.
        if "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]:
            return
        time.sleep(0.02)
    pytest.fail("the child is an orphan")
