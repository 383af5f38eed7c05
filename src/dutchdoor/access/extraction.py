"""The extraction accountant: how much of the model's linear maps a request gives away.

A model's last layer is a linear map W from h hidden dimensions to V tokens, h far below V. Whoever
holds h + 1 independent vectors that passed through one of the model's linear maps reconstructs
that map exactly; rounding and bf16 do not help (docs/security/extraction.md has the measured
table). So what is counted is neither requests nor tokens but *independent vectors*, pooled over
all people of one bundle. The rules here are pure; `store.py` keeps the pool.

What each released thing costs, in vectors:

1. Activations: one for each tap and position. A hidden vector is a row of h numbers, exact.
2. Full rows of logits or log-probabilities: one each. V > h equations pin the row's h unknowns and
   leave V - h equations on W itself.
3. The k most likely log-probabilities, k <= 20 and k < h: none. A row whose prompt is new adds k
   equations and h unknowns (its own hidden vector): since k < h, no number of such rows determines
   W. Rows beyond those limits count as full ones.
4. Log-probabilities of tokens that the caller chose (echo of a prompt, log-probabilities under a
   logit bias): those of one position add up to a row. Only rows with more than h known entries say
   anything of W, and V * h entries are needed for all of it, that is V to a vector. Here h of them
   already count as one vector, rounded up in each request: too strict by V / h, never too lax.

Rule 3 leaves one log-probability a token that chance chose: the sampled token's own. It takes
V * h of them at repeated prompts to determine W (28 million for SmolLM2-135M); that many tokens is
what a grant's token budget is for.
Source: Carlini et al. 2024, "Stealing Part of a Production Language Model" (arXiv 2403.06634),
sections 4 and 5; Finlayson et al. 2024, "Logits of API-Protected LLMs Leak Proprietary
Information" (arXiv 2403.09539), section 3; the counting argument of rules 3 and 4 is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from dutchdoor.errors import Invalid

__all__ = ["TOP_LOGPROBS_FREE_MAX", "Asked", "pool_text", "vectors_of"]

TOP_LOGPROBS_FREE_MAX = 20
"""The most likely log-probabilities a position may show without costing a vector."""


@dataclass(frozen=True)
class Asked:
    """What a request asks to be shown, as far as linear maps are concerned; all counts >= 0.

    taps, positions: of an activation read. logprob_rows: positions at which log-probabilities are
    shown, prompt and completion together, all choices and retries included. top_logprobs: the k of
    those. echoed: of those positions, the prompt's. biased: the request carries a logit bias or
    names token ids. full_rows: rows of all V logits or log-probabilities.
    """

    taps: int = 0
    positions: int = 0
    logprob_rows: int = 0
    top_logprobs: int = 0
    echoed: int = 0
    biased: bool = False
    full_rows: int = 0


def vectors_of(asked: Asked, *, hidden_size: int) -> int:
    """The independent vectors that answering `asked` releases at most.

    hidden_size: h of the bundle, >= 1.
    Raises Invalid: a negative count, or h < 1; nothing can be counted then, so nothing released.
    Source: the rules 1 to 4 at the head of this file.
    """
    counts = (
        asked.taps,
        asked.positions,
        asked.logprob_rows,
        asked.top_logprobs,
        asked.echoed,
        asked.full_rows,
    )
    if hidden_size < 1 or min(counts) < 0 or asked.echoed > asked.logprob_rows:
        raise Invalid("vectors cannot be counted for this request", code="bad_amounts")
    vectors = asked.taps * asked.positions + asked.full_rows
    if asked.top_logprobs > TOP_LOGPROBS_FREE_MAX or asked.top_logprobs >= hidden_size:
        return vectors + asked.logprob_rows
    # The token at each biased or echoed position is the caller's choice, and so, under a bias, are
    # the k most likely.
    chosen = asked.echoed
    if asked.biased:
        chosen = asked.logprob_rows * (asked.top_logprobs + 1)
    return vectors + -(-chosen // hidden_size)


def pool_text(released: int, hidden_size: int) -> str:
    """The bundle's pooled state for people: `144 of 576 independent vectors released`."""
    return f"{released} of {hidden_size} independent vectors released"
