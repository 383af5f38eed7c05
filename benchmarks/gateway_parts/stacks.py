"""The processes of `benchmarks.gateway`: the mock, the proxies in front of it, and the callers."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dutchdoor.access.model import Budget
from dutchdoor.app.workspace import Workspace
from dutchdoor.evidence.decision import Depth
from dutchdoor.runtime.protocol import PROTOCOL_VERSION
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import House, make_house

__all__ = ["Bench", "Load", "Proxy"]

PROXY_CPU, OTHERS_CPU = 0, 1
PROMPT_BYTES = 2_000
DAY_MS = 86_400_000
START_S_MAX = 120.0
REST_S_MAX = 20.0
HERE = Path(__file__).parent
WORDS = (
    "the holder of this model asks what a long walk along the shore does to the mind of somebody "
    "who has read all day about tides, lamps, bread and the price of wool in the old harbour "
)


@dataclass(frozen=True)
class Load:
    """One burst. rate: answers a second. cpu_us: of the proxy's processes, for one answer."""

    rate: float
    p50_us: float
    p99_us: float
    first_p50_us: float
    events: int
    failures: int
    cpu_us: float


@dataclass
class Proxy:
    """What is measured. start_s: from its start to its first answer. key, model: to ask it with.

    fresh_mb: its memory when it had just started.
    """

    port: int
    process: subprocess.Popen[bytes]
    key: str = "none"
    model: str = "mock"
    start_s: float = 0.0
    fresh_mb: float = 0.0
    socket: Path = Path()

    def cpu_s(self) -> float:
        """CPU seconds that its processes have used so far."""
        ticks = 0
        for process in _family(self.process.pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """The memory of its processes: what each has alone, and its part of what they share."""
        kilobytes = 0
        for process in _family(self.process.pid):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
        return kilobytes / 1024


class Bench:
    """A workspace, the compiled parts, and the ways to start and to load each door."""

    def __init__(self, folder: Path, *, realtime: bool) -> None:
        self._folder = folder
        self._realtime = realtime
        for name in ("mock", "load"):
            source = HERE / f"{name}.c"
            subprocess.run(["cc", "-O2", "-o", str(folder / name), str(source)], check=True)
        self._house = make_house(folder / "house", write_tiny_model(folder / "model"))
        self._key = _open_wide(self._house)

    @contextmanager
    def mock(self, *, tick_us: int) -> Iterator[Proxy]:
        """The upstream itself; `tick_us` as its source says."""
        path = self._folder / f"mock-{tick_us}.sock"
        description = self._folder / "description"
        description.write_bytes(_description(self._house.bundle.digest))
        port = _free_port()
        arguments = [self._folder / "mock", path, port, description, tick_us]
        with self._running(arguments, OTHERS_CPU) as process:
            _await_port(port, process)
            yield Proxy(port, process, socket=path)

    @contextmanager
    def ours(self, mock: Proxy) -> Iterator[Proxy]:
        """Our gateway, as the supervisor starts it."""
        places = self._house.workspace.places
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        port = listening.getsockname()[1]
        lifeline, held = os.pipe()
        arguments = [sys.executable, "-m", "dutchdoor.server.main", "--workspace", places.root]
        arguments += ["--bundle", self._house.bundle.digest, "--runtime", mock.socket]
        arguments += ["--listen-fd", listening.fileno(), "--lifeline-fd", lifeline]
        began_s = time.monotonic()
        with self._running(arguments, PROXY_CPU, (listening.fileno(), lifeline)) as process:
            proxy = Proxy(port, process, self._key, "tiny")
            _await_answer(proxy)
            proxy.start_s = time.monotonic() - began_s
            proxy.fresh_mb = proxy.memory_mb()
            yield proxy
        for descriptor in (lifeline, held):
            os.close(descriptor)
        listening.close()

    @contextmanager
    def litellm(self, mock: Proxy, python: Path) -> Iterator[Proxy]:
        """LiteLLM's proxy as its documentation starts it: one worker, a master key."""
        port, key = _free_port(), "sk-" + secrets.token_hex(16)
        settings = self._folder / "litellm.yaml"
        upstream = {
            "model": "openai/mock",
            "api_base": f"http://127.0.0.1:{mock.port}/v1",
            "api_key": "none",
        }
        value = {
            "model_list": [{"model_name": "mock", "litellm_params": upstream}],
            "general_settings": {"master_key": key},
        }
        settings.write_text(json.dumps(value))
        program = python.parent / "litellm"
        arguments = [program, "--config", settings, "--port", port, "--host", "127.0.0.1"]
        began_s = time.monotonic()
        with self._running([*arguments, "--num_workers", 1], PROXY_CPU) as process:
            proxy = Proxy(port, process, key)
            _await_answer(proxy)
            proxy.start_s = time.monotonic() - began_s
            proxy.fresh_mb = proxy.memory_mb()
            yield proxy

    def load(
        self, proxy: Proxy, *, connections: int, stream: bool, tokens: int, seconds: float
    ) -> Load:
        """One burst of the closed loop."""
        request = self._folder / "request"
        request.write_bytes(_request(proxy, stream=stream, tokens=tokens))
        arguments = [str(self._folder / "load"), str(proxy.port), str(request)]
        before_s = proxy.cpu_s()
        began_s = time.monotonic()
        done = subprocess.run(
            [*arguments, str(connections), str(seconds)],
            check=True,
            stdout=subprocess.PIPE,
            preexec_fn=self._placed(OTHERS_CPU),
        )
        lasted_s = time.monotonic() - began_s
        cpu_s = proxy.cpu_s() - before_s
        _await_rest(proxy)
        told = json.loads(done.stdout)
        rate = told["answers"] / told["seconds"]
        return Load(
            rate=rate,
            p50_us=told["p50_us"],
            p99_us=told["p99_us"],
            first_p50_us=told["first_p50_us"],
            events=told["events"],
            failures=told["failures"],
            cpu_us=cpu_s / lasted_s / rate * 1e6 if rate else float("nan"),
        )

    @contextmanager
    def _running(
        self, arguments: Sequence[object], cpu: int, descriptors: tuple[int, ...] = ()
    ) -> Iterator[subprocess.Popen[bytes]]:
        log = self._folder / f"{Path(str(arguments[0])).name}-{secrets.token_hex(4)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                start_new_session=True,
                preexec_fn=self._placed(cpu),  # noqa: PLW1509 - no thread runs here
            )
        try:
            yield process
        except BaseException:
            print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _placed(self, cpu: int) -> Any:
        realtime = self._realtime

        def place() -> None:
            os.sched_setaffinity(0, {cpu})
            if realtime:
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

        return place


