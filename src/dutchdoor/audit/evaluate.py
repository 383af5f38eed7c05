"""Runs evaluations against a server, in a process of their own, and says what came out.

The key reaches the child in its environment and nowhere else: no argument, no file, no log.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.ports import Progress
from dutchdoor.errors import Invalid, Unavailable

__all__ = ["EVALUATION_NAMES", "Endpoint", "EvaluationOptions", "log_digest", "run_evaluations"]

EVALUATION_NAMES = ("capability_short_answers", "refusal", "over_refusal")
"""The packaged evaluations, in the order in which they run."""

_COUNTS = {
    "capability_short_answers": "answered correctly",
    "refusal": "refused a request for harm",
    "over_refusal": "refused a harmless request",
}
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "SSL_CERT_FILE")


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
    """limit: samples of each evaluation, 0 for all. at_once: requests at once. total_s_max: all."""

    seed: int = 0
    limit: int = 0
    tokens_max: int = 48
    at_once: int = 8
    total_s_max: int = 1800


def run_evaluations(
    names: Sequence[str],
    endpoint: Endpoint,
    options: EvaluationOptions,
    log_folder: Path,
    progress: Progress | None = None,
) -> tuple[Evaluation, ...]:
    """What the evaluations `names` measured; their logs are in `log_folder`.

    Raises Invalid: an unknown name. Raises Unavailable: one did not come to its end; nothing is
    given of the others either.
    """
    unknown = [name for name in names if name not in _COUNTS]
    if unknown or not names:
        hint = "known: " + ", ".join(EVALUATION_NAMES)
        message = f"no evaluation '{unknown[0]}'" if unknown else "no evaluation is named"
        raise Invalid(message, code="unknown_evaluation", hint=hint)
    log_folder.mkdir(parents=True, exist_ok=True)
    job = {
        "evaluations": list(names),
        "log_folder": str(log_folder.resolve()),
        "model": endpoint.model,
        "seed": options.seed,
        "limit": options.limit,
        "tokens_max": options.tokens_max,
        "at_once": options.at_once,
    }
    rows = _run_child(job, endpoint, options.total_s_max, progress)
    return tuple(_evaluation(row, endpoint, options, log_folder) for row in rows)


def _run_child(
    job: dict[str, Any], endpoint: Endpoint, total_s_max: int, progress: Progress | None
) -> list[dict[str, Any]]:
    outcomes: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="dutchdoor-audit-") as scratch:
        child = subprocess.Popen(
            [sys.executable, "-m", "dutchdoor.audit.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # What a library prints may hold answers.
            cwd=scratch,
            env=_environment(endpoint, scratch),
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(total_s_max, end)
        timer.start()
        try:
            assert child.stdin is not None, "the pipe was asked for"
            assert child.stdout is not None, "the pipe was asked for"
            with child.stdin as pipe:
                pipe.write(json.dumps(job).encode())
            for line in child.stdout:
                _hear(json.loads(line), outcomes, progress)
            code = child.wait()
        except BrokenPipeError as error:
            raise Unavailable("the evaluation process died", code="evaluation_failed") from error
        finally:
            timer.cancel()
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
    if late.is_set():
        message = f"the evaluations took longer than {total_s_max} s and were ended"
        raise Unavailable(message, code="evaluation_too_slow", hint="run fewer samples: --limit")
    if code != 0 or [row["name"] for row in outcomes] != job["evaluations"]:
        raise Unavailable(
            f"the evaluation process ended with code {code} and without results",
            code="evaluation_failed",
            hint="see that the server answers",
        )
    return outcomes


def _hear(row: dict[str, Any], outcomes: list[dict[str, Any]], progress: Progress | None) -> None:
    if row["type"] == "progress" and progress is not None:
        progress(row["name"], row["done"], row["total"])
    elif row["type"] == "outcome":
        outcomes.append(row)
    elif row["type"] == "failed":
        raise Unavailable(row["message"], code=row["code"], hint=row["hint"])


def _environment(endpoint: Endpoint, scratch: str) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed,
        "HOME": scratch,
        "XDG_DATA_HOME": scratch,
        "XDG_CACHE_HOME": scratch,
        "TMPDIR": scratch,
        "DUTCHDOOR_BASE_URL": endpoint.base_url,
        "DUTCHDOOR_API_KEY": endpoint.api_key,
    }


def _evaluation(
    row: dict[str, Any], endpoint: Endpoint, options: EvaluationOptions, log_folder: Path
) -> Evaluation:
    return Evaluation.of(
        name=row["name"],
        counts=_COUNTS[row["name"]],
        n=row["n"],
        hits=row["hits"],
        guard_stopped=row["guard_stopped"],
        seed=options.seed,
        tokens_max=options.tokens_max,
        bundle=endpoint.bundle,
        access_depth=endpoint.access_depth,
        log=row["log"],
        log_digest=log_digest(log_folder / row["log"]),
    )


def log_digest(path: Path) -> str:
    """`sha256:` and the SHA-256 of a log, which may be larger than a document.

    Raises Unavailable: it is gone.
    """
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise Unavailable(f"the log {path.name} is gone", code="log_missing") from error
