"""A child process that is kept running: started again after a crash, stopped with patience.

It gets the reading end of a pipe that nobody writes to. When the keeper dies, however it dies, the
kernel closes the other end, and the child knows that it has to go: no orphan serves on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["KeepLimits", "KeptProcess"]


@dataclass(frozen=True)
class KeepLimits:
    """How patient a keeper is.

    restart_s: first pause before a restart; doubled at each crash in a row, up to restart_s_max.
    steady_s: after so long a run the next crash counts as the first. stop_s_max: between asking to
    stop and killing.
    """

    restart_s: float = 0.1
    restart_s_max: float = 5.0
    steady_s: float = 10.0
    stop_s_max: float = 20.0


class KeptProcess:
    """Runs a command and starts it again whenever it ends by itself.

    The command gets `--lifeline-fd N` besides: it must end when that descriptor ends.
    give_up_on: exit codes after which trying again would not help.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        pass_fds: Sequence[int],
        give_up_on: frozenset[int] = frozenset(),
        limits: KeepLimits | None = None,
    ) -> None:
        self._lifeline, self._held = os.pipe()
        self._arguments = [*arguments, "--lifeline-fd", str(self._lifeline)]
        self._environment = dict(environment)
        self._pass_fds = (*pass_fds, self._lifeline)
        self._give_up_on = give_up_on
        self._limits = limits or KeepLimits()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[int] | None = None
        self._stopping = False
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process now running, 0 while there is none."""
        return self._process.pid if self._process and self._process.returncode is None else 0

    async def start(self) -> None:
        """Start it and keep it."""
        await self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def given_up(self) -> int:
        """Waits until it ended for good; its exit code."""
        assert self._keeper is not None, "it was not started"
        return await asyncio.shield(self._keeper)

    async def stop(self) -> None:
        """Ask it to stop, and kill it where it does not."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(self._limits.stop_s_max):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        for descriptor in (self._held, self._lifeline):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._arguments,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            pass_fds=self._pass_fds,
        )

    async def _keep(self) -> int:
        pause_s = self._limits.restart_s
        loop = asyncio.get_running_loop()
        while True:
            assert self._process is not None
            began_s = loop.time()
            code = await self._process.wait()
            if self._stopping or code in self._give_up_on:
                return code
            if loop.time() - began_s > self._limits.steady_s:
                pause_s = self._limits.restart_s
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._limits.restart_s_max)
            self.restarts += 1
            await self._spawn()
