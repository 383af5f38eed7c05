"""Text rules on the way out: which tokens may leave now, and which wait.

A token leaves once all its text is judged and cannot become part of a forbidden match any more.
Whole tokens are held, because with logprobs a token's bytes show what its text would have shown.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable

from dutchdoor.gateway.ports import Rules, RulesStream
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.protocol import Token

__all__ = ["Screen"]


PROMPT_END_CHARACTERS = 1024
"""So much of a raw prompt's end the rules read before its completion; no literal is longer."""


class _Track:
    """One stream of text under the rules, and how far it is cleared, in characters."""

    def __init__(self, rules: Rules, before: str) -> None:
        self._stream: RulesStream = rules.stream()
        self.length = 0
        self.cleared = 0
        # Words that are forbidden to the model alone may stand in a prompt; then the completion is
        # read by itself.
        if before and self._stream.feed(before).action is Action.BLOCK:
            self._stream = rules.stream()

    def feed(self, text: str) -> Verdict:
        verdict = self._stream.feed(text)
        self.length += len(text)
        # Both lengths count from the completion's start; what is held of the prompt is no matter.
        self.cleared = max(self.cleared, self.length - self._stream.held())
        return verdict

    def finish(self) -> Verdict:
        verdict = self._stream.finish()
        self.cleared = max(self.cleared, self.length - self._stream.held())
        return verdict


class Screen:
    """The text rules on one completion; fed token by token, it gives back tokens that may leave.

    blocking: stop at a forbidden match; else only note it. bytes_shown: logprobs are asked for,
    so each token's bytes and its alternatives leave as well. They can run ahead of the text (which
    waits for whole characters and for stop sequences), so they are a second stream to judge.
    before: the raw prompt, where prompt and completion are read as one text: otherwise a literal
    could be begun by the prompt and ended by the model.
    """

    def __init__(
        self,
        rules: Rules,
        judge_alternative: Callable[[str], Verdict],
        *,
        blocking: bool,
        bytes_shown: bool,
        before: str = "",
    ) -> None:
        end = before[-PROMPT_END_CHARACTERS:]
        self._judge_alternative = judge_alternative
        self._blocking = blocking
        self._text = _Track(rules, end)
        self._bytes = _Track(rules, end) if bytes_shown else None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: deque[tuple[int, int, Token]] = deque()
        self.worst: Verdict | None = None
        self.blocked = False

    def push(self, token: Token) -> list[Token]:
        """The tokens that may leave now that `token` is known; none for ever once blocked."""
        if self.blocked:
            return []
        for alternative in token.top:
            self._note(self._judge_alternative(alternative.data.decode("utf-8", "replace")))
        if self.blocked:
            self._waiting.clear()
            return []
        if token.prompt:
            return [token]  # The caller's own words, judged as a prompt before.
        self._note(self._text.feed(token.text))
        if self._bytes is not None:
            self._note(self._bytes.feed(self._decoder.decode(token.data)))
        bytes_end = self._bytes.length if self._bytes is not None else 0
        self._waiting.append((self._text.length, bytes_end, token))
        return self._cleared()

    def finish(self) -> list[Token]:
        """The tokens that waited for a match that did not come; the completion has ended."""
        if not self.blocked:
            self._note(self._text.finish())
            if self._bytes is not None:
                self._note(self._bytes.feed(self._decoder.decode(b"", final=True)))
                self._note(self._bytes.finish())
        return self._cleared()

    def _cleared(self) -> list[Token]:
        cleared = []
        bytes_cleared = self._bytes.cleared if self._bytes is not None else 0
        while self._waiting:
            text_end, bytes_end, token = self._waiting[0]
            late = text_end > self._text.cleared or bytes_end > bytes_cleared
            if late and self._blocking:
                break
            self._waiting.popleft()
            cleared.append(token)
        if self.blocked:
            self._waiting.clear()
        return cleared

    def _note(self, verdict: Verdict) -> None:
        if verdict.action is Action.ALLOW:
            return
        if self.worst is None or verdict.action is Action.BLOCK:
            self.worst = verdict
        if self._blocking and verdict.action is Action.BLOCK:
            self.blocked = True
