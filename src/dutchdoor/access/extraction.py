"""The extraction accountant: how much of the model's linear maps a request gives away.

A model's last layer is a linear map W from h hidden dimensions to V tokens, h far below V. Whoever
holds h + 1 independent rows that passed through it reconstructs it exactly; rounding and bf16 do
not help (docs/security/extraction.md has the measured table). So what is counted is neither
requests nor tokens but *numbers*, h of which make one *vector*, pooled over all people of one
bundle and for ever. The rules here are pure; `store.py` keeps the pool.

What each released thing costs:

1. A hidden vector (one tap, one position): one vector. It is h numbers, exact.
2. A log-probability, whatever made it known (the sampled token's own, one of the k most likely, an
   echoed prompt's): one number. A row that shows h numbers or more costs one vector, as a whole
   row does.
3. A token drawn under a logit bias, logprobs or not: one number for each bit that the draw can
   tell, ceil(log2(biases + 1)). Bisecting with biases reads any logit that way. Where the answer
   ends is a draw too.
4. Penalties bias the tokens that the answer has already: up to h - 1 of them leave any row with
   fewer than h known numbers (see below) and cost nothing; draws after that cost as under a bias
   on all tokens written.
5. Text that is sampled freely costs nothing here: it is what budgets of tokens are for.

Why h numbers make a vector: a row has h unknowns of its own (its hidden vector), so that fewer
than h known entries fit every W, and say nothing of W or of h. Under a pool of B < h vectors at
most B rows can ever have h known entries, however requests are cut, mixed or spread over people:
all other rows fit any W, and B rows have a rank below h. One number is not free either: the second
moments of many partial rows betray W (docs/decisions/0010).
Source: Carlini et al. 2024, "Stealing Part of a Production Language Model" (arXiv 2403.06634),
sections 4 to 6; Finlayson et al. 2024, "Logits of API-Protected LLMs Leak Proprietary
Information" (arXiv 2403.09539), section 3; the counting argument is our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from dutchdoor.errors import Invalid

__all__ = ["NOTHING", "Asked", "Cost", "cost_of", "pool_text", "row_cost", "vectors_worth"]


@dataclass(frozen=True)
class Cost:
    """What is given away. numbers: beside the vectors, h of them are worth one more."""

    vectors: int = 0
    numbers: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.vectors + other.vectors, self.numbers + other.numbers)


NOTHING = Cost()


@dataclass(frozen=True)
class Asked:
    """What a request asks to be shown, as far as linear maps are concerned; all counts >= 0.

    taps, positions: of an activation read. rows: positions at which log-probabilities are shown,
    prompt and completion together. row_numbers: log-probabilities at each of them. draws: tokens
    drawn, the end included. biases: tokens under a logit bias. penalised: a penalty is asked for.
    """

    taps: int = 0
    positions: int = 0
    rows: int = 0
    row_numbers: int = 0
    draws: int = 0
    biases: int = 0
    penalised: bool = False


def cost_of(asked: Asked, *, hidden_size: int) -> Cost:
    """What answering `asked` releases at most.

    hidden_size: h of the bundle, >= 1.
    Raises Invalid: a negative count, or h < 1; nothing can be counted then, so nothing released.
    Source: the rules 1 to 4 at the head of this file.
    """
    counts = (asked.taps, asked.positions, asked.rows, asked.row_numbers, asked.draws, asked.biases)
    if hidden_size < 1 or min(counts) < 0:
        raise Invalid("vectors cannot be counted for this request", code="bad_amounts")
    each = row_cost(asked.row_numbers, hidden_size=hidden_size)
    shown = Cost(
        asked.taps * asked.positions + asked.rows * each.vectors, asked.rows * each.numbers
    )
    tried = asked.biases + (asked.draws if asked.penalised else 0)
    free = 0 if asked.biases else hidden_size - 1
    drawn = max(0, asked.draws - free) if tried else 0
    # `tried` tokens and the best of the others: so many ways a draw can end, in bits, rounded up.
    return shown + Cost(numbers=drawn * tried.bit_length())


def row_cost(numbers: int, *, hidden_size: int) -> Cost:
    """What one row costs at which `numbers` log-probabilities are known."""
    return Cost(vectors=1) if numbers >= hidden_size else Cost(numbers=numbers)


def vectors_worth(vectors: int, numbers: int, hidden_size: int) -> int:
    """`vectors` and `numbers` together, in whole vectors, rounded up. hidden_size: >= 1."""
    return vectors + -(-numbers // hidden_size)


def pool_text(released: int, hidden_size: int) -> str:
    """The bundle's pooled state for people: `144 of 576 independent vectors released`."""
    return f"{released} of {hidden_size} independent vectors released"
