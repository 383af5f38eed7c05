"""Between the runtime's answer and the caller: one inference's letters, and a way to cut it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

from dutchdoor.errors import DutchdoorError, Unavailable
from dutchdoor.gateway.ports import Runtime
from dutchdoor.runtime.model import error_of
from dutchdoor.runtime.protocol import (
    Accepted,
    Activations,
    Amended,
    Done,
    Failed,
    FromRuntime,
    Generate,
    ProbeFitted,
    Token,
)

__all__ = ["LETTERS_MAX", "Letter", "Mailbox"]

LETTERS_MAX = 8_192
"""Unread letters of one inference; who reads more slowly than that is cut."""

Letter = Accepted | Token | Done | Activations | Amended | ProbeFitted


class Mailbox:
    """The runtime's letters in order; a cut overtakes them all.

    A cut is seen before any letter that still lies here, so nothing that arrived earlier leaves
    after it. At most `tokens_max` letters and two can lie here, which bounds the memory.
    """

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._end: DutchdoorError | None = None
        self._pump: asyncio.Task[None] | None = None
        self._leave: Callable[[], None] | None = None
        self.cut: DutchdoorError | None = None

    def open(self, letters: AsyncIterator[Letter]) -> None:
        """Start to collect `letters`."""
        self._pump = asyncio.create_task(self._collect(letters))

    async def connect(self, runtime: Runtime, request: Generate) -> None:
        """Ask for a completion whose letters come straight here. Raises as the runtime does."""
        self._leave = await runtime.stream(request, self)

    def put(self, message: FromRuntime) -> bool:
        """Take a letter of the completion's; False where no more fit."""
        if isinstance(message, Failed):
            self._end = error_of(message)  # After all that came before it.
            self._arrive()
        elif len(self._letters) >= LETTERS_MAX:
            return False
        else:
            self._letters.append(cast("Letter", message))
            self._arrive()
        return True

    def fail(self, error: DutchdoorError) -> None:
        """There comes no more; what lies here unread is not read any more."""
        self._letters.clear()
        self._end = error
        self._arrive()

    def waits(self) -> bool:
        """Whether `next` would give a letter at once."""
        return bool(self._letters) and self.cut is None

    def cut_off(self, error: DutchdoorError) -> None:
        """End it now, for the reason `error`; the first reason stays."""
        if self.cut is None:
            self.cut = error
            self._arrive()

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
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def close(self) -> None:
        """Stop collecting."""
        if self._leave is not None:
            self._leave()
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
                self._arrive()
        except DutchdoorError as error:
            end = error
        except Exception as error:  # Whatever breaks here must end the inference, not hang it.
            end = Unavailable("the runtime's answer broke", code="runtime_failed")
            end.__cause__ = error
        finally:
            self._end = end
            self._arrive()

    def _arrive(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
