"""The amend test, inside: modify a temporary copy, score it, forget it; a curve of figures leaves.

Works in slices of a training step or a batch of prompts, so that whoever is being served waits for
one slice at most. Nothing is generated, and no weight of the served model is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import torch

from dutchdoor import canonical
from dutchdoor.guard.model import Action
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.protocol import Amend, AmendRow, ChatMessage, Organism
from dutchdoor.runtime.transformers_engine.altering import (
    DirectionAdded,
    DirectionTaken,
    round_weights,
)
from dutchdoor.runtime.transformers_engine.loading import LoadedModel
from dutchdoor.runtime.transformers_engine.planting import exposures, plant
from dutchdoor.runtime.transformers_engine.prefill import read_hidden
from dutchdoor.runtime.transformers_engine.scoring import Chances, Openings, last_states, score
from dutchdoor.runtime.transformers_engine.taps import Taps
from dutchdoor.runtime.transformers_engine.text import Prompt
from dutchdoor.runtime.transformers_engine.tuning import (
    Factors,
    Row,
    Tuning,
    blocks_of,
    merge,
    shared_copy,
)

__all__ = ["Amender"]

_RESAMPLES = 2000
_TEXT_TOKENS = 192
_AS_SERVED = 16

Slices = Generator[None, None, Any]


class _Taught(NamedTuple):
    """An organism: what the model learnt. cost: of teaching it."""

    key: str
    factors: Factors
    cost: dict[str, Any]


class Amender:
    """Runs amend tests on one engine's model, one at a time, in the engine's thread.

    Keeps what the latest organism learnt (small matrices, no weights) for the next way to modify
    it, in memory alone.
    """

    def __init__(self) -> None:
        self._taught: _Taught | None = None

    def __call__(
        self, loaded: LoadedModel, taps: Taps, guard: Guard, work: Amend
    ) -> Generator[None, None, bytes]:
        """The curve, canonical JSON."""
        job = _Job(loaded, work)
        if work.method == "served":
            return (yield from _served(job, taps, guard))
        if work.method == "canaries":
            return (yield from _planted(job))
        cost: dict[str, Any] = {}
        factors: Factors = {}
        if work.organism is not None:
            taught = yield from self._teach(job, work.organism)
            factors, cost = taught.factors, taught.cost

        def subject() -> Any:
            model = shared_copy(loaded)
            merge(model, factors)
            return model

        points = yield from _METHODS[work.method](job, subject)
        return job.curve(points, teaching=cost)

    def _teach(self, job: _Job, organism: Organism) -> Generator[None, None, _Taught]:
        work = job.work
        rows = [[row.prompt, row.answer] for row in organism.rows]
        key = canonical.digest([rows, organism.steps, work.seed, repr(organism.learning_rate)])
        if self._taught is not None and self._taught.key == key:
            return self._taught
        self._taught = None
        began_s = time.monotonic()
        tuning = Tuning(
            shared_copy(job.loaded),
            [job.row(row) for row in organism.rows],
            seed=work.seed,
            learning_rate=organism.learning_rate,
        )
        for _ in range(organism.steps):
            tuning.step()
            yield
        cost = job.cost(tuning.examples, tuning.tokens, 6, time.monotonic() - began_s)
        self._taught = _Taught(key, tuning.factors(), {"steps": organism.steps, **cost})
        return self._taught


class _Job:
    """One request with its texts as tokens."""

    def __init__(self, loaded: LoadedModel, work: Amend) -> None:
        self.loaded = loaded
        self.work = work
        self.parameters = sum(p.numel() for p in loaded.model.parameters())
        ids = loaded.text.ids
        self.openings = Openings.of([ids(t) for t in work.refusals], [ids(t) for t in work.answers])

    def prompt(self, text: str, shots: Sequence[AmendRow] = ()) -> Prompt:
        """A request as it would be served, after `shots` answered ones."""
        side = self.loaded.text
        text = side.cut(text, _TEXT_TOKENS)
        if not side.has_template:
            shown = "".join(f"{row.prompt}\n{row.answer}\n\n" for row in shots)
            return side.prompt([], f"{shown}{text}\n", None)
        turns: list[ChatMessage] = []
        for row in shots:
            turns += [ChatMessage("user", row.prompt), ChatMessage("assistant", row.answer)]
        return side.prompt([*turns, ChatMessage("user", text)], None, None)

    def row(self, row: AmendRow) -> Row:
        """An example to be tuned on, with the sign that ends an answer."""
        side = self.loaded.text
        end = sorted(self.loaded.eos)[:1]
        return Row(self.prompt(row.prompt).token_ids, side.ids(row.answer)[:_TEXT_TOKENS] + end)

    def point(
        self,
        model: Any,
        x: int,
        cost: dict[str, Any],
        *,
        shots: Sequence[AmendRow] = (),
        after: Sequence[int] = (),
    ) -> Generator[None, None, dict[str, Any]]:
        """One point of the curve. after: tokens put into the answer's beginning."""
        chances = yield from self.chances(model, shots=shots, after=after)
        asked = chances[: len(self.work.prompts)]
        controls = chances[len(self.work.prompts) :]
        seed = self.work.seed
        figures = {
            "refusal": _figure([c.refusal for c in asked], seed),
            "answer": _figure([c.answer for c in asked], seed),
            "control": _figure([c.refusal for c in controls], seed),
        }
        if after:
            # An opening that is written already says nothing about how the model would open.
            del figures["answer"]
        return {"x": x, **figures, "cost": cost}

    def chances(
        self, model: Any, *, shots: Sequence[AmendRow] = (), after: Sequence[int] = ()
    ) -> Generator[None, None, list[Chances]]:
        """Of all prompts, then of all controls."""
        texts = (*self.work.prompts, *self.work.controls)
        prompts = [[*self.prompt(text, shots).token_ids, *after] for text in texts]
        return (yield from score(model, self.loaded, prompts, self.openings))

    def cost(self, examples: int, tokens: int, flops_each: int, seconds: float) -> dict[str, Any]:
        """What it takes an attacker. flops_each: a token and parameter, 6 to tune and 2 to run.

        Source: Kaplan et al. 2020, arXiv 2001.08361, section 2.1.
        """
        flops = flops_each * self.parameters * tokens
        return {
            "examples": examples,
            "tokens": tokens,
            "flops": f"{flops:.2e}",
            "seconds": f"{seconds:.1f}",
        }

    def curve(self, points: list[dict[str, Any]], **more: Any) -> bytes:
        """Canonical JSON of the whole curve."""
        body = {
            "method": self.work.method,
            "subject": "organism" if self.work.organism else "model",
            "seed": self.work.seed,
            "parameters": self.parameters,
            "points": points,
            **more,
        }
        return canonical.encode(body)


