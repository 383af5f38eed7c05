"""Our evaluations as Inspect tasks: the one door to inspect_ai, and its entry point.

`inspect eval dutchdoor/refusal --model ...` runs them in anybody's harness; `dutchdoor audit run`
runs them through `evaluate` in a process of its own. What a model answers to a harmful request is
never written: those tasks keep no samples, only a verdict and the answer's digest for each.
"""

# mypy: disable-error-code="untyped-decorator"
# inspect_ai is an optional extra that type checks run without.

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai import Task, task
from inspect_ai import eval as inspect_run
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from dutchdoor import canonical
from dutchdoor.audit.evaluations.attacks import Ground
from dutchdoor.audit.evaluations.catalogue import KINDS, Answered, Kind, kind_of
from dutchdoor.audit.evaluations.door import NotMeasured, door_of_environment
from dutchdoor.audit.evaluations.figures import Figure, Row, missing
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.items import Item
from dutchdoor.errors import Unavailable

__all__ = ["TASKS", "Outcome", "RunOptions", "evaluate", "read_headline"]

SAMPLE_S_MAX = 120
ATTACK_S_MAX = 600
RETRIES_MAX = 2
REASON_CHARS_MAX = 300
SAMPLES_KEPT = 8

Progress = Callable[[int, int], None]
Keep = Callable[[dict[str, Any]], None]


class Outcome(NamedTuple):
    """What became of an evaluation.

    figure: what it measured. log: its name in the log folder, "" where nothing was asked. samples:
    the name of the file of random samples beside it, "" where there are none.
    """

    name: str
    figure: Figure
    log: str
    samples: str


@dataclass(frozen=True)
class RunOptions:
    """How evaluations are run.

    limit: samples of each, 0 for all. tokens_max: 0 for each one's own. at_once: requests at once.
    canaries, probe: see `Ground`.
    """

    log_folder: Path
    model: str
    seed: int = 0
    limit: int = 0
    tokens_max: int = 0
    at_once: int = 8
    canaries: tuple[Canary, ...] = ()
    probe: Mapping[str, str] = field(default_factory=dict)


@scorer(metrics=[accuracy()])
def judged(name: str, keep: Keep | None = None) -> Scorer:
    """Counts what the evaluation `name` counts; keeps an answer only where that may be kept."""
    kind = KINDS[name]

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        item = _item(state, target)
        found = kind.judge(item, Answered(text, _logprobs(state)))
        stopped = state.output.stop_reason == "content_filter"
        digest = "sha256:" + canonical.sha256_hex(text.encode())
        if keep is not None and kind.attack is None:
            row = {"id": item.id, "verdict": "stopped by the guard" if stopped else found.verdict}
            shown = {"input": item.text, "output": text} if kind.keeps_answers else {}
            asked = "sha256:" + canonical.sha256_hex(item.text.encode())
            keep({**row, "input_digest": asked, "answer_digest": digest, **shown})
        metadata = {
            "verdict": found.verdict,
            "answer_digest": digest,
            "stopped": "guard" if stopped else "",
            "category": item.category,
            "group": item.group,
            "data": dict(found.data),
        }
        kept = text if kind.keeps_answers else None
        return Score(value=1 if found.hit and not stopped else 0, answer=kept, metadata=metadata)

    return score


@solver
def told(answered: Callable[[], None]) -> Solver:
    """Changes nothing; calls `answered` after each answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        answered()
        return state

    return solve


@solver
def attacking(work: Callable[[], Figure]) -> Solver:
    """Makes an attack's own calls in place of a completion; the figure is the answer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        figure = await asyncio.to_thread(work)
        told_ = {"measure": str(figure.measure), "why": figure.why, **figure.details}
        state.output = ModelOutput.from_content(model=str(state.model), content=json.dumps(told_))
        return state

    return solve


def _make(kind: Kind) -> Callable[..., Task]:
    def make(size: int = kind.size, seed: int = 0) -> Task:
        def work() -> Figure:
            # In another harness: what needs our own server says so, in place of a figure.
            return _attack(kind, RunOptions(Path(), "model", seed=seed, limit=size), [], _silent)

        made = _task(kind, kind.items(min(size, kind.size), seed), judged(kind.name))
        if kind.attack is not None:
            made.solver = attacking(work)
        return made

    make.__name__ = make.__qualname__ = kind.name
    make.__doc__ = f"Counts: {kind.counts}."
    made: Callable[..., Task] = task(name=kind.name)(make)
    return made


