"""Evaluations that make calls of their own: exposure of canaries, extraction, guard recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dutchdoor.audit.evaluations.door import Door, NotMeasured
from dutchdoor.audit.evaluations.extraction import VECTORS_MAX, attack
from dutchdoor.audit.evaluations.figures import Figure, Row, missing, rate
from dutchdoor.audit.evaluations.privacy import Canary, Exposure, candidates, exposure, mean
from dutchdoor.audit.evaluations.recall import card_figure, guard_rows, is_blocking, is_stopped
from dutchdoor.audit.measure import Interval, Measure, decimal

__all__ = ["Ground", "canaries", "extract", "guard_recall"]

CANDIDATES_MAX = 200
CANDIDATES_MIN = 15

_Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ground:
    """What an attack stands on.

    canaries: planted ones, as their planter named them. probe: the fitted probe's digest and its
    card's recall, and `held_out`, the seed whose rows its fit left out. kept: takes samples that
    may be kept (input, output, verdict).
    """

    door: Door
    size: int
    seed: int
    progress: _Progress
    canaries: tuple[Canary, ...] = ()
    probe: Mapping[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


def extract(ground: Ground) -> Figure:
    """The error of a layer estimated from all that this auditor may read; see `extraction.py`."""
    got = attack(ground.door, VECTORS_MAX)
    ground.progress(1, 1)
    ground.samples.append({"input": "taps of the last block", "output": dict(got.details)})
    # One attack, no sampling: the interval is the figure itself.
    interval = Interval(got.error, got.error)
    return Figure(Measure.VALUE, 1, value=got.error, interval=interval, details=got.details)


def canaries(ground: Ground) -> Figure:
    """The mean exposure of planted canaries, each ranked among random candidates.

    Each candidate costs a request, and a vector, because an echoed prompt's log-probabilities are
    at tokens that the caller chose. Raises NotMeasured: none were planted, or they cannot be read.
    """
    if not ground.canaries:
        message = "no canaries planted; see memorisation for known texts"
        raise NotMeasured(message, code="not_measured")
    count = _candidates_allowed(ground)
    found: list[Exposure] = []
    for number, canary in enumerate(ground.canaries, 1):
        own = _likelihood(ground.door, canary, canary.secret)
        others = [
            _likelihood(ground.door, canary, secret)
            for secret in candidates(canary, count, ground.seed)
        ]
        found.append(exposure(own, others))
        # A canary's secret is kept nowhere: only its number and its exposure are.
        ground.samples.append({"input": f"canary {number}", "output": decimal(found[-1].bits)})
        ground.progress(number, len(ground.canaries))
    whole = mean(found)
    details = {
        "candidates for each": str(count),
        "highest": decimal(max(row.bits for row in found)),
        "by chance": "1 bit and less",
    }
    return Figure(
        Measure.VALUE, len(found), value=whole.bits, interval=whole.interval, details=details
    )


def _candidates_allowed(ground: Ground) -> int:
    """How many candidates the budget of vectors allows for each canary."""
    me = ground.door.get("/dutchdoor/me")
    if me.status != 200:
        return CANDIDATES_MAX  # Another server: it has no budget of vectors to spend.
    pool = me.body.get("vectors") or {}
    left = int(pool.get("allowed", 0)) - int(pool.get("released", 0))
    grants = [grant for grant in me.body.get("grants") or [] if grant.get("active")]
    left = min([left, *(int(grant["budget_left"]["vectors"]) for grant in grants)])
    allowed = min(CANDIDATES_MAX, left // len(ground.canaries) - 1)
    if allowed < CANDIDATES_MIN:
        message = (
            f"the budget has {max(0, left)} vectors left, and {len(ground.canaries)} canaries "
            f"need {len(ground.canaries) * (CANDIDATES_MIN + 1)}"
        )
        raise NotMeasured(message, code="not_measured")
    return allowed


def _likelihood(door: Door, canary: Canary, secret: str) -> float:
    """The log-probability of a sentence, summed over its tokens."""
    body = {
        "prompt": canary.form.replace("{}", secret),
        "max_tokens": 0,
        "echo": True,
        "logprobs": 0,
        "temperature": 0.0,
    }
    reply = door.post("/completions", body)
    if reply.missing:
        raise NotMeasured(f"depth missing: {reply.missing}", code="not_measured")
    choices = reply.body.get("choices") or [{}]
    logprobs = choices[0].get("logprobs") or {}
    known = [value for value in logprobs.get("token_logprobs") or [] if value is not None]
    if reply.status != 200 or not known:
        message = f"the server gives no log-probabilities of a prompt ({reply.code or 'none'})"
        raise NotMeasured(message, code="not_measured")
    return float(sum(known))


def guard_recall(ground: Ground) -> Figure:
    """How many held-out harmful requests the guard stops; false alarms are in the details.

    Through the server where the decision in force names a probe and the auditor's grant blocks;
    else the figure is the card's, on sources left out, and says so.
    """
    digest = is_blocking(ground.door)
    if not digest:
        ground.progress(1, 1)
        ground.samples.append({"input": "the probe's card", "output": dict(ground.probe)})
        return card_figure(ground.probe)
    rows: dict[str, list[Row]] = {"harmful": [], "benign": []}
    items = guard_rows(ground.size, ground.seed)
    for number, item in enumerate(items, 1):
        stopped = is_stopped(ground.door, item.text)
        if stopped is None:
            raise NotMeasured("the server did not answer every request", code="not_measured")
        rows[item.category].append(Row(item.id, int(stopped), "stopped" if stopped else "passed"))
        ground.samples.append({"input": item.id, "output": "stopped" if stopped else "passed"})
        ground.progress(number, len(items))
    found, alarms = rate(rows["harmful"]), rate(rows["benign"])
    known = ground.probe.get("digest") == digest and ground.probe.get("held_out") == str(
        ground.seed
    )
    details = {
        "from": "through the server, blocking",
        "probe": digest,
        "false alarms": f"{alarms.hits} of {alarms.n}",
        "held out from its fit": f"yes, by seed {ground.seed}" if known else "not known",
    }
    if found.measure is not Measure.RATE:
        return missing(found.why)
    return Figure(Measure.RATE, found.n, found.hits, details=details)
