"""The protected process, from its first instruction to its last.

1. Harden, before there is a secret or a second thread.
2. Load the libraries, so that an opening, which lives a minute, does not wait for them.
3. Ask to be opened: an ephemeral key is born here; the custodians seal their shares to it.
4. Combine the shares, open the bundle into memory, and its probe; check the decision's terms.
5. Forget the content key, unless the decision lets the audit fit a probe (which is sealed with it).
6. Serve the socket until the supervisor lets go of us; then end, and the memory with us.

Where anything fails before 6, the supervisor hears why, and the process ends without a model.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor.clock import Clock, SystemClock
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.opening import Opening
from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime.control import Begin, Control, Ready, Released, Started
from dutchdoor.runtime.egress import EgressMeter
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.hardening import harden, installed_paths
from dutchdoor.runtime.model import PROBE_LABEL
from dutchdoor.runtime.ports import Engine
from dutchdoor.runtime.serving import Serving
from dutchdoor.weights.companion import open_companion
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.reader import ReadOptions, SealedBundle

__all__ = ["Handles", "run"]

_BEGIN_S_MAX = 60.0
_RELEASED_S_MAX = 300.0


class Handles(NamedTuple):
    """What the process is born with. bundle: the sealed folder. control, listen: descriptors.

    meter: of the file that counts what leaves, open for reading and writing; -1 for none.
    """

    bundle: Path
    control: int
    listen: int
    meter: int = -1


@dataclass(frozen=True)
class _Served:
    engine: Engine
    hardening: tuple[str, ...]
    begin: Begin
    meter: EgressMeter


def run(handles: Handles) -> int:
    """Runs the whole life of a runtime; gives the exit code."""
    control = Control(socket.socket(fileno=handles.control))
    listening = socket.socket(fileno=handles.listen)
    try:
        served = _start(handles, control, SystemClock())
    except Exception as error:
        # Nothing of the model outlives a failed start; the reason goes to the supervisor alone.
        if not isinstance(error, DutchdoorError):
            _say_where(error)
        control.refuse(error)
        return 1
    asyncio.run(_serve(served, control, listening))
    served.engine.close()
    return 0


def _say_where(error: Exception) -> None:
    """Where our own mistake happened: places in the code, never the message or a value."""
    for frame in traceback.extract_tb(error.__traceback__):
        sys.stderr.write(f"  {frame.filename}:{frame.lineno} in {frame.name}\n")
    sys.stderr.write(f"the runtime failed inside: {type(error).__name__}\n")


def _start(handles: Handles, control: Control, clock: Clock) -> _Served:
    bundle = handles.bundle
    begin = control.receive(Begin, _BEGIN_S_MAX)
    hardening = harden(begin.require, [bundle, *installed_paths()])
    _load_libraries()
    terms = open_folder(bundle, dict(begin.holders)).manifest.terms
    opening = Opening(BundleDigest(begin.bundle), clock, lifetime_ms=begin.opening_ms)
    control.send(Ready(list(hardening), opening.request))
    released = control.receive(Released, max(_RELEASED_S_MAX, begin.opening_ms / 1000))
    opened = opening.finish(released.releases, terms)
    if opened.decision != released.decision:
        message = "the shares were released under another decision than the guard's terms"
        raise Invalid(message, code="mixed_decisions", hint="open the bundle again")
    # Before anything is decrypted: without a meter that counts there is no limit.
    meter = EgressMeter(handles.meter, released.egress_bytes_day_max, clock)
    engine = _open_engine(bundle, opened.key, begin, released, hardening)
    control.send(Started(engine.facts.model, engine.facts.probe))
    return _Served(engine, hardening, begin, meter)


def _load_libraries() -> None:
    import dutchdoor.guard.probe
    import dutchdoor.runtime.transformers_engine.engine
    import dutchdoor.runtime.transformers_engine.fitting  # noqa: F401


def _open_engine(
    path: Path,
    key: ContentKey,
    begin: Begin,
    released: Released,
    hardening: tuple[str, ...],
) -> Engine:
    from dutchdoor.guard.probe import Probe
    from dutchdoor.runtime.transformers_engine.amending import Amender
    from dutchdoor.runtime.transformers_engine.engine import EngineOptions, TransformersEngine
    from dutchdoor.runtime.transformers_engine.fitting import ProbeFitter

    digest, holders = BundleDigest(begin.bundle), dict(begin.holders)
    probe = None
    if released.companion:
        data = open_companion(key, digest, PROBE_LABEL, released.companion)
        probe = Probe.from_bytes(data, digest)
    guard = Guard(digest, released.guard, probe)
    fitter = None if released.guard.probe else ProbeFitter(digest, key)
    options = ReadOptions(threads=max(1, begin.threads), private_copies=True)
    with SealedBundle.open(path, key, holders, bundle=digest, options=options) as files:
        engine = TransformersEngine(
            files,
            guard,
            options=EngineOptions(
                model=files.manifest.content.model,
                dtype=begin.dtype,
                threads=begin.threads,
                makes_code="no_exec_remap" not in hardening,
            ),
            limits=begin.limits,
            fitter=fitter,
            amender=Amender() if released.amends else None,
        )
    if fitter is None:
        key.wipe()
    return engine


async def _serve(served: _Served, control: Control, listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # The supervisor says nothing more; when its end closes, there is nobody to serve for.
    control.socket.setblocking(False)
    loop.add_reader(control.socket.fileno(), stop.set)
    serving = Serving(
        served.engine,
        hardening=served.hardening,
        limits=served.begin.limits,
        meter=served.meter,
    )
    listening.setblocking(False)
    await serving.run(listening, stop)
    loop.remove_reader(control.socket.fileno())
