"""Fits the probe's linear heads and sets its thresholds; pure numerics, no torch.

1. Each of three readings of a prompt gets a separator of its own; the prompt's score is the mean
   of the three, each in standard deviations of the benign.
2. The separator of the first reading also scores windows, the worst of which counts where it is
   more than `WINDOW_MARGIN` deviations beyond what ordinary benign prompts reach.
3. Thresholds come from scores of examples that the separator was not shown.
4. A separator of single tokens scores the stream, calibrated on the model's own benign
   completions, none of which it was shown for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.guard.card import Scored, StreamScored, card_of
from dutchdoor.guard.measures import Scores, threshold_at
from dutchdoor.guard.probefile import Linear, ProbeParameters
from dutchdoor.guard.ridge import Array, Head, Ridge

__all__ = [
    "CLASS_EXAMPLES_MIN",
    "COMPLETIONS_MIN",
    "EMA_TOKENS",
    "RATES",
    "SHRINKAGE",
    "STREAM_ROWS_MAX",
    "STREAM_SHRINKAGE",
    "WINDOW_MARGIN",
    "Example",
    "FitInputs",
    "Fitted",
    "fit",
]

RATES = {"fpr_0.05": 0.05, "fpr_0.01": 0.01, "fpr_0.001": 0.001}
"""The thresholds by name: the share of benign prompts that each blocks by mistake."""
SHRINKAGE = 0.3
WINDOW_MARGIN = 1.0
FOLDS = 5
CLASS_EXAMPLES_MIN = 20
COMPLETIONS_MIN = 10
EMA_TOKENS = 8
"""A stream's score is a running mean in which a token weighs 1/8 and fades as fast."""
STREAM_SHRINKAGE = 0.6
STREAM_ROWS_MAX = (800, 1600, 600)
"""Single tokens that the stream's separator is fitted on: of harmful prompts, of benign ones, of
completions."""
_NORMAL = {"fpr_0.05": 1.645, "fpr_0.01": 2.326, "fpr_0.001": 3.090}
_TINY = 1e-9


class Example(NamedTuple):
    """A prompt of the training set; category: a hazard, or empty."""

    text: str
    harmful: bool
    source: str
    category: str


@dataclass(frozen=True)
class FitInputs:
    """What was collected of a model; prompts, windows and examples in one order.

    prompts: float32 [3 * hidden] each. windows: float32 [w, hidden] each. tokens: a few single
    ones of each prompt, float32 [k, hidden]. completions: float32 [t, hidden] each, of the model's
    own benign completions.
    """

    mid: int
    upper: int
    hidden: int
    examples: tuple[Example, ...]
    prompts: tuple[NDArray[np.float32], ...]
    windows: tuple[NDArray[np.float32], ...]
    tokens: tuple[NDArray[np.float32], ...]
    completions: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Fitted:
    """parameters: of the probe. card: canonical values, not yet with the probe's digest."""

    parameters: ProbeParameters
    card: dict[str, Any]


class _Reading(NamedTuple):
    """One separator, and the scores of examples it was not shown.

    fold: left out with a fifth of their source. source: left out with all of it.
    """

    head: Head
    fold: Scores
    source: Scores


