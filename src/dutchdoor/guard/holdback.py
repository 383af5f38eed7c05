"""Hold-back: of a stream, only what can no longer become part of a forbidden text is released.

Pure, and exact for literals: what is held is the longest end of the stream that is still a
beginning of some literal (the depth of the Aho-Corasick state), so ordinary text passes almost
without delay and not one character of a literal leaves before the literal is ruled out. A `tail`
of a fixed length may be held on top, for patterns whose beginnings cannot be told.

It goes character by character, so cutting the stream differently changes nothing.
Source: Aho, Corasick, Efficient string matching, CACM 18(6), 1975.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from dutchdoor.errors import Invalid

__all__ = [
    "LITERALS_CHARACTERS_MAX",
    "TAIL_CHARACTERS_MAX",
    "Forbidden",
    "HoldBack",
]

LITERALS_CHARACTERS_MAX = 4_000_000
"""All literals together, in characters: about 1 GiB of states at most."""
TAIL_CHARACTERS_MAX = 1024


class Forbidden:
    """The forbidden literals as one automaton, built once and shared by all streams.

    literals: none empty; duplicates count once. tail: characters held whatever they are,
    0 to `TAIL_CHARACTERS_MAX`.
    Raises Invalid: an empty literal, too many characters, or a tail out of bounds.
    """

    def __init__(self, literals: Iterable[str], tail: int = 0) -> None:
        if not 0 <= tail <= TAIL_CHARACTERS_MAX:
            message = f"a tail has 0 to {TAIL_CHARACTERS_MAX} characters, not {tail}"
            raise Invalid(message, code="bad_hold_back")
        self.tail = tail
        self._next: list[dict[str, int]] = [{}]
        self.depths = [0]
        """Of each state: characters of the stream that may still begin a literal."""
        self.ends: list[str | None] = [None]
        """Of each state: the literal that ends there, if any."""
        self._fail = [0]
        for literal in sorted(set(literals)):
            self._add(literal)
        self._link()

    def _add(self, literal: str) -> None:
        if not literal:
            raise Invalid("a forbidden literal is empty", code="bad_hold_back")
        state = 0
        for character in literal:
            following = self._next[state].get(character)
            if following is None:
                following = len(self._next)
                if following > LITERALS_CHARACTERS_MAX:
                    raise Invalid("too many characters in literals", code="bad_hold_back")
                self._next[state][character] = following
                self._next.append({})
                self.depths.append(self.depths[state] + 1)
                self.ends.append(None)
                self._fail.append(0)
            state = following
        self.ends[state] = literal

    def _link(self) -> None:
        queue = deque(self._next[0].values())
        while queue:
            state = queue.popleft()
            for character, following in self._next[state].items():
                queue.append(following)
                self._fail[following] = self.step_state(self._fail[state], character)
                shorter = self.ends[self._fail[following]]
                # The longer literal names the match where several end at one character.
                self.ends[following] = self.ends[following] or shorter

    def step_state(self, state: int, character: str) -> int:
        """The state after `character`."""
        while True:
            following = self._next[state].get(character)
            if following is not None:
                return following
            if state == 0:
                return 0
            state = self._fail[state]


class HoldBack:
    """One stream on its way out.

    After a forbidden literal (`blocked`), or after `block()`, nothing more is ever released.
    """

    def __init__(self, forbidden: Forbidden) -> None:
        self._forbidden = forbidden
        self._state = 0
        self._pending: deque[str] = deque()
        self.blocked: str | None = None
        """The literal that stopped the stream, or the reason given to `block`."""

    def feed(self, text: str) -> str:
        """What may leave now that `text` has arrived; possibly nothing."""
        if self.blocked is not None:
            return ""
        state, depths, ends = self._state, self._forbidden.depths, self._forbidden.ends
        step, tail = self._forbidden.step_state, self._forbidden.tail
        pending = self._pending
        before, free, literal = len(pending), 0, None
        for count, character in enumerate(text, before + 1):
            state = step(state, character)
            literal = ends[state]
            if literal is not None:
                text = text[: count - before - 1]
                break
            # All but the last so many characters may leave; what was free once, stays so.
            depth = depths[state]
            leaves = count - depth if depth > tail else count - tail
            free = max(free, leaves)
        self._state = state
        pending.extend(text)
        released = "".join([pending.popleft() for _ in range(free)])
        if literal is not None:
            self.block(literal)
        return released

    def block(self, reason: str) -> None:
        """Stops the stream: what is held, and all that follows, never leaves."""
        self.blocked = self.blocked or reason
        self._pending.clear()

    def finish(self) -> str:
        """The rest, once the stream has ended unblocked; empty after a block."""
        rest = "".join(self._pending)
        self._pending.clear()
        return rest

    @property
    def held(self) -> int:
        """How many characters are held now."""
        return len(self._pending)
