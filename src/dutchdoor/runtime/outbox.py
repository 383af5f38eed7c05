"""What may leave of one completion, and when: the last gate before the socket.

A token leaves when three things hold. Its text is certain: its bytes are whole characters and no
part of them can still become a stop string. It is within the guard's bound: at most `hold_back`
released tokens have not been judged. And nothing blocked it: after a block nothing leaves.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from dutchdoor.runtime.protocol import Token, TokenLogprob
from dutchdoor.runtime.stops import StopMatcher

__all__ = ["Outbox"]


@dataclass
class _Held:
    token_id: int
    data: bytes
    logprob: float | None
    top: list[TokenLogprob]
    text: str
    start: int
    end: int
    is_whole: bool


class Outbox:
    """The tokens of one completion on their way out; pure, knows neither model nor socket."""

    def __init__(
        self, request: str, *, stops: list[str], is_judged: bool, hold_back: int = 0
    ) -> None:
        """is_judged: False only where no judge exists and the grant observes.

        hold_back: so many tokens may leave unjudged; 0 lets none.
        """
        self._request = request
        self._stops = StopMatcher(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_judged = is_judged
        self._hold_back = hold_back
        self._held: list[_Held] = []
        self._released = 0
        self._judged = 0
        self._length = 0
        self._has_ended = False
        self._is_blocked = False

    @property
    def released(self) -> int:
        """How many tokens have left."""
        return self._released

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string is complete: no token after it counts."""
        return self._stops.match is not None

    @property
    def has_ended(self) -> bool:
        """Whether no further token is sampled."""
        return self._has_ended

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits: together with `has_ended`, the completion is over."""
        return self._is_blocked or self._released == len(self._held)

    def add(
        self,
        token_id: int,
        data: bytes,
        logprob: float | None,
        top: list[TokenLogprob],
        *,
        is_special: bool = False,
    ) -> None:
        """Takes the next sampled token. data: its exact bytes; a special token adds no text."""
        assert not self._has_ended, "nothing is sampled after the end"
        text = "" if is_special else self._decoder.decode(data)
        is_whole = not self._decoder.getstate()[0]
        start, self._length = self._length, self._length + len(text)
        self._held.append(_Held(token_id, data, logprob, top, text, start, self._length, is_whole))
        self._stops.feed(text)
        if self.has_stopped:
            self._cut(self._stops.certain)

    def end(self) -> None:
        """No further token comes: what was held for a stop string or a character is certain."""
        if self._has_ended:
            return
        self._has_ended = True
        tail = self._decoder.decode(b"", final=True)
        if self._held and tail:
            self._held[-1].text += tail

    def judged(self) -> None:
        """The guard has seen one more token, in order, and let it pass."""
        self._judged += 1

    def block(self) -> None:
        """The guard blocked: nothing that is still here ever leaves."""
        self._is_blocked = True
        self._has_ended = True

    def take(self) -> list[Token]:
        """The tokens that may leave now; each is given once."""
        if self._is_blocked:
            return []
        end = min(self._text_end(), self._guard_end())
        ready = self._held[self._released : end]
        self._released += len(ready)
        return [
            Token(self._request, held.token_id, held.text, held.logprob, held.top, held.data)
            for held in ready
        ]

    def _guard_end(self) -> int:
        return self._judged + self._hold_back if self._is_judged else len(self._held)

    def _text_end(self) -> int:
        """How many tokens from the start have certain text."""
        if self._has_ended:
            return len(self._held)
        certain = self._stops.certain
        for end in range(len(self._held), self._released, -1):
            held = self._held[end - 1]
            if held.is_whole and held.end <= certain:
                return end
        return self._released

    def _cut(self, certain: int) -> None:
        """Drops what lies in the stop string; a token that reaches into it keeps what is before."""
        kept = [h for n, h in enumerate(self._held) if h.start < certain or n < self._released]
        self._held = kept
        if len(kept) > self._released:
            last = kept[-1]
            last.text = last.text[: max(0, certain - last.start)]
        self._has_ended = True
