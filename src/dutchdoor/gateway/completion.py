"""Steps 7 and 8: the runtime accepts, then tokens stream through the text rules."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence

from dutchdoor.access.extraction import NOTHING, cost_of, row_cost
from dutchdoor.errors import Unavailable
from dutchdoor.gateway.admission import content_refused
from dutchdoor.gateway.attempt import Attempt, Ending
from dutchdoor.gateway.mailbox import Mailbox
from dutchdoor.gateway.model import (
    InferenceRequest,
    Outcome,
    Started,
    TextDelta,
    drawn,
)
from dutchdoor.gateway.screen import Screen
from dutchdoor.guard.model import Action, Verdict, allow, worst
from dutchdoor.runtime.model import verdict_of
from dutchdoor.runtime.protocol import Accepted, Done, Token, VerdictMessage

__all__ = ["Completion", "check_verdicts", "verdicts_of"]


class Completion:
    """One completion on its way out: knows what has left, and tells `ending` before it leaves."""

    def __init__(
        self,
        attempt: Attempt,
        ending: Ending,
        screen: Screen,
        *,
        request: InferenceRequest,
        rules: str,
    ) -> None:
        self._attempt = attempt
        self._ending = ending
        self._screen = screen
        self._request = request
        self._shown = NOTHING
        sampling = request.sampling
        self._is_steered = bool(
            sampling.logit_bias or sampling.frequency_penalty or sampling.presence_penalty
        )
        self._rules = rules
        self._ready: deque[list[Token]] = deque()
        self.tail: TextDelta | None = None
        """Tokens that may leave only after the end is durable."""

    async def events(self) -> AsyncGenerator[Started | TextDelta, None]:
        """The start, then what may leave; ends once the outcome is known.

        Raises DutchdoorError: what cut it, or what the runtime failed with.
        """
        mailbox = self._attempt.mailbox
        # 7 runtime: prefill, and the probe's verdict before the first token
        first = await mailbox.next()
        yield self._started(first)
        # 8 tokens, held back while a rule could still forbid them
        try:
            async for delta in self._judged(mailbox):
                yield delta
        except Exception:
            # What was cleared before something broke may leave; after a cut nothing does.
            for delta in self._out(mailbox):
                yield delta
            raise

    async def _judged(self, mailbox: Mailbox) -> AsyncGenerator[TextDelta, None]:
        ending = self._ending
        while True:
            # What came together leaves together: nothing that may leave waits for what is to come.
            if self._ready and not mailbox.waits():
                for delta in self._out(mailbox):
                    yield delta
            letter = await mailbox.next()
            if isinstance(letter, Token):
                if not letter.prompt:
                    ending.completion_tokens += 1
                self._check(letter)
                cleared = self._screen.push(letter)
                if not self._screen.blocked:
                    if cleared:
                        self._ready.append(cleared)
                    continue
                for delta in self._out(mailbox):
                    yield delta
                ending.hold_rest()
                self.tail = self._leave(cleared)
                self._end(Outcome.BLOCKED, "content_filter", ())
                return
            elif isinstance(letter, Done):
                for delta in self._out(mailbox):
                    yield delta
                ending.completion_tokens = max(ending.completion_tokens, letter.completion_tokens)
                self._finish(letter)
                return
            else:
                raise _broken()

    def _out(self, mailbox: Mailbox) -> Iterator[TextDelta]:
        """What is cleared, as it leaves. Raises DutchdoorError: cut meanwhile; the rest stays."""
        while self._ready:
            if mailbox.cut is not None:
                self._ready.clear()
                raise mailbox.cut
            delta = self._leave(self._ready.popleft())
            if delta is not None:
                yield delta

    def more(self) -> bool:
        """Whether the next text leaves together with the last."""
        return bool(self._ready)

    def _check(self, token: Token) -> None:
        """Raises Unavailable where a token shows more than was asked for, or less.

        A field that is missing is an error, never empty; one that nobody set aside is not counted,
        and so does not leave.
        """
        asked = self._request.sampling.logprobs
        shows = token.logprob is not None
        too_much = (shows or bool(token.top)) and asked < 0
        if too_much or len(token.top) > max(asked, 0) or (token.top and not shows):
            raise _broken()
        if asked >= 0 and not shows and not token.prompt:
            raise _broken()

    def _started(self, letter: object) -> Started:
        attempt, ending = self._attempt, self._ending
        if isinstance(letter, Done) and letter.reason == "content_filter":
            verdicts = verdicts_of(letter.verdicts)
            ending.verdicts.extend(verdicts)
            blocking = [v for v in verdicts if v.action is Action.BLOCK]
            ending.outcome, ending.reason = Outcome.BLOCKED, "content_filter"
            raise content_refused(blocking[0] if blocking else None)
        if not isinstance(letter, Accepted):
            raise _broken()
        verdicts = verdicts_of(letter.verdicts)
        ending.verdicts.extend(verdicts)
        check_verdicts(attempt, verdicts)
        if letter.prompt_tokens > attempt.prompt_tokens:
            raise _broken()  # More was read than was reserved.
        assert attempt.decision is not None, "the decision was found"
        return Started(
            inference=attempt.inference,
            model=attempt.decision.model,
            begun=attempt.begun,
            prompt_tokens=attempt.prompt_tokens,
        )

    def _finish(self, done: Done) -> None:
        rest = self._screen.finish()
        self._ending.hold_rest()
        self.tail = self._leave(rest)
        if self._screen.blocked:
            self._end(Outcome.BLOCKED, "content_filter", done.verdicts)
        elif done.reason == "cancelled":
            raise _broken()  # Nobody here asked for it.
        else:
            blocked = done.reason == "content_filter"
            outcome = Outcome.BLOCKED if blocked else Outcome.COMPLETED
            self._end(outcome, done.reason, done.verdicts)

    def _end(self, outcome: Outcome, reason: str, verdicts: Sequence[VerdictMessage]) -> None:
        ending = self._ending
        ending.outcome, ending.reason = outcome, reason
        self._count()
        known = list(ending.verdicts)
        ending.verdicts.extend(v for v in verdicts_of(verdicts) if v not in known)
        ending.verdicts.append(self._screen.worst or allow("rules", self._rules))

    def _leave(self, tokens: Sequence[Token]) -> TextDelta | None:
        """`tokens` as they leave; counted before, so that the record never says less."""
        if not tokens:
            return None
        text = "".join(token.text for token in tokens)
        ending, h = self._ending, self._attempt.hidden_size
        ending.released.append(text)
        ending.released_tokens += sum(not token.prompt for token in tokens)
        for token in tokens if self._request.sampling.logprobs >= 0 else ():
            if token.logprob is not None:
                named = {token.token_id, *(row.token_id for row in token.top)}
                self._shown += row_cost(len(named), hidden_size=h)
        self._count()
        return TextDelta(text, tuple(tokens))

    def _count(self) -> None:
        """What has been given away so far: what is shown, and what the draws tell by themselves."""
        ending = self._ending
        ending.cost = self._shown
        if self._is_steered:
            told = drawn(self._request, tokens=ending.completion_tokens)
            ending.cost += cost_of(told, hidden_size=self._attempt.hidden_size)


def verdicts_of(messages: Sequence[VerdictMessage]) -> list[Verdict]:
    """The runtime's verdicts as the guard's own."""
    return [verdict_of(message) for message in messages]


def check_verdicts(attempt: Attempt, verdicts: Sequence[Verdict]) -> None:
    """Raises Unavailable where a blocking grant's prompt went on without a verdict that lets it.

    The runtime judges by itself; this is the second pair of eyes, and no verdict is a block.
    """
    if attempt.blocking and worst(verdicts) is Action.BLOCK:
        message = "the runtime went on without a verdict that allows it"
        hint = "restart the runtime; it must hold the probe that the decision names"
        raise Unavailable(message, code="guard_missing", hint=hint)


def _broken() -> Unavailable:
    return Unavailable("the runtime's answer is not one", code="runtime_failed", hint="try again")
