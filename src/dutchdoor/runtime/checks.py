"""Whether a request is one at all: bounds and kinds, before any tensor is touched."""

from __future__ import annotations

import math
import re
import string

from dutchdoor.errors import Invalid, Refused
from dutchdoor.runtime.model import EngineFacts, RuntimeLimits
from dutchdoor.runtime.protocol import (
    Amend,
    ChatMessage,
    FitProbe,
    Generate,
    ReadActivations,
)

__all__ = [
    "CANARY_ALPHABETS",
    "check_amend",
    "check_fit",
    "check_generate",
    "check_prompt",
    "check_prompt_tokens",
    "check_read",
    "layer_of",
]

CANARY_ALPHABETS = {"digits": string.digits, "letters": string.ascii_lowercase}
ROLES = frozenset({"system", "user", "assistant"})
_TAP = re.compile(r"blocks\.(0|[1-9][0-9]{0,3})\.hook_resid_post")


def check_prompt(
    limits: RuntimeLimits,
    chat: list[ChatMessage],
    text: str | None,
    token_ids: list[int] | None,
    vocabulary: int,
) -> None:
    """Raises Invalid unless exactly one kind of prompt is given, in bounds."""
    if [bool(chat), text is not None, token_ids is not None].count(True) != 1:
        message = "exactly one of chat, text and token ids makes a prompt"
        raise Invalid(message, code="bad_prompt")
    if len(chat) > limits.messages_max:
        raise Invalid(f"more than {limits.messages_max} messages", code="bad_prompt")
    for turn in chat:
        # A chat template writes the role as it is: an invented one could forge a turn.
        if turn.role not in ROLES:
            hint = "use system, user or assistant"
            raise Invalid("a message of an unknown role", code="bad_prompt", hint=hint)
    characters = sum(len(turn.content) for turn in chat) + len(text or "")
    if characters > limits.text_bytes_max:
        raise Invalid("the prompt is too long", code="prompt_too_long")
    if token_ids is not None and not all(0 <= n < vocabulary for n in token_ids):
        raise Invalid("a token id that the model does not have", code="bad_prompt")


def check_prompt_tokens(limits: RuntimeLimits, facts: EngineFacts, count: int) -> None:
    """Raises Invalid where a prompt of `count` tokens is empty or too long."""
    most = min(limits.prompt_tokens_max, facts.context)
    if count == 0:
        raise Invalid("an empty prompt", code="bad_prompt", hint="give at least one token")
    if count > most:
        message = f"the prompt has {count} tokens, and {most} are the most"
        raise Invalid(message, code="prompt_too_long", hint="shorten the prompt")


def check_generate(work: Generate, limits: RuntimeLimits, facts: EngineFacts) -> None:
    """Raises Invalid: out of bounds. Raises Refused: a combination that gives the model away."""
    check_prompt(limits, work.chat, work.text, work.token_ids, facts.vocabulary)
    _check(0 <= work.tokens_max <= limits.completion_tokens_max, "tokens_max")
    _check(work.tokens_max > 0 or work.echo, "tokens_max", "0 tokens need echo")
    _check(_within(work.temperature, 0.0, 10.0), "temperature")
    _check(_within(work.top_p, 0.0, 1.0) and work.top_p > 0, "top_p")
    _check(_within(work.frequency_penalty, -2.0, 2.0), "frequency_penalty")
    _check(_within(work.presence_penalty, -2.0, 2.0), "presence_penalty")
    _check(-1 <= work.logprobs <= limits.top_logprobs_max, "logprobs")
    _check(0 <= work.hold_back_tokens <= limits.hold_back_tokens_max, "hold_back_tokens")
    _check(work.seed is None or -(2**63) <= work.seed < 2**63, "seed")
    _check(len(work.stop) <= limits.stops_max, "stop")
    _check(all(0 < len(stop) <= limits.stop_characters_max for stop in work.stop), "stop")
    _check(len(work.logit_bias) <= limits.logit_biases_max, "logit_bias")
    for token_id, bias in work.logit_bias.items():
        _check(0 <= token_id < facts.vocabulary and _within(bias, -100.0, 100.0), "logit_bias")
    if work.logit_bias and work.logprobs >= 0:
        # Biases lift any token into the top list: together they read out whole logit rows.
        # Source: Carlini et al. 2024, arXiv 2403.06634.
        message = "logit_bias and logprobs exclude each other"
        raise Refused(message, code="bias_with_logprobs", hint="ask for one of the two")


def check_read(work: ReadActivations, limits: RuntimeLimits, facts: EngineFacts) -> list[int]:
    """The layers of the taps, in their order. Raises Invalid: out of bounds or no such tap."""
    check_prompt(limits, work.chat, work.text, None, facts.vocabulary)
    _check(1 <= work.positions <= limits.positions_max, "positions")
    _check(0 < len(work.taps) <= limits.taps_max, "taps")
    _check(len(set(work.taps)) == len(work.taps), "taps")
    return [layer_of(tap, facts.layers) for tap in work.taps]