def _open_wide(house: House) -> str:
    """A grant that blocks and is large enough for any benchmark; the key that uses it."""
    workspace: Workspace = house.workspace
    with workspace.places.config.open("a") as file:
        file.write("\n[limits]\nrequests_at_once_max = 1000\n")
    workspace.access.make_grant(
        house.auditor.id,
        house.bundle.digest,
        purpose="a benchmark",
        depths=(Depth.SAMPLING,),
        budget=Budget(requests=2**40, tokens=2**50),
        not_after_ms=workspace.clock.now_ms() + DAY_MS,
        concurrency_max=1000,
        record=workspace.record,
    )
    return house.api_key


def _description(bundle: str) -> bytes:
    """The description's fields after `type` and `id`, behind their number."""
    fields: dict[str, Any] = {
        "version": PROTOCOL_VERSION,
        "bundle": bundle,
        "model": "tiny",
        "layers": 4,
        "hidden": 64,
        "vocabulary": 512,
        "context": 4096,
        "taps": [],
        "hardening": [],
        "probe": "",
    }
    encoded = (msgspec.msgpack.encode(item) for pair in fields.items() for item in pair)
    return bytes([len(fields)]) + b"".join(encoded)


def _request(proxy: Proxy, *, stream: bool, tokens: int) -> bytes:
    content = (WORDS * (PROMPT_BYTES // len(WORDS) + 1))[:PROMPT_BYTES]
    body: dict[str, Any] = {
        "model": proxy.model,
        "messages": [{"role": "user", "content": content}],
        "max_tokens": tokens,
        "temperature": 0.5,
    }
    if stream:
        body["stream"] = True
    data = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {proxy.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + START_S_MAX
    while time.monotonic() < end_s:
        assert process.poll() is None, "it ended instead of starting"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise AssertionError("it did not start in time")


def _await_answer(proxy: Proxy) -> None:
    """Until it answers one whole completion."""
    _, _, body = _request(proxy, stream=False, tokens=1).partition(b"\r\n\r\n")
    headers = {"authorization": f"Bearer {proxy.key}", "content-type": "application/json"}
    url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
    end_s, said = time.monotonic() + START_S_MAX, ""
    while time.monotonic() < end_s:
        assert proxy.process.poll() is None, "it ended instead of starting"
        try:
            asked = urllib.request.Request(url, data=body, headers=headers)
            with urllib.request.urlopen(asked, timeout=10) as answer:
                answer.read()
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode("utf-8", "replace")[:500]
        except OSError as error:
            said = str(error)
        time.sleep(0.01)
    raise AssertionError(f"it did not answer in time: {said}")


def _await_rest(proxy: Proxy) -> None:
    """Until a proxy has worked off what its callers left behind; the next burst is another's."""
    end_s = time.monotonic() + REST_S_MAX
    while time.monotonic() < end_s:
        before_s = proxy.cpu_s()
        time.sleep(0.2)
        if proxy.cpu_s() - before_s <= 0.03:
            return


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _family(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found