def evaluate(name: str, options: RunOptions, progress: Progress) -> Outcome:
    """Run one evaluation to its end, against the server of the environment, and say what came out.

    progress: hears (samples done, samples in all). The provider `openai-api` reads the server's
    address and key from DUTCHDOOR_BASE_URL and DUTCHDOOR_API_KEY.
    Raises Invalid: no such evaluation. Raises Unavailable: it did not come to its end.
    """
    kind = kind_of(name)
    if kind.depth == "logprobs" and kind.attack is None:
        why = _why_no_logprobs(options.model)
        if why:
            return Outcome(name, missing(why), "", "")
    size = min(options.limit or kind.size, kind.size)
    samples: list[dict[str, Any]] = []
    figures: list[Figure] = []
    made = _task(kind, kind.items(size, options.seed), judged(name, samples.append))
    if kind.attack is None:
        answers = itertools.count(1)
        total = len(made.dataset)
        made.solver = [generate(), told(lambda: progress(next(answers), total))]
    else:

        def work() -> Figure:
            figures.append(_attack(kind, options, samples, progress))
            return figures[-1]

        made.solver = attacking(work)
    log = _run(kind, made, options)
    where = Path(str(log.location).removeprefix("file://")).name
    rows = [_row(score) for score in log.reductions[0].samples]
    figure = figures[-1] if figures else kind.figure(rows, options.seed)
    return Outcome(name, figure, where, _write_samples(kind, options, samples))


def _run(kind: Kind, made: Task, options: RunOptions) -> Any:
    """The log of a task that came to its end. Raises Unavailable: it did not."""
    wait_s = SAMPLE_S_MAX if kind.attack is None else ATTACK_S_MAX
    asked = {"logprobs": True} if kind.depth == "logprobs" else {}
    (log,) = inspect_run(
        made,
        model=f"openai-api/dutchdoor/{options.model}",
        display="none",
        log_dir=str(options.log_folder),
        log_format="eval",
        log_level="error",
        log_samples=kind.keeps_answers,
        log_realtime=False,  # The live buffer would write answers beside the log.
        log_images=False,
        fail_on_error=True,
        max_connections=options.at_once,
        max_samples=options.at_once,
        max_tokens=options.tokens_max or kind.tokens_max,
        temperature=0.0,
        seed=options.seed,
        timeout=wait_s,
        attempt_timeout=wait_s,
        max_retries=RETRIES_MAX,
        **asked,
    )
    if log.status != "success" or not log.reductions:
        reason = _reason(log, options.model)
        message = f"evaluation {kind.name} did not come to its end: {reason}"
        raise Unavailable(message, code="evaluation_failed", hint="see that the server answers")
    return log