def check_fit(work: FitProbe, limits: RuntimeLimits) -> None:
    """Raises Invalid where there are no examples of both labels, or too many."""
    _check(len(work.examples) <= limits.examples_max, "examples")
    labels = {example.label for example in work.examples}
    _check(labels == {0, 1}, "examples", "examples of both labels are needed")
    characters = sum(len(example.text) for example in work.examples)
    _check(characters <= 16 * limits.text_bytes_max, "examples")


def check_amend(work: Amend, limits: RuntimeLimits) -> None:
    """Raises Invalid: out of bounds, or so few prompts that an average would show one of them."""
    if work.method == "canaries":
        _check_canaries(work, limits)
        return
    _check(not work.canaries, "canaries", "they belong to the method canaries")
    for name, texts in (("prompts", work.prompts), ("controls", work.controls)):
        _check(limits.amend_prompts_min <= len(set(texts)) <= limits.amend_prompts_max, name)
        _check(len(texts) == len(set(texts)), name, "each is given once")
    for name, texts in (("refusals", work.refusals), ("answers", work.answers)):
        _check(0 < len(texts) <= limits.amend_openings_max and all(texts), name)
        _check(all(len(text) <= limits.stop_characters_max for text in texts), name)
    most = {"quantisation": 16, "ablation": 400, "steering": 400}.get(
        work.method, limits.amend_steps_max
    )
    _check(len(work.points) <= limits.amend_points_max, "points")
    _check(bool(work.points) or work.method == "served", "points")
    _check(all(0 <= point <= most for point in work.points), "points")
    if work.method == "quantisation":
        _check(all(point >= 2 for point in work.points), "points", "2 to 16 bits")
    organism = work.organism
    rows = work.rows + (organism.rows if organism else [])
    _check(len(rows) <= limits.amend_rows_max, "rows")
    if organism is not None:
        _check(bool(organism.rows) and 1 <= organism.steps <= limits.amend_steps_max, "organism")
    if work.method in {"fine_tuning", "many_shot"}:
        _check(bool(work.rows), "rows")
    if work.method in {"ablation", "steering"}:
        _check(bool(work.refused) and bool(work.answered), "refused and answered")
    for texts in (work.refused, work.answered):
        _check(len(texts) <= limits.amend_prompts_max, "refused and answered")
    rates = [work.learning_rate, *([organism.learning_rate] if organism else [])]
    _check(all(_within(rate, 1e-9, 1.0) for rate in rates), "learning_rate")
    _check(0 <= work.seed < 2**53, "seed")
    _check(all(row.prompt and row.answer for row in rows), "rows", "each has both sides")
    texts = [*work.prompts, *work.controls, *work.refused, *work.answered, work.prefill]
    texts += [text for row in rows for text in (row.prompt, row.answer)]
    _check(sum(len(text) for text in texts) <= limits.text_bytes_max, "prompts and rows")


def _check_canaries(work: Amend, limits: RuntimeLimits) -> None:
    """As `check_amend`: what leaves is a mean over the canaries that were seen equally often."""
    found = work.canaries
    _check(len(found) <= limits.amend_prompts_max, "canaries")
    _check(len({row.form for row in found}) == len(found), "canaries", "each has its own form")
    for times in {row.times for row in found}:
        count = sum(row.times == times for row in found)
        _check(count >= limits.amend_prompts_min, "canaries", "8 or more for each count")
    _check(bool(found), "canaries")
    for row in found:
        _check(row.form.endswith("{}") and row.form.count("{}") == 1, "form", "it ends with {}")
        _check(2 < len(row.form) <= limits.stop_characters_max, "form")
        letters = set(CANARY_ALPHABETS[row.alphabet])
        _check(4 <= len(row.secret) <= 32 and set(row.secret) <= letters, "secret")
        _check(0 <= row.times <= limits.amend_steps_max, "times")
    _check(15 <= work.candidates <= 1023, "candidates")
    others = (work.prompts, work.controls, work.refusals, work.answers, work.points)
    _check(not any(others) and work.organism is None, "prompts", "canaries come alone")
    _check(0 < len(work.rows) <= limits.amend_rows_max, "rows")
    _check(all(row.prompt and row.answer for row in work.rows), "rows", "each has both sides")
    shown = sum(row.times for row in found) + len(work.rows)
    _check(shown <= 4 * limits.amend_steps_max, "times")
    _check(_within(work.learning_rate, 1e-9, 1.0), "learning_rate")
    _check(0 <= work.seed < 2**53, "seed")
    texts = [text for row in work.rows for text in (row.prompt, row.answer)]
    _check(sum(len(text) for text in texts) <= limits.text_bytes_max, "rows")


def layer_of(tap: str, layers: int) -> int:
    """The layer of a tap's name, `blocks.14.hook_resid_post`. Raises Invalid: no such tap."""
    found = _TAP.fullmatch(tap)
    if found is None or int(found[1]) >= layers:
        hint = f"taps are blocks.0.hook_resid_post to blocks.{layers - 1}.hook_resid_post"
        raise Invalid("there is no such tap", code="bad_tap", hint=hint)
    return int(found[1])


def _within(value: float, low: float, high: float) -> bool:
    return math.isfinite(value) and low <= value <= high


def _check(holds: bool, name: str, why: str = "") -> None:
    if not holds:
        message = f"{name} is out of bounds" + (f": {why}" if why else "")
        raise Invalid(message, code="bad_request", hint=f"see the limits of {name}")