def fit(inputs: FitInputs, *, bundle: str, seed: int) -> Fitted:
    """The parameters of a probe for `bundle` and its card; deterministic for a seed.

    Raises Invalid: too few examples of a class, or readings that do not differ.
    """
    order = sorted(range(len(inputs.examples)), key=lambda n: inputs.examples[n])
    examples = [inputs.examples[n] for n in order]
    harmful = np.array([example.harmful for example in examples], dtype=np.bool_)
    for count in (int(harmful.sum()), int((~harmful).sum())):
        if count < CLASS_EXAMPLES_MIN:
            message = f"a class has {count} examples, {CLASS_EXAMPLES_MIN} are needed"
            raise Invalid(message, code="too_few_examples")
    prompts = np.stack([inputs.prompts[n] for n in order]).astype(np.float64)
    windows = [inputs.windows[n].astype(np.float64) for n in order]
    folds = _folds([example.source for example in examples], seed)
    sources = _groups([example.source for example in examples])

    readings: list[_Reading] = []
    for block in np.split(prompts, 3, axis=1):
        ridge = Ridge(block, harmful, SHRINKAGE)
        if not readings:
            worst = _Reading(
                ridge.head(), _worst(ridge, windows, folds), _worst(ridge, windows, sources)
            )
        readings.append(
            _Reading(ridge.head(), _left_out(ridge, block, folds), _left_out(ridge, block, sources))
        )
    prompt, whole = _together(readings, harmful)
    window, part = _standard(worst, harmful, WINDOW_MARGIN)
    scored = Scored(
        tuple(examples),
        harmful,
        np.maximum(whole.fold, part.fold),
        np.maximum(whole.source, part.source),
    )
    thresholds = {name: threshold_at(scored.fold[~harmful], rate) for name, rate in RATES.items()}
    stream, streamed = _stream(inputs, order, harmful, seed)
    parameters = ProbeParameters(
        bundle,
        inputs.hidden,
        inputs.mid,
        inputs.upper,
        prompt,
        window,
        stream,
        thresholds,
        streamed.thresholds,
    )
    about = {
        "seed": seed,
        "layers": {"mid": inputs.mid, "upper": inputs.upper},
        "hidden": inputs.hidden,
        "shrinkage": f"{SHRINKAGE}",
        "folds": FOLDS,
        "window_margin": f"{WINDOW_MARGIN}",
        "training_data": training_digest(examples),
    }
    return Fitted(parameters, {**about, **card_of(scored, thresholds, RATES, streamed, seed)})


def training_digest(examples: Sequence[Example]) -> str:
    """The digest of a training set, whatever its order."""
    return canonical.digest([list(example) for example in sorted(examples)])


def _groups(names: Sequence[str]) -> list[NDArray[np.int64]]:
    array = np.array(names)
    return [np.flatnonzero(array == name) for name in sorted(set(names))]


def _folds(sources: Sequence[str], seed: int) -> list[NDArray[np.int64]]:
    """A random fifth of every source in each fold."""
    generator = np.random.default_rng(seed)
    fold = np.zeros(len(sources), dtype=np.int64)
    for offset, group in enumerate(_groups(sources)):
        # The offset spreads sources smaller than the number of folds over all of them.
        fold[group] = (generator.permutation(len(group)) + offset) % FOLDS
    return [np.flatnonzero(fold == number) for number in range(FOLDS) if (fold == number).any()]


def _left_out(ridge: Ridge, block: Array, groups: Sequence[NDArray[np.int64]]) -> Scores:
    scores = np.zeros(len(block))
    for group in groups:
        scores[group] = ridge.without(group).score(block[group])
    return scores


def _worst(ridge: Ridge, windows: Sequence[Array], groups: Sequence[NDArray[np.int64]]) -> Scores:
    scores = np.zeros(len(windows))
    for group in groups:
        head = ridge.without(group)
        for index in group:
            scores[index] = head.score(windows[index]).max()
    return scores


def _standard(
    reading: _Reading, harmful: NDArray[np.bool_], margin: float = 0.0
) -> tuple[Linear, _Reading]:
    """A reading in standard deviations of the benign, less a margin."""
    centre, scale = _centre_scale(reading.fold[~harmful])
    head = Head(reading.head.weights / scale, (reading.head.bias - centre) / scale - margin)
    linear = Linear(head.weights.astype(np.float32), head.bias)
    moved = [(scores - centre) / scale - margin for scores in (reading.fold, reading.source)]
    return linear, _Reading(head, *moved)


def _together(readings: Sequence[_Reading], harmful: NDArray[np.bool_]) -> tuple[Linear, _Reading]:
    """The mean of several readings, side by side in one vector of weights."""
    parts = [_standard(reading, harmful)[1] for reading in readings]
    count = len(parts)
    mean = _Reading(
        Head(
            np.concatenate([part.head.weights for part in parts]) / count,
            sum(part.head.bias for part in parts) / count,
        ),
        np.mean([part.fold for part in parts], axis=0),
        np.mean([part.source for part in parts], axis=0),
    )
    return _standard(mean, harmful)