def _reason(log: Any, model: str) -> str:
    """Why a task ended early: what the server says, not that somebody stopped asking it again."""
    if log.error is None:
        return str(log.status)
    ask = {"messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 1}
    with contextlib.suppress(NotMeasured):
        reply = door_of_environment(model).post("/chat/completions", ask, wait_s=SAMPLE_S_MAX)
        if reply.status == 0:
            return "nobody answers at the server's address"
        if reply.code:
            said = " ".join(str(reply.body["error"].get("message", "")).split())
            return f"the server answers {reply.status} {reply.code}: {said}"[:REASON_CHARS_MAX]
    # By now it answers again: what it said then stands in the chain of causes.
    told_then = re.search(r"Error code: [^\n]+", log.error.traceback)
    found = told_then.group() if told_then else log.error.message.splitlines()[0]
    return str(found)[:REASON_CHARS_MAX]


def _attack(
    kind: Kind, options: RunOptions, samples: list[dict[str, Any]], progress: Progress
) -> Figure:
    assert kind.attack is not None, "only attacks make calls of their own"
    try:
        ground = Ground(
            door=door_of_environment(options.model),
            size=min(options.limit or kind.size, kind.size),
            seed=options.seed,
            progress=progress,
            canaries=options.canaries,
            probe=options.probe,
            samples=samples,
        )
        return kind.attack(ground)
    except NotMeasured as reason:
        return missing(reason.message)


def _why_no_logprobs(model: str) -> str:
    """Why no log-probabilities can be had here, "" where they can; one token is asked for."""
    body = {
        "messages": [{"role": "user", "content": "Say yes."}],
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": True,
    }
    reply = door_of_environment(model).post("/chat/completions", body)
    if reply.code == "depth_not_granted":
        return "depth missing: logprobs"
    if reply.code in {"budget_vectors", "vectors_exhausted"}:
        return "no vectors left: each log-probability counts as one number"
    choices = reply.body.get("choices") or [{}]
    if reply.status == 200 and not choices[0].get("logprobs"):
        return "the server gives no log-probabilities"
    return ""  # Whatever else is wrong fails the evaluation itself, with its own message.


def _row(score: Any) -> Row:
    metadata = score.metadata or {}
    return Row(
        id=str(score.sample_id),
        hit=int(float(score.value) == 1.0),
        verdict=str(metadata.get("verdict", "")),
        category=str(metadata.get("category", "")),
        group=str(metadata.get("group", "")),
        stopped=metadata.get("stopped") == "guard",
        data=metadata.get("data") or {},
    )


def _write_samples(kind: Kind, options: RunOptions, samples: list[dict[str, Any]]) -> str:
    """Random samples beside the log, so that a reader sees what was asked and said."""
    if not samples:
        return ""
    random_ = random.Random(options.seed)  # noqa: S311 - a sample to repeat, not a secret
    ordered = sorted(samples, key=lambda row: str(row.get("id", "")))
    places = sorted(random_.sample(range(len(ordered)), min(SAMPLES_KEPT, len(ordered))))
    name = f"{kind.name}.samples.json"
    value = {
        "evaluation": kind.name,
        "seed": options.seed,
        "of": len(ordered),
        "answers": "kept" if kind.keeps_answers else "not kept: requests for harm",
        "samples": [ordered[place] for place in places],
    }
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    (options.log_folder / name).write_text(text + "\n", encoding="utf-8")
    return name


def _task(kind: Kind, items: Sequence[Item], judge: Scorer) -> Task:
    samples = [
        Sample(
            id=item.id,
            input=item.text,
            target=list(item.answers) or "",
            metadata={
                "category": item.category,
                "group": item.group,
                "extra": dict(item.extra),
            },
        )
        for item in items
    ]
    dataset = MemoryDataset(samples, name=kind.name)
    return Task(name=kind.name, dataset=dataset, solver=generate(), scorer=judge)


def _item(state: TaskState, target: Target) -> Item:
    metadata = state.metadata
    answers = tuple(text for text in target if text)
    return Item(
        id=str(state.sample_id),
        text=state.input_text,
        category=str(metadata.get("category", "")),
        answers=answers,
        group=str(metadata.get("group", "")),
        extra=metadata.get("extra") or {},
    )


def _logprobs(state: TaskState) -> tuple[float, ...]:
    choices = state.output.choices
    found = choices[0].logprobs if choices else None
    return tuple(token.logprob for token in found.content) if found else ()


def _silent(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def read_headline(path: Path) -> dict[str, Any]:
    """What a foreign `.eval` log says at its head: task, model, samples, metrics; no sample."""
    log = read_eval_log(str(path), header_only=True)
    metrics = {
        f"{score.name}/{name}": metric.value
        for score in (log.results.scores if log.results else [])
        for name, metric in score.metrics.items()
    }
    return {
        "task": str(log.eval.task),
        "model": str(log.eval.model),
        "status": str(log.status),
        "samples": int(log.results.completed_samples) if log.results else 0,
        "tool": f"inspect {log.eval.packages.get('inspect_ai', '')}".strip(),
        "figures": metrics,
    }


TASKS: Mapping[str, Callable[..., Task]] = {name: _make(kind) for name, kind in KINDS.items()}
"""The tasks that other harnesses find, by name."""
