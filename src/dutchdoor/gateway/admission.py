"""Steps 1 to 5 of an inference: everything that has to say yes before it may begin."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from dutchdoor.access.extraction import Cost, cost_of
from dutchdoor.access.model import (
    AccessRequest,
    Allowed,
    Amounts,
    ContentMode,
    MonitorMode,
    Refusal,
)
from dutchdoor.clock import Clock
from dutchdoor.config import LimitsConfig
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.gateway.attempt import Attempt
from dutchdoor.gateway.model import (
    InferenceRequest,
    Prompt,
    RefusedByGuard,
    RefusedByRule,
    shown_at_most,
)
from dutchdoor.gateway.ports import Access, Decisions, Rules, Runtime
from dutchdoor.gateway.standing import decision_in_force
from dutchdoor.guard.model import HAZARD_WORDS, Action, Verdict
from dutchdoor.runtime.protocol import Tokenize, Tokenized

__all__ = ["Admission"]

ACCESS_THREADS = 4
KEPT_MODES = (ContentMode.COMMITMENT, ContentMode.FULL)
_Result = TypeVar("_Result")


class Admission:
    """Asks access, the decisions, the budgets and the text rules, in that order."""

    def __init__(
        self,
        *,
        access: Access,
        decisions: Decisions,
        rules: Rules,
        runtime: Runtime,
        limits: LimitsConfig,
        clock: Clock,
        bundle: str = "",
    ) -> None:
        """bundle: the one that is served here, where that is known; else the runtime says so."""
        self._bundle = bundle
        self.access = access
        self._decisions = decisions
        self._rules = rules
        self._runtime = runtime
        self._limits = limits
        self._clock = clock
        self._threads = ThreadPoolExecutor(ACCESS_THREADS, thread_name_prefix="access")

    async def in_thread(self, work: Callable[..., _Result], *args: Any, **named: Any) -> _Result:
        """The result of blocking `work`, off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **named))

    async def tidy(self) -> None:
        """Give back what is set aside and not used. Raises Unavailable."""
        await self.in_thread(self.access.tidy)

    async def aclose(self) -> None:
        """Give back what is set aside, and the threads."""
        with contextlib.suppress(DutchdoorError):  # What stays set aside counts as used.
            await self.in_thread(self.access.give_back)
        self._threads.shutdown(wait=False)

    async def authenticate(self, attempt: Attempt) -> None:
        """Step 1. Raises Refused: the key is not one, is revoked, or its person is inactive."""
        key, attempt.key = attempt.key, ""
        attempt.caller = self.access.authenticate_at_hand(key)
        if attempt.caller is None:
            attempt.caller = await self.in_thread(self.access.authenticate, key)

    async def find_decision(self, attempt: Attempt, model: str | None) -> None:
        """Step 2: what the runtime holds, and the decision in force for exactly that.

        model: the name the caller gave; None where the route takes none.
        Raises NotInForce: there is no decision. Raises NotFound: no such model here. Raises
        Unavailable: the runtime is down, or serves without the probe that the decision demands.
        """
        if self._bundle:
            # Without a decision the runtime is closed: the caller hears why, not that it is down.
            attempt.bundle = self._bundle
            decision_in_force(self._decisions, self._bundle, self._clock.now_ms())
        # What a runtime holds does not change while its connection stands.
        description = self._runtime.described() or await self._runtime.describe()
        attempt.description = description
        if self._bundle and description.bundle != self._bundle:
            message = "the runtime holds another bundle than the one served here"
            raise Unavailable(message, code="other_bundle", hint="restart the server")
        attempt.bundle = description.bundle
        in_force = decision_in_force(self._decisions, description.bundle, self._clock.now_ms())
        decision = attempt.decision = in_force.decision
        attempt.decision_index = in_force.index
        if model is not None and model not in {decision.model, description.model}:
            hint = f"the model here is called '{decision.model}': see GET /v1/models"
            raise NotFound("there is no model of this name", code="model_not_found", hint=hint)
        probe = decision.guard.probe
        if probe and description.probe != probe:
            message = "the runtime does not hold the probe that the decision names"
            hint = "restart the runtime with the bundle that the decision was made for"
            raise Unavailable(message, code="guard_mismatch", hint=hint)

    async def decide(self, attempt: Attempt) -> None:
        """Step 3. Raises RefusedByRule: a policy, the stage, or the grant says no."""
        caller, decision = attempt.caller, attempt.decision
        assert caller is not None, "authenticated first"
        assert decision is not None, "the decision was found first"
        opened = decision.depths_for(caller.person.audience, caller.person.id)
        attempt.asked = AccessRequest(
            caller=caller,
            action=attempt.action,
            bundle=decision.bundle,
            decision=decision.id,
            level=str(decision.level),
            stage=decision.stage,
            depths=attempt.depths,
            audience_depths=opened,
        )
        answer: Allowed | Refusal | None = self.access.decide_at_hand(attempt.asked)
        if answer is None:
            answer = await self.in_thread(self.access.decide, attempt.asked)
        if isinstance(answer, Refusal):
            raise RefusedByRule(answer)
        attempt.allowed = answer
        grant = answer.grant
        if grant.content_mode not in KEPT_MODES:
            message = f"content mode '{grant.content_mode}' is not available yet"
            hint = "ask for a grant with content mode 'commitment' or 'full'"
            raise RefusedByRule(
                Refusal("content_mode_unavailable", message, "content_mode", hint, grant=grant)
            )
        # Only the internal audit may watch without stopping; anybody else's grant blocks, whatever
        # it says, unless the decision opens the depth `audit` to them.
        audits = Depth.AUDIT in opened and Depth.AUDIT in grant.depths
        attempt.blocking = not (audits and grant.monitor_mode is MonitorMode.OBSERVE)

    async def read_prompt(self, attempt: Attempt, prompt: Prompt) -> Tokenized:
        """The prompt as the model will see it: its tokens and its text.

        The runtime counts, because only it has the tokenizer; token ids come back as text, so
        that the text rules can read them.
        Raises Invalid: longer than a prompt may be, or not tokens of this model.
        """
        ids = None if prompt.token_ids is None else list(prompt.token_ids)
        request = Tokenize(f"{attempt.inference}.tokens", list(prompt.chat), prompt.text, ids)
        tokenized = await self._runtime.tokenize(request)
        attempt.prompt_tokens = len(tokenized.token_ids)
        attempt.prompt_text = b"".join(tokenized.pieces).decode("utf-8", "replace")
        limit = self._limits.prompt_tokens_max
        if attempt.prompt_tokens > limit:
            message = f"the prompt has {attempt.prompt_tokens} tokens, {limit} are allowed"
            hint = "shorten the prompt"
            raise Invalid(message, code="context_length_exceeded", hint=hint)
        if attempt.prompt_tokens == 0:
            message = "the prompt has no tokens"
            raise Invalid(message, code="empty_prompt", hint="send some text")
        return tokenized

    def tokens_max(self, attempt: Attempt, asked: int | None) -> int:
        """How many tokens may be written. Raises Invalid: more than the limits or the model take.

        Never quietly less than what was asked for.
        """
        assert attempt.description is not None, "described first"
        room = attempt.description.context - attempt.prompt_tokens
        limit = self._limits.completion_tokens_max
        if asked is None:
            return max(0, min(self._limits.completion_tokens_default, room, limit))
        if asked > limit:
            message = f"max_tokens is {asked}, at most {limit} are allowed here"
            raise Invalid(message, code="max_tokens_too_large", hint=f"ask for {limit} or fewer")
        if asked > room:
            message = (
                f"the prompt's {attempt.prompt_tokens} tokens and max_tokens {asked} exceed the "
                f"model's context of {attempt.description.context}"
            )
            hint = "shorten the prompt or ask for fewer tokens"
            raise Invalid(message, code="context_length_exceeded", hint=hint)
        return asked

    def cost(self, attempt: Attempt, request: InferenceRequest, tokens_max: int) -> Cost:
        """What the completion can release of the model's linear maps at most."""
        asked = shown_at_most(request, prompt_tokens=attempt.prompt_tokens, tokens_max=tokens_max)
        return cost_of(asked, hidden_size=attempt.hidden_size)

    async def reserve(self, attempt: Attempt, amounts: Amounts) -> None:
        """Step 4. Raises RefusedByRule: the grant's or the model's budget does not cover it."""
        assert attempt.allowed is not None, "allowed first"
        assert attempt.decision is not None, "the decision was found first"
        grant = attempt.allowed.grant
        attempt.reservation = self.access.reserve_at_hand(attempt.inference, grant, amounts)
        if attempt.reservation is not None:
            return
        answer = await self.in_thread(
            self.access.reserve,
            attempt.inference,
            grant,
            amounts,
            vectors_max=attempt.decision.vectors_max,
            hidden_size=attempt.hidden_size,
        )
        if isinstance(answer, Refusal):
            raise RefusedByRule(answer)
        attempt.reservation = answer

    def judge_prompt(self, attempt: Attempt, prompt: Prompt) -> None:
        """Step 5: the text rules on the prompt as the model sees it, and on each way to read it.

        Raises RefusedByRule: a rule blocks, and the grant does not only observe.
        """
        turns = [turn.content for turn in prompt.chat]
        # Joined as well, so that a phrase cut over several turns is read whole.
        texts = {attempt.prompt_text, "\n".join(turns), "".join(turns), prompt.text or ""}
        verdicts = [self._rules.judge(text) for text in sorted(texts) if text]
        found = [verdict for verdict in verdicts if verdict.action is not Action.ALLOW]
        blocking = [verdict for verdict in found if verdict.action is Action.BLOCK]
        verdict = (blocking or found or verdicts)[0]
        attempt.verdicts.append(verdict)
        if blocking and attempt.blocking:
            raise content_refused(verdict)


def content_refused(verdict: Verdict | None) -> RefusedByGuard:
    """The refusal of a prompt that the guard blocks; to the caller it names the hazard alone.

    The record keeps the rule, the layer, the score and the threshold.
    """
    names = verdict.categories if verdict is not None else ()
    hazards = [HAZARD_WORDS[name] for name in names if name in HAZARD_WORDS]
    about = " and ".join(hazards) or "harm that it does not name further"
    message = f"the guard refuses this prompt: it reads it as a request about {about}"
    hint = (
        "if the guard is wrong, tell the operator of this server and quote the inference id of "
        "this answer: the record says why"
    )
    rule = ", ".join(verdict.reasons[:3]) if verdict and verdict.layer == "rules" else "guard"
    return RefusedByGuard(Refusal("content_filter", message, rule or "guard", hint))
