"""Where evaluations run: in processes here, or over a Ray cluster. The figures are the same.

An evaluation is one job with its own seed, so that where and beside what it runs changes nothing
but the time. The API key reaches a process in its environment and nowhere else: no argument, no
file, no log. Over Ray it travels to the workers of the cluster, which must be trusted with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor.errors import DutchdoorError, Invalid, Unavailable

__all__ = ["Hear", "LocalFan", "RayFan", "ask_worker"]

PROCESSES_MAX = 64
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "SSL_CERT_FILE")
_HEADLINE_S_MAX = 120

Job = Mapping[str, Any]
Hear = Callable[[dict[str, Any]], None]
"""Hears each row that a process says: progress, an outcome, a failure."""


@dataclass(frozen=True)
class LocalFan:
    """Runs the evaluations of a job in `processes` processes on this machine."""

    processes: int = 1

    def run(self, job: Job, secrets: Mapping[str, str], total_s_max: int, hear: Hear) -> None:
        """Run every evaluation of `job`; outcomes are heard as they come, in any order.

        secrets: environment of the processes alone. Raises Unavailable: one died, said nothing,
        or took longer than `total_s_max` seconds; all of them are ended then.
        """
        if not 1 <= self.processes <= PROCESSES_MAX:
            message = f"evaluations run in 1 to {PROCESSES_MAX} processes"
            raise Invalid(message, code="bad_fan")
        parts = _parts(job, self.processes)
        rows: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with tempfile.TemporaryDirectory(prefix="dutchdoor-audit-") as scratch:
            children = [_Child(part, secrets, Path(scratch, str(n)), rows) for n, part in parts]
            try:
                _listen(children, rows, total_s_max, hear)
            finally:
                for child in children:
                    child.end()
        for child in children:
            child.must_have_ended_well()


@dataclass(frozen=True)
class RayFan:
    """Runs each evaluation of a job as a task of a Ray cluster. address: "" for one of its own.

    What finished is heard at once; what still runs when one fails is cancelled.
    """

    address: str = ""

    def run(self, job: Job, secrets: Mapping[str, str], total_s_max: int, hear: Hear) -> None:
        """As `LocalFan.run`; the logs come back with the outcomes and are written here.

        Raises Unavailable: Ray is not installed (`fan_missing`), or as `LocalFan.run`.
        """
        try:
            import ray  # Deferred: an optional library that most audits do without.
        except ImportError as error:
            hint = "install it in this environment: pip install ray"
            raise Unavailable("ray is not installed", code="fan_missing", hint=hint) from error
        # Ray reports its use to its makers unless told not to: an audit tells nobody anything.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ours = not ray.is_initialized()
        if ours:
            quiet = {"log_to_driver": False, "logging_level": "error"}
            alone = {} if self.address else {"include_dashboard": False}
            ray.init(address=self.address or "local", **quiet, **alone)
        remote = ray.remote(run_apart)
        waiting = [
            remote.remote({**job, "evaluations": [name]}, dict(secrets), total_s_max)
            for name in job["evaluations"]
        ]
        try:
            self._gather(ray, waiting, Path(job["log_folder"]), total_s_max, hear)
        finally:
            for task in waiting:
                ray.cancel(task, force=True)
            if ours:
                ray.shutdown()

    @staticmethod
    def _gather(ray: Any, waiting: list[Any], logs: Path, total_s_max: int, hear: Hear) -> None:
        """Takes each task from `waiting` as it ends."""
        until_s = time.monotonic() + total_s_max
        while waiting:
            left_s = max(0.0, until_s - time.monotonic())
            ready, rest = ray.wait(waiting, num_returns=1, timeout=left_s)
            if not ready:
                raise _late(total_s_max)
            waiting[:] = rest
            try:
                rows, files = ray.get(ready[0])
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, DutchdoorError):
                    raise error.cause from None
                message = "a worker of the cluster failed"
                hint = "see that its workers have this package, and that they reach the server"
                raise Unavailable(message, code="evaluation_failed", hint=hint) from error
            except ray.exceptions.RayError as error:
                message = "a worker of the cluster died"
                raise Unavailable(message, code="evaluation_failed") from error
            for name, data in files.items():
                (logs / Path(name).name).write_bytes(data)
            for row in rows:
                hear(row)


def run_apart(
    job: Job, secrets: Mapping[str, str], total_s_max: int
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The rows of a job that ran on this machine in a folder of its own, and the files it wrote."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="dutchdoor-audit-") as folder:
        LocalFan().run({**job, "log_folder": folder}, secrets, total_s_max, rows.append)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}
    return rows, files


def ask_worker(job: Job) -> dict[str, Any]:
    """The one row that a process of the evaluation stack says of `job`; it gets no key.

    Raises Unavailable: it died or said nothing. Raises Invalid: it says that the job is wrong.
    """
    rows: list[dict[str, Any]] = []
    LocalFan().run(job, {}, _HEADLINE_S_MAX, rows.append)
    if len(rows) != 1:
        raise Unavailable("the evaluation process said nothing", code="evaluation_failed")
    return rows[0]


class _Child:
    """One process of the evaluation stack, and the thread that reads what it says."""

    def __init__(
        self,
        job: Job,
        secrets: Mapping[str, str],
        scratch: Path,
        rows: queue.Queue[dict[str, Any] | None],
    ) -> None:
        scratch.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dutchdoor.audit.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # What a library prints may hold answers.
            cwd=scratch,
            env=_environment(secrets, str(scratch)),
        )
        self._rows = rows
        self._job = json.dumps(job).encode()
        self._code: int | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdin is not None, "the pipe was asked for"
        assert self._process.stdout is not None, "the pipe was asked for"
        try:
            with self._process.stdin as pipe:
                pipe.write(self._job)
            for line in self._process.stdout:
                self._rows.put(json.loads(line))
        except (OSError, ValueError):
            pass  # It died while it spoke: its exit code says so.
        finally:
            self._rows.put(None)

    def end(self) -> None:
        """Stop it, whatever it does."""
        early = self._process.poll() is None and not self._thread.is_alive()
        if early:
            # It closed its output on its own: it is about to end, with its own code.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self._process.kill()
        self._code = self._process.wait()
        self._thread.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def must_have_ended_well(self) -> None:
        """Raises Unavailable where it did not."""
        if self._code != 0:
            raise Unavailable(
                f"the evaluation process ended with code {self._code} and without results",
                code="evaluation_failed",
                hint="see that the server answers, and run it again: what finished is kept",
            )


def _listen(
    children: Sequence[_Child],
    rows: queue.Queue[dict[str, Any] | None],
    total_s_max: int,
    hear: Hear,
) -> None:
    until_s = time.monotonic() + total_s_max
    open_ = len(children)
    while open_:
        try:
            row = rows.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            raise _late(total_s_max) from None
        if row is None:
            open_ -= 1
        elif row["type"] == "failed":
            family = Invalid if row["code"] == "unknown_evaluation" else Unavailable
            raise family(row["message"], code=row["code"], hint=row["hint"])
        else:
            hear(row)


def _late(total_s_max: int) -> Unavailable:
    message = f"the evaluations took longer than {total_s_max} s and were ended"
    return Unavailable(message, code="evaluation_too_slow", hint="run fewer samples: --limit")


def _parts(job: Job, processes: int) -> list[tuple[int, Job]]:
    """The job in as many parts as there are processes and evaluations; one where it has none."""
    names = list(job.get("evaluations", ()))
    if not names:
        return [(0, job)]
    count = min(processes, len(names))
    return [(n, {**job, "evaluations": names[n::count]}) for n in range(count)]


def _environment(secrets: Mapping[str, str], scratch: str) -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **passed,
        "HOME": scratch,
        "XDG_DATA_HOME": scratch,
        "XDG_CACHE_HOME": scratch,
        "TMPDIR": scratch,
        **secrets,
    }