def _centre_scale(benign: Scores) -> tuple[float, float]:
    scale = float(benign.std())
    if not scale > _TINY:
        raise Invalid("the benign examples do not differ at all", code="bad_hidden")
    return float(benign.mean()), scale


def _stream(
    inputs: FitInputs, order: Sequence[int], harmful: NDArray[np.bool_], seed: int
) -> tuple[Linear, StreamScored]:
    """The head for tokens, in deviations of benign tokens, with its thresholds.

    Tokens of harmful prompts against tokens of benign ones and of the model's own completions.
    """
    generator = np.random.default_rng(seed)
    tokens = _tokens(inputs, order, harmful, generator)
    completions = [states.astype(np.float64) for states in inputs.completions]
    own = len(completions) >= COMPLETIONS_MIN
    share = STREAM_ROWS_MAX[2] // max(len(completions), 1) if own else 0
    sampled = [
        states[np.sort(generator.permutation(len(states))[: min(max(share, 1), 8)])]
        for states in (completions if own else [])
    ]
    rows = np.concatenate([tokens[True], tokens[False], *sampled])
    labels = np.arange(len(rows)) < len(tokens[True])
    ridge = Ridge(rows, labels, STREAM_SHRINKAGE)
    if own:
        first = len(tokens[True]) + len(tokens[False])
        scores = _completion_scores(ridge, completions, sampled, first, generator)
        centre, scale = _centre_scale(np.concatenate(scores))
        tops = np.array([_running_top((part - centre) / scale) for part in scores])
        median = int(np.median([len(part) for part in scores]))
        streamed = StreamScored("completions", len(tops), median, {})
    else:
        # Without completions the worst windows of benign prompts must do; the card says so.
        head = ridge.head()
        centre, scale = _centre_scale(head.score(tokens[False]))
        benign = [inputs.windows[n] for n, bad in zip(order, harmful, strict=True) if not bad]
        tops = np.array(
            [(head.score(part.astype(float)).max() - centre) / scale for part in benign]
        )
        streamed = StreamScored("prompt_windows", len(tops), 0, {})
    head = ridge.head()
    linear = Linear((head.weights / scale).astype(np.float32), (head.bias - centre) / scale)
    return linear, streamed._replace(thresholds=_stream_thresholds(tops))


def _tokens(
    inputs: FitInputs,
    order: Sequence[int],
    harmful: NDArray[np.bool_],
    generator: np.random.Generator,
) -> dict[bool, Array]:
    """A sample of single tokens of each class."""
    result: dict[bool, Array] = {}
    for label, rows_max in ((True, STREAM_ROWS_MAX[0]), (False, STREAM_ROWS_MAX[1])):
        chosen = [inputs.tokens[n] for n, bad in zip(order, harmful, strict=True) if bad == label]
        rows = np.concatenate(chosen).astype(np.float64)
        result[label] = rows[np.sort(generator.permutation(len(rows))[:rows_max])]
    return result


def _completion_scores(
    ridge: Ridge,
    completions: Sequence[Array],
    sampled: Sequence[Array],
    first: int,
    generator: np.random.Generator,
) -> list[Scores]:
    """Scores of each completion's tokens by separators that were shown none of its tokens."""
    owner = np.repeat(np.arange(len(completions)), [len(rows) for rows in sampled])
    fold = generator.permutation(len(completions)) % FOLDS
    scores: list[Scores] = [np.zeros(0)] * len(completions)
    for number in range(FOLDS):
        head = ridge.without(first + np.flatnonzero(fold[owner] == number))
        for index in np.flatnonzero(fold == number).tolist():
            scores[index] = head.score(completions[index])
    return scores


def _stream_thresholds(tops: Scores) -> dict[str, float]:
    """Thresholds for the highest running means of benign streams.

    A few dozen completions say nothing of one in a thousand: there the tail of a normal
    distribution stands in for what was not seen.
    """
    return {
        name: max(threshold_at(tops, rate), float(tops.mean() + _NORMAL[name] * tops.std()))
        for name, rate in RATES.items()
    }


def _running_top(scores: Scores) -> float:
    """The highest value of the running mean that `StreamJudge` keeps."""
    mean = top = 0.0
    for score in scores:
        mean += (float(score) - mean) / EMA_TOKENS
        top = max(top, mean)
    return top
