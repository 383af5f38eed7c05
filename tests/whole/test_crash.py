"""Killing the runtime, the gateway, or both at random moments of a running load.

Promise: no acknowledged entry is lost, and no token was released that no entry stands for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dutchdoor.app.background import readiness
from dutchdoor.app.running import find_running
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import House, make_house, served

LOAD_THREADS = 4
KILLS = 9
BETWEEN_KILLS_S = (0.3, 1.6)
BACK_S_MAX = 90.0


@dataclass
class Seen:
    """What one client saw of one inference. text: what reached it. receipt: where it got one."""

    inference: str = ""
    text: str = ""
    finished: bool = False
    receipt: dict[str, object] = field(default_factory=dict)


class Load:
    """Streams without end until told to stop; keeps everything that reached it."""

    def __init__(self, house: House, url: str) -> None:
        self._house = house
        self._address = urlsplit(url)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(LOAD_THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        with self._lock:
            return sum(1 for seen in self.seen if seen.finished)

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            seen = Seen()
            with contextlib.suppress(OSError, ValueError):
                self._stream(f"client {number}, question {count}", seen)
            if seen.text or seen.finished:
                with self._lock:
                    self.seen.append(seen)
            else:
                time.sleep(0.05)

    def _stream(self, text: str, seen: Seen) -> None:
        body = json.dumps(
            {
                "model": "tiny",
                "messages": [{"role": "user", "content": text}],
                "max_tokens": 24,
                "stream": True,
            }
        ).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"authorization: Bearer {self._house.api_key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        address = (str(self._address.hostname), self._address.port or 80)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(head.encode() + body)
            with connection.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b"data: {"):
                        self._take(json.loads(line[6:]), seen)

    @staticmethod
    def _take(chunk: dict[str, object], seen: Seen) -> None:
        seen.inference = str(chunk.get("id", seen.inference)) or seen.inference
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices:
            delta = choices[0].get("delta", {})
            seen.text += delta.get("content") or ""
        told = chunk.get("dutchdoor")
        if isinstance(told, dict) and "receipt" in told:
            seen.finished = True
            seen.inference = str(told["inference"])
            seen.receipt = told["receipt"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_at_random_moments_lose_no_acknowledged_entry_and_release_no_unrecorded_token(
    tmp_path: Path,
) -> None:
    house = make_house(tmp_path / "house", write_tiny_model(tmp_path / "model"))
    places = house.workspace.places
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    with served(house) as running:
        load = Load(house, running.url)
        load.start()
        try:
            for number in range(KILLS):
                time.sleep(moments.uniform(*BETWEEN_KILLS_S))
                now = find_running(places)
                victims = [(now.gateway_pid,), (now.runtime_pid,)][number % 3 : number % 3 + 1]
                for pid in victims[0] if victims else (now.gateway_pid, now.runtime_pid):
                    if pid:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                _wait_back(house)
                _wait_answer(load)
        finally:
            load.stop()
    _check(house, load.seen)


def _wait_back(house: House) -> None:
    end_s = time.monotonic() + BACK_S_MAX
    while time.monotonic() < end_s:
        with contextlib.suppress(Unavailable):
            if readiness(find_running(house.workspace.places))["ready"]:
                return
        time.sleep(0.05)
    pytest.fail("the server did not come back")


def _wait_answer(load: Load) -> None:
    """Each round has to get something through, or the load was none."""
    before, end_s = load.answered, time.monotonic() + BACK_S_MAX
    while load.answered <= before and time.monotonic() < end_s:
        time.sleep(0.05)
    assert load.answered > before, "nothing is answered any more"


def _check(house: House, seen: list[Seen]) -> None:
    places = house.workspace.places
    receipts = {
        f"{one.inference}-{name}": json.dumps(
            receipt, separators=(",", ":"), sort_keys=True, ensure_ascii=False
        ).encode()
        for one in seen
        for name, receipt in one.receipt.items()
    }
    assert receipts, "somebody got a receipt"
    report = check_log(places.evidence, places.trust, receipts)
    assert report.receipts == len(receipts)
    reader = LogReader(places.evidence)
    reader.refresh()
    begun: set[str] = set()
    done: set[str] = set()
    for _, data in reader.entries():
        entry = Entry.decode(data)
        if entry.kind == "inference_begun":
            begun.add(entry.body["inference"])
        elif entry.kind == "inference_done":
            done.add(entry.body["inference"])
    for one in seen:
        assert one.inference.removeprefix("chatcmpl-") in begun, "a token without its entry"
        if one.finished:
            assert one.inference.removeprefix("chatcmpl-") in done, "an acknowledged end is lost"
    assert not report.open_inferences, "after a restart every inference has its end"
