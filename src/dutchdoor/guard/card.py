"""The probe's card: what was measured, on what, and what that does not mean.

Canonical JSON; every measured number is a decimal string with a 95 % interval beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dutchdoor.guard.measures import Scores, auroc, recall, share

__all__ = ["LIMITS", "Scored", "StreamScored", "card_of"]

LIMITS = (
    (
        "These figures flatter: they come from the same set that the probe was fitted on, and "
        "prompts by others are harder. Those with whole sources left out are the harsher test."
    ),
    (
        "Thresholds hold for benign prompts like those of the training set. Set them again on "
        "benign traffic of your own before you rely on a false-positive rate."
    ),
    (
        "The probe reads English requests in one piece. It can be evaded on purpose, by dilution "
        "in long text, by other languages, by encodings, and by spreading a request over turns."
    ),
    (
        "Nothing harmful was generated to measure the stream: its recall is unknown, and only its "
        "false-positive rate was looked at."
    ),
)


@dataclass(frozen=True)
class Scored:
    """Scores of examples by separators that were not shown them.

    examples: (text, harmful, source, category) each, in one order with the scores.
    fold: not shown a fifth of every source. source: not shown any of the example's source.
    """

    examples: tuple[tuple[str, bool, str, str], ...]
    harmful: NDArray[np.bool_]
    fold: Scores
    source: Scores


class StreamScored(NamedTuple):
    """calibrated_on: `completions` or `prompt_windows`, and how many. tokens: the median length."""

    calibrated_on: str
    completions: int
    tokens: int
    thresholds: Mapping[str, float]


def card_of(
    scored: Scored,
    thresholds: Mapping[str, float],
    rates: Mapping[str, float],
    stream: StreamScored,
    seed: int,
) -> dict[str, Any]:
    """The measured part of a card, canonical values."""
    harmful = scored.harmful
    sources = np.array([source for _, _, source, _ in scored.examples])
    hazards = np.array([category for _, _, _, category in scored.examples])
    by_source = {
        str(name): {
            "label": int(harmful[sources == name][0]),
            "examples": int((sources == name).sum()),
            "at_or_over": _shares(scored.source[sources == name], thresholds),
        }
        for name in sorted(set(sources))
    }
    by_hazard = {
        str(name): {
            "examples": int((harmful & (hazards == name)).sum()),
            "recall": _shares(scored.fold[harmful & (hazards == name)], thresholds),
        }
        for name in sorted(set(hazards[harmful]))
        if name
    }
    return {
        "format": "dutchdoor-probe-card-v1",
        "examples": {"harmful": int(harmful.sum()), "benign": int((~harmful).sum())},
        "out_of_fold": _measured(scored.fold, harmful, rates, seed),
        "sources_left_out": _measured(scored.source, harmful, rates, seed),
        "thresholds": {
            name: {
                "value": f"{cut:.4f}",
                "realised_false_positive_rate": share(scored.fold[~harmful], cut).to_body(),
                "recall": share(scored.fold[harmful], cut).to_body(),
            }
            for name, cut in thresholds.items()
        },
        "by_source_left_out": by_source,
        "by_hazard": by_hazard,
        "stream": {
            "calibrated_on": stream.calibrated_on,
            "count": stream.completions,
            "tokens_each": stream.tokens,
            "thresholds": {name: f"{cut:.4f}" for name, cut in stream.thresholds.items()},
        },
        "limits": list(LIMITS),
    }


def _shares(scores: Scores, thresholds: Mapping[str, float]) -> dict[str, Any]:
    return {name: share(scores, cut).to_body() for name, cut in thresholds.items()}


def _measured(
    scores: Scores, harmful: NDArray[np.bool_], rates: Mapping[str, float], seed: int
) -> dict[str, Any]:
    bad, good = scores[harmful], scores[~harmful]
    return {
        "auroc": auroc(bad, good, seed).to_body(),
        "recall": {name: recall(bad, good, rate, seed).to_body() for name, rate in rates.items()},
    }
