"""The attacks on linear layers, run as an auditor may run them: within the depth and the budget.

Whoever holds as many independent vectors as the model is wide reconstructs its linear layers
exactly (docs/security/extraction.md has the measured table). Here the vectors that the server
really gave away are taken for what they are worth:

1. how many were given, and what refused the rest;
2. their rank r, by singular values. A layer that is estimated from vectors of rank r is unknown on
   the other h - r dimensions: for a layer that treats all directions alike, the relative error is
   sqrt(1 - r / h). That error is the score; it is 0 where r reaches h.
3. how well a least-squares map between two taps, fitted on two thirds, imitates the last third;
4. the rank of the most likely log-probabilities over the tokens they share, where they are given.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dutchdoor.audit.evaluations.door import Door, NotMeasured, Reply
from dutchdoor.audit.measure import decimal

__all__ = [
    "Attack",
    "attack",
    "held_out_error",
    "layer_error",
    "rank_of",
]

VECTORS_MAX = 128
"""At most so many vectors are spent, even where the budget has more: spent is spent for ever."""
TOP_ROWS = 4
TOP_TOKENS = 16
_RANK_TOLERANCE = 1e-5

_TEXTS = (
    (
        "The harbour wakes before the town does, and the gulls know it. Boats come in with the "
        "tide, crates are stacked on the quay, and somebody always argues about the price of ice."
    ),
    (
        "A printer sets each line by hand, letter after letter, upside down and backwards. When "
        "the page is locked in its frame he pulls one proof, reads it aloud, and mends it."
    ),
    (
        "Snow fell for nine days. On the tenth the road to the pass was opened, and the first cart "
        "brought flour, lamp oil, two letters and a box of oranges from the south."
    ),
    (
        "In algebra we write letters for numbers we do not know yet. Then we move them about until "
        "one of them stands alone, and the others tell us what it is worth."
    ),
    (
        "The choir practises on Thursdays in the old fire station. There is no piano, but the hose "
        "tower has an echo that makes twelve voices sound like forty."
    ),
    (
        "To make ink, boil oak galls in rain water, add iron salt and a little gum, and wait a "
        "week. It goes on pale and turns black on the page within a day."
    ),
)

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Attack:
    """What an attack got. hidden: h of the model. error: of a layer estimated from it, 0 to 1."""

    hidden: int
    vectors: int
    rank: int
    error: float
    details: Mapping[str, str] = field(default_factory=dict)


def rank_of(rows: Matrix) -> int:
    """The numerical rank of `rows` [n, columns]: singular values above 1e-5 of the largest.

    float32 answers carry about seven digits, so that rounding alone stays below the tolerance.
    """
    if not rows.size:
        return 0
    # Each row weighs the same: one huge vector must not hide the others.
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.svd(rows / np.where(norms > 0, norms, 1.0), compute_uv=False)
    return int((values > _RANK_TOLERANCE * values[0]).sum()) if values[0] > 0 else 0


def layer_error(rank: int, hidden: int) -> float:
    """The relative error of a layer estimated from vectors of this rank: sqrt(1 - rank / h)."""
    return math.sqrt(max(0.0, 1.0 - rank / hidden))


def held_out_error(before: Matrix, after: Matrix) -> float | None:
    """The relative error, on the last third of rows, of a linear map fitted on the first two.

    before, after: [n, hidden], two taps at the same positions. The map goes to the difference:
    what is between two taps of a residual stream adds to it. None below six rows.
    Source: ordinary least squares of least norm.
    """
    n = len(before)
    if n < 6:
        return None
    cut = n * 2 // 3
    target = after - before
    solved = np.linalg.lstsq(before[:cut], target[:cut], rcond=None)[0]
    rest = target[cut:]
    size = float(np.linalg.norm(rest))
    return float(np.linalg.norm(before[cut:] @ solved - rest)) / size if size > 0 else None


def attack(door: Door, vectors_max: int = VECTORS_MAX) -> Attack:
    """Read what the auditor may read, and say what it is worth.

    Spends at most `vectors_max` vectors of the auditor's budget and of the bundle's pool.
    Raises NotMeasured: the server has no budgets of vectors, or does not say how wide the model is.
    """
    me = door.get("/dutchdoor/me")
    pool = me.body.get("vectors")
    hidden = pool.get("hidden") if isinstance(pool, dict) else None
    if me.status != 200 or not isinstance(pool, dict) or not isinstance(hidden, int) or hidden < 1:
        raise NotMeasured("it needs routes that only our own server has", code="not_measured")
    details = {"full logits": _full_logits(door), "hidden size": str(hidden)}
    details["vector pool before"] = str(pool.get("text", ""))
    last = _last_layer(door)
    rows: list[Matrix] = []
    error: float | None = None
    if last is None:
        details["activations"] = "refused: " + _probe_layer(door, 0).code
    else:
        before, after, ended = _read_pairs(door, last, min(vectors_max, hidden * 2) // 2)
        rows = [*before, *after]
        details["activations"] = f"given: {sum(map(len, rows))} vectors; then {ended}"
        if rows:
            error = held_out_error(np.concatenate(before), np.concatenate(after))
    found = rank_of(np.concatenate(rows)) if rows else 0
    if error is not None:
        details["imitation error on unseen rows"] = decimal(error)
    details.update(_top_logprobs(door))
    used = sum(map(len, rows))
    details["vectors used"] = str(used)
    details["recovered rank"] = str(found)
    return Attack(hidden, used, found, layer_error(found, hidden), details)


def _probe_layer(door: Door, layer: int) -> Reply:
    """Asks for more positions than the prompt has: known taps are told from unknown, for free."""
    body = {"prompt": "a", "taps": [_tap(layer)], "positions": 4096}
    return door.post("/dutchdoor/activations", body)


def _tap(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def _last_layer(door: Door) -> int | None:
    """The highest layer that can be tapped; None where activations are refused."""
    if _probe_layer(door, 0).code != "bad_positions":
        return None
    low, high = 0, 1
    while high < 4096 and _probe_layer(door, high).code != "unknown_tap":
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _probe_layer(door, middle).code == "unknown_tap":
            high = middle
        else:
            low = middle
    return low


def _read_pairs(
    door: Door, last: int, positions_max: int
) -> tuple[list[Matrix], list[Matrix], str]:
    """Hidden vectors before and after the last block, until the budget or the texts end."""
    taps = [_tap(max(0, last - 1)), _tap(last)] if last else [_tap(0)]
    before: list[Matrix] = []
    after: list[Matrix] = []
    left = positions_max
    for text in _TEXTS:
        size = min(24, left)
        ended = "the attack's own limit"
        while size:
            body = {"prompt": text, "taps": taps, "positions": size}
            reply = door.post("/dutchdoor/activations", body)
            if reply.status == 200:
                both = _vectors(reply.body)
                before.append(both[0])
                after.append(both[-1])
                left -= size
                break
            ended = f"refused: {reply.code}"
            # The rest of a budget may be smaller than what was asked for.
            size //= 2
        if not size:
            return before, after, ended
    return before, after, "the attack's own limit"


def _vectors(body: Mapping[str, Any]) -> Matrix:
    data = np.frombuffer(base64.b64decode(body["data"]), dtype="<f4")
    return data.reshape(body["shape"]).astype(np.float64)


def _full_logits(door: Door) -> str:
    """What becomes of a wish for more log-probabilities than are free."""
    reply = door.post("/chat/completions", _asking("a", 1, 4096))
    return "given" if reply.status == 200 else f"refused: {reply.code}"


def _asking(text: str, tokens_max: int, top: int) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens_max,
        "temperature": 0.0,
        "logprobs": True,
        "top_logprobs": top,
    }


def _top_logprobs(door: Door) -> dict[str, str]:
    """The rank of the 20 most likely log-probabilities over the tokens that all rows share."""
    rows: list[dict[str, float]] = []
    for text in _TEXTS[:TOP_ROWS]:
        reply = door.post("/chat/completions", _asking(text, TOP_TOKENS, 20))
        if reply.status != 200:
            return {"top log-probabilities": f"refused: {reply.code}"}
        logprobs = (reply.body["choices"][0] or {}).get("logprobs") or {}
        for token in logprobs.get("content") or []:
            top = token.get("top_logprobs") or []
            rows.append({str(row.get("bytes")): float(row["logprob"]) for row in top})
    rows = [row for row in rows if row]
    if not rows:
        return {"top log-probabilities": "none were given"}
    shared = sorted(set.intersection(*(set(row) for row in rows)))
    matrix = np.array([[row[token] for token in shared] for row in rows], dtype=np.float64)
    return {
        "top log-probabilities": f"given: {len(rows)} rows of {max(map(len, rows))}",
        "rank from top log-probabilities": str(rank_of(matrix) if shared else 0),
    }
