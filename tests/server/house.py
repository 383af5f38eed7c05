"""A real server on loopback over the gateway's house, and clients that nobody changed."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import uvicorn

from dutchdoor.evidence.committer import Committer
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.gateway.ledger import Ledger
from dutchdoor.gateway.service import Gateway
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.server.asgi import build_app
from dutchdoor.server.parts import Parts
from tests.gateway.house import House


@dataclass(frozen=True)
class Served:
    """A running server. url: without a slash at its end."""

    url: str
    parts: Parts

    def openai(self, key: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    def wait(self, happened: Callable[[], bool], s_max: float = 10.0) -> None:
        """Until `happened`, looking ten times a second."""
        end_s = time.monotonic() + s_max
        while not happened():
            assert time.monotonic() < end_s, "it did not happen in time"
            time.sleep(0.1)

    def http(self, key: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)


def said(text: str, role: str = "user") -> Any:
    """One turn, as the client's `messages`."""
    return [{"role": role, "content": text}]


@contextmanager
def served(house: House, *, send_bytes: int = 0) -> Iterator[Served]:
    """The server over `house`, in a thread with a loop of its own.

    send_bytes: what the kernel keeps for a caller who does not read; 0 leaves it alone.
    """
    listening = socket.socket()
    if send_bytes:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    ready = threading.Event()
    box: dict[str, Any] = {}

    async def main() -> None:
        log = house.open_log()
        committer = Committer(log)
        ledger = Ledger(committer, LogReader(house.places.evidence))
        gateway = Gateway(
            evidence=ledger,
            decisions=DecisionRegister(LogReader(house.places.evidence), house.trust),
            access=house.open_access(),
            rules=house.rules,
            runtime=RuntimeClient(house.socket),
            config=house.config,
            places=house.places,
            clock=house.clock,
        )
        parts = Parts(gateway, ledger, house.config, "0.0.0", on_close=(committer.aclose,))
        config = uvicorn.Config(
            build_app(parts), lifespan="on", log_level="error", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        box["parts"], box["server"] = parts, server
        task = asyncio.create_task(server.serve([listening]))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.01)
        ready.set()
        await task
        log.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(30), "the server did not start"
    try:
        yield Served(url, box["parts"])
    finally:
        box["server"].should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"
