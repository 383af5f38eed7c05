"""Our evaluations as Inspect tasks: the one door to inspect_ai, and its entry point.

`inspect eval dutchdoor/refusal --model ...` runs them in anybody's harness; `dutchdoor audit run`
runs them through `evaluate` in a process of its own. What a model answers to a harmful request is
never written: that task keeps no samples, only a verdict and the answer's digest for each.
"""

# mypy: disable-error-code="untyped-decorator"
# inspect_ai is an optional extra that type checks run without.

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai import Task, task
from inspect_ai import eval as inspect_run
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from dutchdoor import canonical
from dutchdoor.audit.items import (
    Item,
    answers_correctly,
    benign_lookalikes,
    choose,
    harmful,
    short_answers,
)
from dutchdoor.audit.refusal import Answer, judge_answer
from dutchdoor.errors import Invalid, Unavailable

__all__ = [
    "EVALUATIONS",
    "EvaluationKind",
    "Outcome",
    "RunOptions",
    "capability_short_answers",
    "evaluate",
    "over_refusal",
    "refusal",
]

SAMPLES_DEFAULT = 40
TOKENS_MAX_DEFAULT = 48
SAMPLE_S_MAX = 120
RETRIES_MAX = 2


class Outcome(NamedTuple):
    """What became of an evaluation: figures and the name of its log in the log folder."""

    name: str
    n: int
    hits: int
    guard_stopped: int
    log: str


@dataclass(frozen=True)
class RunOptions:
    """How evaluations are run. limit: samples of each, 0 for all. at_once: requests at once."""

    log_folder: Path
    model: str
    seed: int = 0
    limit: int = 0
    tokens_max: int = TOKENS_MAX_DEFAULT
    at_once: int = 8


@scorer(metrics=[accuracy()])
def short_answer() -> Scorer:
    """Counts an answer in which an accepted one stands as whole words."""

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        return _score(state, hit=answers_correctly(text, list(target)), verdict="", kept=text)

    return score


@scorer(metrics=[accuracy()])
def refused() -> Scorer:
    """Counts an answer that refuses; keeps its digest, never the answer."""

    async def score(state: TaskState, target: Target) -> Score:
        verdict = judge_answer(state.output.completion)
        return _score(state, hit=verdict is Answer.REFUSED, verdict=str(verdict), kept=None)

    return score


@task
def capability_short_answers(size: int = SAMPLES_DEFAULT, seed: int = 0) -> Task:
    """Short questions of school level; scored by accepted answers."""
    return _task("capability_short_answers", choose(short_answers(), size, seed), short_answer())


@task
def refusal(size: int = SAMPLES_DEFAULT, seed: int = 0) -> Task:
    """Requests for harm over all hazards; scored by whether the model refuses by itself."""
    return _task("refusal", choose(harmful(), size, seed), refused())


@task
def over_refusal(size: int = SAMPLES_DEFAULT, seed: int = 0) -> Task:
    """Harmless requests that look like harm; scored by whether the model refuses them."""
    return _task("over_refusal", choose(benign_lookalikes(), size, seed), refused())


class EvaluationKind(NamedTuple):
    """A packaged evaluation: how it is made, and whether its samples may be kept."""

    make: Callable[..., Task]
    keeps_samples: bool


EVALUATIONS: dict[str, EvaluationKind] = {
    "capability_short_answers": EvaluationKind(capability_short_answers, keeps_samples=True),
    "refusal": EvaluationKind(refusal, keeps_samples=False),
    "over_refusal": EvaluationKind(over_refusal, keeps_samples=True),
}


@solver
def told(answered: Callable[[], None]) -> Solver:
    """Changes nothing; calls `answered` after each answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        answered()
        return state

    return solve


def evaluate(name: str, options: RunOptions, progress: Callable[[int, int], None]) -> Outcome:
    """The outcome of one evaluation, run to its end.

    progress: hears (answers so far, samples in all). The server's address and the key come from
    DUTCHDOOR_BASE_URL and DUTCHDOOR_API_KEY.
    Raises Invalid: no such evaluation. Raises Unavailable: a sample could not be carried out; no
    partial figure is given.
    """
    if name not in EVALUATIONS:
        hint = "known: " + ", ".join(EVALUATIONS)
        raise Invalid(f"no evaluation '{name}'", code="unknown_evaluation", hint=hint)
    kind = EVALUATIONS[name]
    size = min(options.limit or SAMPLES_DEFAULT, SAMPLES_DEFAULT)
    made = kind.make(size=size, seed=options.seed)
    answers = itertools.count(1)
    made.solver = [generate(), told(lambda: progress(next(answers), len(made.dataset)))]
    (log,) = inspect_run(
        made,
        model=f"openai-api/dutchdoor/{options.model}",
        display="none",
        log_dir=str(options.log_folder),
        log_format="eval",
        log_level="error",
        log_samples=kind.keeps_samples,
        log_realtime=False,  # The live buffer would write answers beside the log.
        log_images=False,
        fail_on_error=True,
        max_connections=options.at_once,
        max_samples=options.at_once,
        max_tokens=options.tokens_max,
        temperature=0.0,
        seed=options.seed,
        timeout=SAMPLE_S_MAX,
        attempt_timeout=SAMPLE_S_MAX,
        max_retries=RETRIES_MAX,
    )
    if log.status != "success" or not log.reductions:
        reason = log.error.message if log.error else log.status
        message = f"evaluation {name} did not come to its end: {reason.splitlines()[0][:300]}"
        raise Unavailable(message, code="evaluation_failed", hint="see that the server answers")
    return _outcome(name, log)


def _outcome(name: str, log: Any) -> Outcome:
    scores = log.reductions[0].samples
    stopped = [score for score in scores if (score.metadata or {}).get("stopped") == "guard"]
    hits = sum(1 for score in scores if score not in stopped and float(score.value) == 1.0)
    where = Path(str(log.location).removeprefix("file://")).name
    return Outcome(name, len(scores) - len(stopped), hits, len(stopped), where)


def _task(name: str, items: Sequence[Item], judge: Scorer) -> Task:
    samples = [
        Sample(
            id=item.id,
            input=item.text,
            target=list(item.answers) or "",
            metadata={"category": item.category},
        )
        for item in items
    ]
    return Task(
        name=name, dataset=MemoryDataset(samples, name=name), solver=generate(), scorer=judge
    )


def _score(state: TaskState, *, hit: bool, verdict: str, kept: str | None) -> Score:
    text = state.output.completion
    stopped = "guard" if state.output.stop_reason == "content_filter" else ""
    metadata = {
        "verdict": verdict,
        "answer_digest": "sha256:" + canonical.sha256_hex(text.encode()),
        "stopped": stopped,
    }
    return Score(value=1 if hit and not stopped else 0, answer=kept, metadata=metadata)
