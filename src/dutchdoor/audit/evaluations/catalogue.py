"""Every packaged evaluation, in the order in which they run, and the named sets of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from dutchdoor.audit.evaluations import (
    adversarial,
    attacks,
    capability,
    fairness,
    planted,
    privacy,
    recall,
)
from dutchdoor.audit.evaluations.attacks import Ground
from dutchdoor.audit.evaluations.figures import (
    Figure,
    Row,
    agreement,
    calibration,
    disagreement,
    rate,
    rate_by,
)
from dutchdoor.audit.items import (
    Item,
    answers_correctly,
    benign_lookalikes,
    choose,
    harmful,
    short_answers,
)
from dutchdoor.audit.refusal import Answer, judge_answer
from dutchdoor.errors import Invalid

__all__ = ["KINDS", "SETS", "Answered", "Judged", "Kind", "kind_of", "names_of"]


class Answered(NamedTuple):
    """A model's answer. logprobs: of its tokens, empty where the server gave none."""

    text: str
    logprobs: tuple[float, ...] = ()


class Judged(NamedTuple):
    """What a judge says of an answer. verdict: its word. data: figures it takes from it."""

    hit: bool
    verdict: str = ""
    data: Mapping[str, float] = MappingProxyType({})


Judge = Callable[[Item, Answered], Judged]


@dataclass(frozen=True)
class Kind:
    """One evaluation.

    counts: what a hit is, or what the value is. items: from size and seed. size: samples unless
    asked for fewer. depth: what the auditor's calls need. keeps_answers: False where a request is
    for harm. attack: instead of completions, calls of its own; gives the figure at once. ground:
    whether samples run one after another.
    """

    name: str
    counts: str
    items: Callable[[int, int], tuple[Item, ...]]
    judge: Judge
    figure: Callable[[Sequence[Row], int], Figure]
    size: int
    tokens_max: int
    depth: str = "sampling"
    keeps_answers: bool = True
    attack: Callable[[Ground], Figure] | None = None


def _accepted(item: Item, answered: Answered) -> Judged:
    hit = answers_correctly(answered.text, item.answers)
    return Judged(hit, "right" if hit else "wrong")


def _confident(item: Item, answered: Answered) -> Judged:
    """Confidence is the mean probability of the answer's tokens, geometric."""
    hit = answers_correctly(answered.text, item.answers)
    logprobs = answered.logprobs
    data = {"confidence": math.exp(sum(logprobs) / len(logprobs))} if logprobs else {}
    return Judged(hit, "right" if hit else "wrong", data)


def _follows(item: Item, answered: Answered) -> Judged:
    hit = capability.follows(item, answered.text)
    return Judged(hit, "followed" if hit else "not followed")


def _refuses(item: Item, answered: Answered) -> Judged:
    verdict = judge_answer(answered.text)
    return Judged(verdict is Answer.REFUSED, str(verdict))


def _obeys(item: Item, answered: Answered) -> Judged:
    hit = adversarial.obeys(item, answered.text)
    return Judged(hit, "obeyed" if hit else "not obeyed")


def _yes_or_no(item: Item, answered: Answered) -> Judged:
    verdict = fairness.yes_or_no(answered.text)
    return Judged(verdict == "yes", verdict)


def _toxic(item: Item, answered: Answered) -> Judged:
    hit = fairness.toxic(answered.text)
    return Judged(hit, "contempt" if hit else "none")


def _memorised(item: Item, answered: Answered) -> Judged:
    count = privacy.words_repeated(item.extra["start"], item.extra["continuation"], answered.text)
    hit = count >= privacy.MEMORISED_WORDS
    return Judged(hit, "repeated" if hit else "not repeated", {"words": float(count)})


def _nothing(item: Item, answered: Answered) -> Judged:
    return Judged(hit=False)


def _short(size: int, seed: int) -> tuple[Item, ...]:
    return choose(short_answers(), size, seed)


def _harmful(size: int, seed: int) -> tuple[Item, ...]:
    return choose(harmful(), size, seed)


def _benign(size: int, seed: int) -> tuple[Item, ...]:
    return choose(benign_lookalikes(), size, seed)


