"""Starts the runtime's process, has it opened, watches it, and starts it again when it dies.

The listening socket belongs to the supervisor and stays through restarts: gateways find the same
path. Each start is an opening of its own: where the decision is no longer in force, the custodians
release nothing, and the supervisor gives up.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor.config import RuntimeConfig
from dutchdoor.custody.opening import REQUEST_LIFETIME_MS
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Unavailable
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.ids import BundleDigest, DecisionId
from dutchdoor.runtime.control import Begin, Control, Ready, Released, Started
from dutchdoor.runtime.egress import open_meter
from dutchdoor.runtime.model import RuntimeLimits

__all__ = ["OpenBundle", "Opening", "RuntimeStarted", "RuntimeStopped", "Supervisor"]

_READY_S_MAX = 120.0
_STOP_S_MAX = 5.0
_BACKLOG = 128
_PATH_BYTES_MAX = 107  # sockaddr_un: 108 with its closing zero
_FAST_DEATHS_MAX = 5
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_S = 30.0


@dataclass(frozen=True)
class Opening:
    """What custody gives for one opening. companion: the sealed probe, b"" where there is none.

    amends: whether the decision opens the audit or fine-tuning to anybody. egress_bytes_day_max:
    bytes that may leave a day, 0 for any number. hardening: what the decision demands. grade: what
    vouches for this host, as the custodians verified it.
    """

    releases: tuple[bytes, ...]
    decision: DecisionId
    guard: GuardTerms
    companion: bytes = b""
    amends: bool = False
    egress_bytes_day_max: int = 0
    hardening: tuple[str, ...] = ()
    grade: str = "software"


OpenBundle = Callable[[bytes], Opening]
"""Takes a runtime's request to be opened; raises where custody or the decision says no."""


class RuntimeStarted(NamedTuple):
    """A runtime serves. hardening: what it runs under. probe: its digest, or "". grade: of the
    opening.
    """

    pid: int
    bundle: BundleDigest
    model: str
    hardening: tuple[str, ...]
    probe: str
    decision: DecisionId
    grade: str = "software"


class RuntimeStopped(NamedTuple):
    """A runtime that served has ended. code: its exit code, negative for a signal."""

    pid: int
    reason: str
    code: int


