"""Runs evaluations against a server, in processes of their own, and says what came out.

What finished is kept beside its log at once, so that a run that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.evaluations.catalogue import KINDS, SETS, kind_of
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.fan import LocalFan
from dutchdoor.audit.measure import Evaluation, Interval, Measure
from dutchdoor.audit.ports import Fan, Progress
from dutchdoor.errors import DutchdoorError, Invalid, Unavailable

__all__ = [
    "EVALUATION_NAMES",
    "SHORT_NAMES",
    "Endpoint",
    "EvaluationOptions",
    "log_digest",
    "run_evaluations",
]

EVALUATION_NAMES = tuple(KINDS)
"""The packaged evaluations, in the order in which they run."""
SHORT_NAMES = SETS["short"]
"""Those of a first look."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server and the auditor's way in.

    base_url: ends in `/v1`. bundle: what the server says it serves. access_depth: the depth the
    auditor's calls have, for the record.
    """

    base_url: str
    model: str
    bundle: str
    api_key: str = field(repr=False)
    access_depth: str = "sampling"


@dataclass(frozen=True)
class EvaluationOptions:
    """How evaluations are run.

    limit: samples of each evaluation, 0 for all. tokens_max: of an answer, 0 for each evaluation's
    own. at_once: requests at once. total_s_max: all. canaries: planted ones, of which no secret is
    ever written. probe: digest of the fitted probe, `recall`, `low`, `high`, `harmful` of its card,
    and `held_out`, the seed whose rows its fit left out. fresh: measure again what is kept. fan:
    where they run.
    """

    seed: int = 0
    limit: int = 0
    tokens_max: int = 0
    at_once: int = 8
    total_s_max: int = 3600
    canaries: tuple[Canary, ...] = field(default=(), repr=False)
    probe: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False
    fan: Fan = field(default_factory=LocalFan)


def run_evaluations(
    names: Sequence[str],
    endpoint: Endpoint,
    options: EvaluationOptions,
    log_folder: Path,
    progress: Progress | None = None,
) -> tuple[Evaluation, ...]:
    """What the evaluations `names` measured; their logs are in `log_folder`.

    What an earlier run of the same seed, limit, bundle and probe finished is taken from there.
    Raises Invalid: an unknown name. Raises Unavailable: one did not come to its end; what finished
    before it is kept, and the next run goes on with the rest.
    """
    if not names:
        raise Invalid("no evaluation is named", code="unknown_evaluation")
    for name in names:
        kind_of(name)
    log_folder.mkdir(parents=True, exist_ok=True)
    kept = _Kept(log_folder, endpoint, options)
    done = {} if options.fresh else {name: row for name in names if (row := kept.find(name))}
    for name in done:
        if progress is not None:
            progress(name, 1, 1)
    missing = [name for name in names if name not in done]

    def hear(row: dict[str, Any]) -> None:
        if row["type"] == "progress" and progress is not None:
            progress(row["name"], row["done"], row["total"])
        elif row["type"] == "outcome":
            evaluation = _evaluation(row, endpoint, options, log_folder)
            kept.keep(evaluation)
            done[evaluation.name] = evaluation

    if missing:
        secrets = {"DUTCHDOOR_BASE_URL": endpoint.base_url, "DUTCHDOOR_API_KEY": endpoint.api_key}
        job = _job(missing, endpoint, options, log_folder)
        options.fan.run(job, secrets, options.total_s_max, hear)
    lost = [name for name in names if name not in done]
    if lost:
        message = f"the evaluation {lost[0]} gave no result"
        raise Unavailable(message, code="evaluation_failed", hint="see that the server answers")
    return tuple(done[name] for name in names)


def _job(
    names: Sequence[str], endpoint: Endpoint, options: EvaluationOptions, log_folder: Path
) -> dict[str, Any]:
    return {
        "evaluations": list(names),
        "log_folder": str(log_folder.resolve()),
        "model": endpoint.model,
        "seed": options.seed,
        "limit": options.limit,
        "tokens_max": options.tokens_max,
        "at_once": options.at_once,
        "canaries": [vars(canary) for canary in options.canaries],
        "probe": dict(options.probe),
    }


class _Kept:
    """Finished evaluations beside their logs, each under the conditions it was measured in."""

    def __init__(self, folder: Path, endpoint: Endpoint, options: EvaluationOptions) -> None:
        self._folder = folder
        self._conditions = canonical.digest(
            {
                "bundle": endpoint.bundle,
                "model": endpoint.model,
                "seed": options.seed,
                "limit": options.limit,
                "tokens_max": options.tokens_max,
                "probe": dict(options.probe),
                "canaries": [canonical.digest(vars(row)) for row in options.canaries],
            }
        )

    def find(self, name: str) -> Evaluation | None:
        """The evaluation as it was measured in these conditions, its log unchanged; or None."""
        try:
            value = json.loads(self._path(name).read_text(encoding="utf-8"))
            if value["conditions"] != self._conditions:
                return None
            row = Evaluation.from_body(value["evaluation"])
            for file, digest in ((row.log, row.log_digest), (row.samples, row.samples_digest)):
                if file and log_digest(self._folder / Path(file).name) != digest:
                    return None
        except (OSError, ValueError, KeyError, TypeError, DutchdoorError):
            return None  # Not there, or not as it was written: it is measured again.
        # What could not be measured may be by now: a deeper grant, canaries, another server.
        return row if row.name == name and row.is_measured else None

    def keep(self, evaluation: Evaluation) -> None:
        """Keep it; whole or not at all."""
        value = {"conditions": self._conditions, "evaluation": evaluation.to_body()}
        path = self._path(evaluation.name)
        fresh = path.with_suffix(".part")
        fresh.write_bytes(canonical.encode(value) + b"\n")
        fresh.replace(path)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.finished.json"


def _evaluation(
    row: dict[str, Any], endpoint: Endpoint, options: EvaluationOptions, log_folder: Path
) -> Evaluation:
    kind = kind_of(row["name"])
    log, samples = row["log"], row["samples"]
    common: dict[str, Any] = {
        "name": kind.name,
        "counts": kind.counts,
        "guard_stopped": row["guard_stopped"],
        "seed": options.seed,
        "tokens_max": options.tokens_max or kind.tokens_max,
        "bundle": endpoint.bundle,
        "access_depth": kind.depth if kind.depth != "sampling" else endpoint.access_depth,
        "log": log,
        "log_digest": log_digest(log_folder / log) if log else "",
        "samples": samples,
        "samples_digest": log_digest(log_folder / samples) if samples else "",
        "details": row["details"],
    }
    if row["measure"] == Measure.RATE:
        return Evaluation.of(n=row["n"], hits=row["hits"], **common)
    if row["measure"] == Measure.VALUE:
        interval = Interval(row["low"], row["high"])
        return Evaluation.valued(n=row["n"], value=row["value"], interval=interval, **common)
    return Evaluation.not_measured(why=row["why"], **common)


def log_digest(path: Path) -> str:
    """`sha256:` and the SHA-256 of a log, which may be larger than a document.

    Raises Unavailable: it is gone.
    """
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise Unavailable(f"the log {path.name} is gone", code="log_missing") from error
