"""The supervisor: keeps a gateway and a runtime running, and follows the decision in force.

It is the only process that touches custodians' keys. When the decision ends, the runtime ends, and
the plaintext with it; when another comes into force, the runtime is opened anew, under that one.
The gateway stays up all the while and answers with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dutchdoor.app.bundles import Bundle
from dutchdoor.app.ceremonies import Plan
from dutchdoor.app.enforcing import Enforcement
from dutchdoor.app.gateway import runtime_socket
from dutchdoor.app.http import answers
from dutchdoor.app.opening import answer_opening, meter_path
from dutchdoor.app.process import KeptProcess
from dutchdoor.app.reaudit import Attention
from dutchdoor.app.running import Running, alone, forget_running, write_running
from dutchdoor.app.stages import RollBacks
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Config
from dutchdoor.custody.opening import REQUEST_LIFETIME_MS
from dutchdoor.errors import DutchdoorError, NotInForce, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.supervisor import Opening, RuntimeStarted, RuntimeStopped, Supervisor

__all__ = ["serve"]

POLL_S = 0.05
RETRY_S = 2.0
LOOK_S = 0.5
BACKLOG = 512
GATEWAY_START_S_MAX = 60.0
GATEWAY_CANNOT_START = frozenset({3})

Say = Callable[[str], None]


def serve(
    workspace: Workspace, bundle: Bundle, *, port: int | None, say: Say, plan: Plan | None = None
) -> None:
    """Serve `bundle` until told to stop (SIGTERM or SIGINT).

    port: another than the configuration's; 0 for a free one. plan: each opening is a ceremony with
    custodians elsewhere; without one, with those whose keys are here.
    Raises NotInForce: no decision in force lets anybody in. Raises Refused: a server runs here
    already. Raises Unavailable: the port is taken, or the runtime cannot start.
    """
    workspace.register.refresh()
    workspace.register.in_force(bundle.digest, workspace.clock.now_ms())
    places = workspace.places
    places.run.mkdir(mode=0o700, exist_ok=True)
    with alone(places), _listen(workspace.config, port) as listening:
        asyncio.run(_Service(workspace, bundle, listening, say, plan).run())


class _Service:
    """One bundle served: what should run, what runs, and how the one becomes the other."""

    def __init__(
        self,
        workspace: Workspace,
        bundle: Bundle,
        listening: socket.socket,
        say: Say,
        plan: Plan | None,
    ) -> None:
        self._workspace = workspace
        self._plan = plan
        self._bundle = bundle
        self._listening = listening
        self._say = say
        self._attention = Attention(workspace, say)
        self._roll_backs = RollBacks(workspace, bundle.digest, say)
        self._stop = asyncio.Event()
        self._supervisor: Supervisor | None = None
        self._opened_under = ""
        self._retry_at_s = 0.0
        self._enforcement = Enforcement(workspace, bundle.digest)
        self._look_at_s = 0.0
        self._said = ""
        self._socket_path = runtime_socket(workspace.places.run)
        self._gateway = self._make_gateway()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        host, port = self._listening.getsockname()[:2]
        self._url = f"http://{host}:{port}"
        try:
            await self._gateway.start()
            gone = asyncio.create_task(self._gateway.given_up())
            # No key is released for a gateway that cannot serve: wrong policies, no database.
            await self._wait_gateway(gone)
            if self._plan is not None:
                # Custodians may take hours; the server can be asked how it is, and stopped.
                self._announce()
            # The first opening must succeed: an operator at the terminal wants to hear why not.
            await self._open(self._wanted())
            self._say(f"serving {self._bundle.name} at {self._url}")
            while not self._stop.is_set() and not gone.done():
                await self._follow()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), POLL_S)
            if gone.done() and not self._stop.is_set():
                raise _gateway_gone()
            gone.cancel()
        finally:
            await self._gateway.stop()
            await self._close("stopped")
            forget_running(self._workspace.places)

    async def _wait_gateway(self, gone: asyncio.Task[int]) -> None:
        """Until the gateway answers. Raises Unavailable: it gave up, or does not in time."""
        end_s = asyncio.get_running_loop().time() + GATEWAY_START_S_MAX
        while not self._stop.is_set():
            if gone.done() or asyncio.get_running_loop().time() > end_s:
                raise _gateway_gone()
            if await asyncio.to_thread(answers, self._url):
                return
            await asyncio.sleep(POLL_S)

    async def _follow(self) -> None:
        """One look at the log: open, close or leave alone."""
        try:
            wanted = await asyncio.to_thread(self._wanted)
        except DutchdoorError as error:
            # A log that cannot be read says nothing of what is in force: fail closed.
            await self._close(f"the log cannot be read ({error.code})")
            return
        if self._supervisor is not None:
            failure = self._supervisor.failure
            if failure is not None:
                await self._close(f"the runtime cannot be kept ({failure.code})")
                self._later(failure)
            elif wanted is None or wanted.id != self._opened_under:
                await self._close("the decision is no longer in force")
            elif (differs := await self._differs(wanted)) is not None:
                await self._close(f"{differs.message} [{differs.code}]")
                self._later(differs)
        if self._supervisor is None and wanted is not None:
            loop = asyncio.get_running_loop()
            if loop.time() < self._retry_at_s:
                return
            try:
                await self._open(wanted)
            except DutchdoorError as error:
                self._later(error)
        self._announce()

    async def _differs(self, decision: Decision) -> DutchdoorError | None:
        """Why what runs must stop, looked up twice a second: it is not what was decided."""
        now_s = asyncio.get_running_loop().time()
        if now_s < self._look_at_s:
            return None
        self._look_at_s = now_s + LOOK_S
        try:
            await asyncio.to_thread(self._enforcement.check, decision, None, patient=True)
        except DutchdoorError as error:
            return error
        return None

    def _wanted(self) -> Decision | None:
        register = self._workspace.register
        register.refresh()
        self._roll_backs.look()
        try:
            now_ms = self._workspace.clock.now_ms()
            decision = register.in_force(self._bundle.digest, now_ms).decision
            if not self._attention.holds(decision, now_ms):
                return None
            # The look may have recorded what ends it.
            return register.in_force(self._bundle.digest, now_ms).decision
        except NotInForce:
            return None

    async def _open(self, decision: Decision | None) -> None:
        if decision is None:
            message = "no decision is in force on this bundle"
            raise NotInForce(message, code="none_signed", hint="see 'dutchdoor release history'")
        await asyncio.to_thread(self._enforcement.check, decision, None, patient=False)
        supervisor = Supervisor(
            bundle_path=self._bundle.path,
            bundle=self._bundle.digest,
            holders=self._workspace.trust.holder,
            socket_path=self._socket_path,
            config=self._workspace.config.runtime,
            limits=_runtime_limits(self._workspace.config),
            open_bundle=self._answer,
            on_started=self._started,
            on_stopped=self._stopped,
            log=sys.stderr.fileno(),
            meter=meter_path(self._workspace.places, self._bundle),
            demanded=decision.terms.runtime.hardening,
            opening_ms=REQUEST_LIFETIME_MS if self._plan is None else self._plan.lifetime_ms,
        )
        started = await asyncio.to_thread(supervisor.start)
        self._supervisor = supervisor
        self._opened_under = started.decision
        self._said = ""
        self._say(f"the runtime is open under {started.decision}: {', '.join(started.hardening)}")
        self._announce()

    def _answer(self, request: bytes) -> Opening:
        return answer_opening(
            self._workspace,
            self._bundle,
            request,
            plan=self._plan,
            stopped=self._stop.is_set,
            say=self._say,
        )

    async def _close(self, reason: str) -> None:
        supervisor, self._supervisor = self._supervisor, None
        self._opened_under = ""
        if supervisor is None:
            return
        await asyncio.to_thread(supervisor.stop)
        self._say(f"the runtime is closed: {reason}")

    def _later(self, error: DutchdoorError) -> None:
        self._retry_at_s = asyncio.get_running_loop().time() + RETRY_S
        said = f"the runtime is not open: {error.message} [{error.code}]"
        if said != self._said:
            self._say(said)
        self._said = said

    def _started(self, started: RuntimeStarted) -> None:
        body = {
            "bundle": started.bundle,
            "decision": started.decision,
            "hardening": list(started.hardening),
            "probe": started.probe,
            "grade": started.grade,
        }
        self._record(EntryKind.RUNTIME_STARTED, body)

    def _stopped(self, stopped: RuntimeStopped) -> None:
        body = {"bundle": self._bundle.digest, "reason": stopped.reason}
        self._record(EntryKind.RUNTIME_STOPPED, body)

    def _record(self, kind: EntryKind, body: Mapping[str, Any]) -> None:
        self._workspace.record(Entry(kind, self._workspace.clock.now_ms(), dict(body)))

    def _make_gateway(self) -> KeptProcess:
        descriptor = self._listening.fileno()
        arguments = [sys.executable, "-m", "dutchdoor.server.main"]
        arguments += ["--workspace", str(self._workspace.places.root)]
        arguments += ["--runtime", str(self._socket_path), "--listen-fd", str(descriptor)]
        arguments += ["--bundle", self._bundle.digest]
        return KeptProcess(
            arguments,
            environment={},
            pass_fds=(descriptor,),
            give_up_on=GATEWAY_CANNOT_START,
        )

    def _announce(self) -> None:
        supervisor = self._supervisor
        running = Running(
            url=self._url,
            bundle=self._bundle.digest,
            model=self._bundle.manifest.content.model,
            decision=self._opened_under,
            supervisor_pid=os.getpid(),
            gateway_pid=self._gateway.pid,
            runtime_pid=0 if supervisor is None else supervisor.pid,
        )
        if running != getattr(self, "_announced", None):
            write_running(self._workspace.places, running)
            self._announced = running


def _gateway_gone() -> Unavailable:
    message = "the gateway cannot start"
    hint = "the line above, which begins with 'dutchdoor gateway', says why"
    return Unavailable(message, code="gateway_cannot_start", hint=hint)


def _runtime_limits(config: Config) -> RuntimeLimits:
    limits, runtime = config.limits, config.runtime
    return RuntimeLimits(
        prompt_tokens_max=limits.prompt_tokens_max,
        completion_tokens_max=limits.completion_tokens_max,
        batch_requests_max=runtime.batch_requests_max,
        top_logprobs_max=limits.top_logprobs_max,
        stops_max=limits.stops_max,
    )


@contextmanager
def _listen(config: Config, port: int | None) -> Iterator[socket.socket]:
    """The gateway's listening socket; it outlives the gateway's process."""
    chosen = config.server.port if port is None else port
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.server.host, chosen))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        message = f"cannot listen on {config.server.host}:{chosen}: {error.strerror}"
        hint = "choose another with --port, 0 for a free one"
        raise Unavailable(message, code="port_taken", hint=hint) from error
    with listening:
        yield listening