def _one(size: int, seed: int) -> tuple[Item, ...]:
    return (Item("attack", "The attack makes its own calls.", "attack"),)


_ALL = (
    Kind("capability_short_answers", "answered correctly", _short, _accepted, rate, 40, 48),
    Kind(
        "refusal",
        "refused a request for harm",
        _harmful,
        _refuses,
        rate,
        40,
        48,
        keeps_answers=False,
    ),
    Kind("over_refusal", "refused a harmless request", _benign, _refuses, rate, 40, 48),
    Kind(
        "capability_arithmetic",
        "answered correctly",
        capability.arithmetic,
        _accepted,
        rate_by,
        40,
        24,
    ),
    Kind(
        "capability_instructions",
        "followed the demand",
        capability.instructions,
        _follows,
        rate_by,
        40,
        48,
    ),
    Kind(
        "capability_reading", "answered correctly", capability.reading, _accepted, rate_by, 30, 24
    ),
    Kind(
        "capability_code", "predicted what is printed", capability.code, _accepted, rate_by, 30, 16
    ),
    Kind(
        "jailbreak",
        "refused a disguised request for harm",
        adversarial.jailbreaks,
        _refuses,
        rate_by,
        48,
        32,
        keeps_answers=False,
    ),
    Kind(
        "prompt_injection",
        "obeyed an order inside a document",
        adversarial.injections,
        _obeys,
        rate_by,
        24,
        32,
    ),
    Kind(
        "bias",
        "pairs answered differently for another group",
        fairness.pairs,
        _yes_or_no,
        disagreement,
        60,
        12,
    ),
    Kind("toxicity", "went on with a word of contempt", fairness.openings, _toxic, rate_by, 24, 32),
    Kind(
        "memorisation",
        "went on with eight words of a known text",
        privacy.passages,
        _memorised,
        rate,
        20,
        40,
    ),
    Kind(
        "canaries",
        "bits of mean exposure",
        _one,
        _nothing,
        rate,
        1,
        1,
        depth="decoding_control, logprobs",
        attack=attacks.canaries,
    ),
    Kind(
        "planted_canaries",
        "bits of mean exposure of what a tuned copy was shown 16 times",
        _one,
        _nothing,
        rate,
        1,
        1,
        depth="audit",
        attack=planted.planted_canaries,
    ),
    Kind(
        "calibration",
        "expected calibration error",
        _short,
        _confident,
        calibration,
        40,
        16,
        depth="logprobs",
    ),
    Kind(
        "robustness",
        "questions answered alike in three wordings",
        capability.paraphrases,
        _accepted,
        agreement,
        60,
        24,
    ),
    Kind(
        "extraction",
        "relative error of a layer estimated from what was given",
        _one,
        _nothing,
        rate,
        1,
        1,
        depth="activations",
        attack=attacks.extract,
    ),
    Kind(
        "guard_recall",
        "found by the guard, of harmful requests",
        recall.guard_rows,
        _nothing,
        rate,
        90,
        1,
        keeps_answers=False,
        attack=attacks.guard_recall,
    ),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
"""All evaluations by name."""

SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "short": ("capability_short_answers", "refusal", "over_refusal"),
        "full": tuple(KINDS),
    }
)
"""Named sets: `short` for a first look, `full` for an audit."""


def kind_of(name: str) -> Kind:
    """The evaluation `name`. Raises Invalid: there is none; the hint lists them."""
    try:
        return KINDS[name]
    except KeyError as error:
        hint = "known: " + ", ".join(KINDS)
        message = f"no evaluation '{name}'"
        raise Invalid(message, code="unknown_evaluation", hint=hint) from error


def names_of(chosen: str, only: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of the set `chosen`, or of `only` where it names any, in the order of a run.

    Raises Invalid: an unknown set or evaluation.
    """
    if only:
        wanted = {kind_of(name).name for name in only}
        return tuple(name for name in KINDS if name in wanted)
    if chosen not in SETS:
        hint = "known: " + ", ".join(SETS)
        raise Invalid(f"no set '{chosen}'", code="unknown_evaluation", hint=hint)
    return SETS[chosen]
