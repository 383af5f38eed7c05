"""Between the runtime's answer and the caller: one inference's letters, and a way to cut it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from dutchdoor.errors import DutchdoorError, Unavailable
from dutchdoor.runtime.protocol import Accepted, Activations, Amended, Done, ProbeFitted, Token

__all__ = ["Letter", "Mailbox"]

Letter = Accepted | Token | Done | Activations | Amended | ProbeFitted


class Mailbox:
    """The runtime's letters in order; a cut overtakes them all.

    A cut is seen before any letter that still lies here, so nothing that arrived earlier leaves
    after it. At most `tokens_max` letters and two can lie here, which bounds the memory.
    """

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._arrived = asyncio.Event()
        self._end: DutchdoorError | None = None
        self._pump: asyncio.Task[None] | None = None
        self.cut: DutchdoorError | None = None

    def open(self, letters: AsyncIterator[Letter]) -> None:
        """Start to collect `letters`."""
        self._pump = asyncio.create_task(self._collect(letters))

    def cut_off(self, error: DutchdoorError) -> None:
        """End it now, for the reason `error`; the first reason stays."""
        if self.cut is None:
            self.cut = error
            self._arrived.set()

    async def next(self) -> Letter:
        """The next letter.

        Raises the cut's reason, or what the runtime failed with: DutchdoorError.
        """
        while True:
            if self.cut is not None:
                raise self.cut
            if self._letters:
                return self._letters.popleft()
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self) -> None:
        """Stop collecting."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    async def _collect(self, letters: AsyncIterator[Letter]) -> None:
        end: DutchdoorError = Unavailable(
            "the runtime ended the answer without saying so", code="runtime_failed"
        )
        try:
            async for letter in letters:
                self._letters.append(letter)
                self._arrived.set()
        except DutchdoorError as error:
            end = error
        except Exception as error:  # Whatever breaks here must end the inference, not hang it.
            end = Unavailable("the runtime's answer broke", code="runtime_failed")
            end.__cause__ = error
        finally:
            self._end = end
            self._arrived.set()