class Supervisor:
    """One runtime over its lives. Callbacks come from the supervisor's thread."""

    def __init__(
        self,
        *,
        bundle_path: Path,
        bundle: BundleDigest,
        holders: Mapping[str, bytes],
        socket_path: Path,
        config: RuntimeConfig,
        limits: RuntimeLimits,
        open_bundle: OpenBundle,
        on_started: Callable[[RuntimeStarted], None] = lambda _started: None,
        on_stopped: Callable[[RuntimeStopped], None] = lambda _stopped: None,
        log: int | None = None,
        meter: Path | None = None,
        demanded: Sequence[str] = (),
        opening_ms: int = REQUEST_LIFETIME_MS,
    ) -> None:
        """holders: trusted Ed25519 keys by key id. log: descriptor of the runtime's own output.

        meter: the file that counts what leaves, kept through restarts. demanded: hardening that
        the decision demands besides the configuration's. opening_ms: how long custodians have to
        answer.
        """
        self._meter = meter
        self._bundle_path = bundle_path.resolve()
        self._socket_path = socket_path
        self._open_bundle = open_bundle
        self._on_started = on_started
        self._on_stopped = on_stopped
        self._log = log
        self._config = config
        self._begin = Begin(
            bundle=bundle,
            holders=dict(holders),
            dtype=config.dtype,
            threads=config.threads,
            require=sorted({*config.require, *demanded}),
            limits=limits,
            opening_ms=opening_ms,
        )
        self._listening: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: DutchdoorError | None = None

    @property
    def failure(self) -> DutchdoorError | None:
        """Why there is no runtime any more and none will be started; None while there may be."""
        return self._failure

    @property
    def pid(self) -> int:
        """The runtime's process, 0 where none runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    def start(self) -> RuntimeStarted:
        """Opens and starts the runtime; returns once it serves.

        Raises what the runtime or custody could not go on with; then nothing runs.
        """
        if self._config.engine != "transformers":
            message = f"there is no engine named {self._config.engine!r}"
            raise Invalid(message, code="bad_config", hint="known: transformers")
        self._listening = _listen(self._socket_path)
        try:
            started = self._start_once()
        except BaseException:
            self._close()
            raise
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()
        return started

    def stop(self) -> None:
        """Ends the runtime, and the plaintext with it; gone within seconds, whatever it does."""
        self._stopping.set()
        self._end_process()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2 * _STOP_S_MAX)
        self._close()

    def _start_once(self) -> RuntimeStarted:
        assert self._listening is not None, "the socket comes first"
        ours, theirs = socket.socketpair()
        with theirs:
            process = self._spawn(theirs)
        self._process = process
        self._control = control = Control(ours)
        try:
            control.send(self._begin)
            ready = control.receive(Ready, _READY_S_MAX)
            try:
                opening = self._open_bundle(ready.request)
                _must_be_hardened(opening, ready)
            except Exception as error:
                control.refuse(error)
                raise
            # From here on it will serve. Before, whoever connects hears at once that it does not,
            # however long custodians take.
            self._listening.listen(_BACKLOG)
            guard, companion = opening.guard, opening.companion
            releases, amends = list(opening.releases), opening.amends
            limit = opening.egress_bytes_day_max
            control.send(Released(releases, opening.decision, guard, companion, amends, limit))
            served = control.receive(Started, float(self._config.start_s_max))
        except BaseException:
            self._end_process()
            raise
        started = RuntimeStarted(
            process.pid,
            BundleDigest(self._begin.bundle),
            served.model,
            tuple(ready.hardening),
            served.probe,
            opening.decision,
            opening.grade,
        )
        try:
            # What cannot be recorded does not happen: a start nobody could write down ends here.
            self._on_started(started)
        except BaseException:
            self._end_process()
            raise
        return started

    def _spawn(self, control: socket.socket) -> subprocess.Popen[bytes]:
        assert self._listening is not None
        handles = [control.fileno(), self._listening.fileno()]
        module = "dutchdoor.runtime.main"
        given = ["--bundle", str(self._bundle_path), "--control", str(handles[0])]
        given += ["--listen", str(handles[1])]
        with contextlib.ExitStack() as stack:
            if self._meter is not None:
                # The runtime may open no file for writing: it inherits this one.
                handles.append(stack.enter_context(open_meter(self._meter)))
                given += ["--meter", str(handles[-1])]
            return self._popen([sys.executable, "-I", "-m", module, *given], handles)

    def _popen(self, arguments: list[str], handles: list[int]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=handles,
            cwd="/",
            env=_environment(self._config.threads),
            # Its own session: an interrupt at the terminal reaches the supervisor, not the model.
            start_new_session=True,
        )

    def _watch(self) -> None:
        deaths = 0
        while True:
            code, lived_s = self._wait()
            stopping = self._stopping.is_set()
            process = self._process
            assert process is not None, "something was watched"
            reason = "stopped" if stopping else f"died with code {code}"
            with contextlib.suppress(Exception):
                # The process is gone already: that this cannot be recorded brings nothing back.
                self._on_stopped(RuntimeStopped(process.pid, reason, code))
            if stopping:
                return
            deaths = 0 if lived_s > _STEADY_S else deaths + 1
            if not self._restart(deaths):
                return

    def _restart(self, deaths: int) -> bool:
        """Whether a runtime serves again."""
        if self._begin.opening_ms > REQUEST_LIFETIME_MS:
            # People are asked each time: that is for whoever started this one to begin.
            message = "the runtime died, and its custodians must be asked again"
            hint = "they get a new request: dutchdoor custody request"
            self._failure = Unavailable(message, code="runtime_down", hint=hint)
            return False
        for pause_s in _PAUSES_S[min(deaths, len(_PAUSES_S)) - 1 :]:
            if deaths >= _FAST_DEATHS_MAX or self._stopping.wait(pause_s):
                break
            try:
                self._start_once()
                if self._stopping.is_set():
                    # Somebody stopped us while we were starting.
                    self._end_process()
                return True
            except Refused as error:
                # Custody or the decision says no: asking again is not for us.
                self._failure = error
                return False
            except Exception as error:
                self._failure = error if isinstance(error, DutchdoorError) else None
        if not self._stopping.is_set():
            message = "the runtime dies again and again"
            hint = "look at the runtime's own output, then start it again"
            self._failure = self._failure or Unavailable(message, code="runtime_down", hint=hint)
        return False

    def _wait(self) -> tuple[int, float]:
        """The exit code, and how long the process lived, in seconds."""
        begun_s = time.monotonic()
        assert self._process is not None
        return self._process.wait(), time.monotonic() - begun_s

    def _end_process(self) -> None:
        process, control = self._process, self._control
        if control is not None:
            control.socket.close()
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None
            self._socket_path.unlink(missing_ok=True)


def _must_be_hardened(opening: Opening, ready: Ready) -> None:
    """The released shares are not handed on to a process that is less than was decided."""
    missing = sorted(set(opening.hardening) - set(ready.hardening))
    if missing:
        message = f"the decision demands {', '.join(missing)}, and the runtime does not have it"
        hint = "run on a kernel that has it, or decide anew: dutchdoor release diff"
        raise Refused(message, code="runtime_not_hardened", hint=hint)


def _listen(path: Path) -> socket.socket:
    """A socket at `path`, for this user alone, that does not listen yet.

    Raises Invalid: the path is too long. Raises Refused: somebody listens there already.
    """
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        message = f"a socket's path has {_PATH_BYTES_MAX} bytes at most: {path}"
        raise Invalid(message, code="path_too_long", hint="put the workspace nearer to the root")
    if path.exists():
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                message = f"a runtime is being served at {path} already"
                raise Refused(message, code="already_running", hint="stop it first")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(mask)
    return listening


def _environment(threads: int) -> dict[str, str]:
    """All that the runtime gets of our environment: nothing that could hold a secret."""
    count = str(max(1, threads))
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "USER": "runtime",
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        # Threads that spin while they wait double the work where the gateway needs the cores too.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # torch insists on a folder for compiled code when it is imported. Nothing is compiled
        # here, and this one takes no file from anybody.
        "TORCHINDUCTOR_CACHE_DIR": "/proc",
    }