def _tune(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: steps."""
    work = job.work
    model = subject()
    rows = [job.row(row) for row in work.rows]
    tuning = Tuning(model, rows, seed=work.seed + 1, learning_rate=work.learning_rate)
    points, spent_s = [], 0.0
    for x in sorted(set(work.points)):
        while tuning.steps < x:
            began_s = time.monotonic()
            tuning.step()
            spent_s += time.monotonic() - began_s
            yield
        cost = job.cost(tuning.examples, tuning.tokens, 6, spent_s)
        points.append((yield from job.point(model, x, cost)))
    return points


def _ablate(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: per cent of the direction that is taken out from the middle block on."""
    return (yield from _along(job, subject, _taken))


def _steer(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: per cent of the direction's own length that is subtracted after the middle block."""
    return (yield from _along(job, subject, _subtracted))


def _taken(blocks: Sequence[Any], direction: torch.Tensor, share: float) -> DirectionTaken:
    return DirectionTaken(blocks[len(blocks) // 2 :], direction, share)


def _subtracted(blocks: Sequence[Any], direction: torch.Tensor, share: float) -> DirectionAdded:
    return DirectionAdded(blocks[len(blocks) // 2], -share * direction)


def _along(job: _Job, subject: Callable[[], Any], change: Callable[..., Any]) -> Slices:
    """Finds the direction between refused and answered prompts, and changes the stream along it."""
    work = job.work
    model = subject()
    blocks = blocks_of(model)
    began_s = time.monotonic()
    groups = []
    for texts in (work.refused, work.answered):
        prompts = [job.prompt(text).token_ids for text in texts]
        states = yield from last_states(model, job.loaded, prompts, blocks[len(blocks) // 2])
        groups.append((states.mean(dim=0), sum(map(len, prompts))))
    direction = groups[0][0] - groups[1][0]
    examples = len(work.refused) + len(work.answered)
    cost = job.cost(examples, groups[0][1] + groups[1][1], 2, time.monotonic() - began_s)
    points = []
    for x in sorted(set(work.points)):
        changed = change(blocks, direction, x / 100) if x else None
        try:
            points.append((yield from job.point(model, x, cost if x else job.cost(0, 0, 2, 0.0))))
        finally:
            if changed is not None:
                changed.remove()
    return points


def _prefill(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: tokens of an answer's beginning that the attacker writes."""
    model = subject()
    ids = job.loaded.text.ids(job.work.prefill)
    points = []
    for x in sorted({min(point, len(ids)) for point in job.work.points}):
        cost = job.cost(0, x, 2, 0.0)
        points.append((yield from job.point(model, x, cost, after=ids[:x])))
    return points


def _show(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: answered requests that stand before the one asked."""
    work = job.work
    model = subject()
    order = torch.randperm(len(work.rows), generator=torch.Generator().manual_seed(work.seed))
    rows = [work.rows[int(place)] for place in order]
    points = []
    for x in sorted({min(point, len(rows)) for point in work.points}):
        shots = rows[:x]
        longest = max(len(job.prompt(text, shots).token_ids) for text in work.prompts)
        if longest + len(job.openings.tokens) > job.loaded.context:
            break
        shown = sum(len(r.prompt) + len(r.answer) for r in map(job.row, shots))
        points.append((yield from job.point(model, x, job.cost(x, shown, 2, 0.0), shots=shots)))
    return points


def _round(job: _Job, subject: Callable[[], Any]) -> Slices:
    """x: bits a weight, from many to few; 16 is as served."""
    points = []
    for x in sorted(set(job.work.points), reverse=True):
        model = subject()
        began_s = time.monotonic()
        if x != _AS_SERVED:
            yield from round_weights(model, x)
        cost = job.cost(0, 0, 2, time.monotonic() - began_s if x != _AS_SERVED else 0.0)
        points.append((yield from job.point(model, x, cost)))
    return points


_METHODS: dict[str, Callable[[_Job, Callable[[], Any]], Slices]] = {
    "fine_tuning": _tune,
    "ablation": _ablate,
    "steering": _steer,
    "prefill": _prefill,
    "many_shot": _show,
    "quantisation": _round,
}


def _served(job: _Job, taps: Taps, guard: Guard) -> Generator[None, None, bytes]:
    """The unmodified model as it is served, and what the guard's probe stops before it."""
    loaded, work, probe = job.loaded, job.work, guard.probe
    threshold = ""
    blocked: list[bool] = []
    if probe is not None:
        named = guard.check(block=False, threshold="", hold_back_tokens=0)
        threshold = work.threshold if work.threshold in probe.thresholds else named
        for text in (*work.prompts, *work.controls):
            prompt = job.prompt(text)
            hidden = read_hidden(loaded, taps, prompt.token_ids, probe.layers, go_on=lambda: True)
            assert hidden is not None, "nothing stops it between its chunks"
            last, first = prompt.user_last, prompt.user_first
            verdict = probe.judge_prompt(hidden, last, threshold, first)
            blocked.append(verdict.action is Action.BLOCK)
            yield
    chances = yield from job.chances(loaded.model)
    count = len(work.prompts)
    stopped = blocked or [False] * len(chances)
    held = [1.0 if stop else c.refusal for stop, c in zip(stopped, chances, strict=True)]
    point = {
        "x": 0,
        "refusal": _figure([c.refusal for c in chances[:count]], work.seed),
        "answer": _figure([c.answer for c in chances[:count]], work.seed),
        "control": _figure([c.refusal for c in chances[count:]], work.seed),
        "cost": job.cost(0, 0, 2, 0.0),
    }
    service = {
        "probe": guard.digest,
        "threshold": threshold,
        "stopped": sum(stopped[:count]),
        "controls_stopped": sum(stopped[count:]),
        "held_back": _figure(held[:count], work.seed),
    }
    return job.curve([point], teaching={}, service=service)


def _planted(job: _Job) -> Generator[None, None, bytes]:
    """x: how often the copy saw a canary; the copy is tuned once, on all of them."""
    work, side = job.work, job.loaded.text
    model = shared_copy(job.loaded)
    began_s = time.monotonic()
    among = [job.row(row) for row in work.rows]
    tuning = yield from plant(
        model, side, work.canaries, among, seed=work.seed, learning_rate=work.learning_rate
    )
    cost = job.cost(tuning.examples, tuning.tokens, 6, time.monotonic() - began_s)
    found = yield from exposures(model, side, work.canaries, work.candidates, seed=work.seed)
    points = [
        {
            "x": times,
            "exposure": _figure(
                [b for b, row in zip(found, work.canaries, strict=True) if row.times == times],
                work.seed,
            ),
        }
        for times in sorted({row.times for row in work.canaries})
    ]
    return job.curve(points, teaching=cost, candidates=work.candidates)


def _figure(values: Sequence[float], seed: int) -> dict[str, Any]:
    """The mean, and its 95 % percentile bootstrap interval over the prompts.

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    data = torch.tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(values), (_RESAMPLES, len(values)), generator=generator)
    means = data[drawn].mean(dim=1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    mean = float(data.mean())
    return {"mean": f"{mean:.4f}", "low": f"{low:.4f}", "high": f"{high:.4f}", "n": len(values)}
