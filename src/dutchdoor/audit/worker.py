"""Runs evaluations in a process of its own: `python -m dutchdoor.audit.worker`.

The evaluation stack stays out of every other process, its habits (a trace file, a cache, a `.env`
that it reads) happen in a folder that is thrown away, and it can be ended when it hangs. The job
comes in on the standard input, the key in the environment, results go out as JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dutchdoor.errors import DutchdoorError

__all__ = ["main"]

Say = Callable[[dict[str, object]], None]


def main() -> int:
    """Run the job on the standard input; 0 when every evaluation came to its end."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not look like a result.
    os.dup2(2, 1)
    job = json.load(sys.stdin)

    def say(row: dict[str, object]) -> None:
        out.write(json.dumps(row) + "\n")
        out.flush()

    try:
        if "headline" in job:
            _read(job, say)
        else:
            _run(job, say)
    except DutchdoorError as error:
        say({"type": "failed", "code": error.code, "message": str(error), "hint": error.hint})
        return 1
    except ImportError as error:
        hint = "install it: pip install 'dutchdoor[inspect]'"
        message = f"the evaluation stack is missing: {error.name}"
        say({"type": "failed", "code": "inspect_missing", "message": message, "hint": hint})
        return 1
    return 0


def _run(job: dict[str, Any], say: Say) -> None:
    # Deferred: this import is the whole evaluation stack, for this process alone.
    from dutchdoor.audit.evaluations.privacy import Canary
    from dutchdoor.audit.inspect_eval import RunOptions, evaluate

    options = RunOptions(
        log_folder=Path(job["log_folder"]),
        model=job["model"],
        seed=job["seed"],
        limit=job["limit"],
        tokens_max=job["tokens_max"],
        at_once=job["at_once"],
        canaries=tuple(Canary(**row) for row in job["canaries"]),
        probe=job["probe"],
    )
    for name in job["evaluations"]:

        def progress(done: int, total: int, name: str = name) -> None:
            say({"type": "progress", "name": name, "done": done, "total": total})

        outcome = evaluate(name, options, progress)
        figure = outcome.figure
        say(
            {
                "type": "outcome",
                "name": outcome.name,
                "log": outcome.log,
                "samples": outcome.samples,
                "measure": str(figure.measure),
                "n": figure.n,
                "hits": figure.hits,
                "guard_stopped": figure.guard_stopped,
                "value": figure.value,
                "low": figure.interval.low,
                "high": figure.interval.high,
                "why": figure.why,
                "details": dict(figure.details),
            }
        )


def _read(job: dict[str, Any], say: Say) -> None:
    from dutchdoor.audit.inspect_eval import read_headline

    say({"type": "headline", **read_headline(Path(job["headline"]))})


if __name__ == "__main__":
    sys.exit(main())
