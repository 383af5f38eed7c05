"""What does one inference cost beyond the runtime alone? Ours beside the bare runtime socket.

    python -m benchmarks.gateway_overhead [--quick] [--json FILE]

The same tiny model, the same runtime process, in turns: asked over its own Unix socket, and asked
through the gateway with everything on (key, decision, grant, Cedar, budgets, text rules, two
durable entries, receipt). Each figure is one round's mean seconds for one short completion.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Options, options, report, take_turns
from dutchdoor.app.gateway import runtime_socket
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import ChatMessage, Generate
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import House, make_house, served

TOKENS = 4
QUESTION = "what is the capital of france"


def through_gateway(house: House, url: str, count: int) -> Callable[[], float]:
    """Mean seconds of `count` completions over HTTP, one after another."""

    def run() -> float:
        body = {
            "model": "tiny",
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": TOKENS,
            "temperature": 0,
        }
        started = time.perf_counter()
        for _ in range(count):
            status, _ = house.ask(url, "/v1/chat/completions", body)
            assert status == 200, "the gateway answers"
        return (time.perf_counter() - started) / count

    return run


def on_the_socket(path: Path, count: int) -> Callable[[], float]:
    """Mean seconds of `count` completions on the runtime's own socket."""

    async def ask_all() -> float:
        client = RuntimeClient(path)
        try:
            started = time.perf_counter()
            for number in range(count):
                request = Generate(
                    f"bench-{number}",
                    TOKENS,
                    chat=[ChatMessage("user", QUESTION)],
                    temperature=0.0,
                    block=False,
                )
                async for _ in client.generate(request):
                    pass
            return (time.perf_counter() - started) / count
        finally:
            await client.aclose()

    return lambda: asyncio.run(ask_all())


def main(chosen: Options) -> None:
    """Run and print."""
    count, rounds = (20, 3) if chosen.quick else (100, 9)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        root = Path(folder)
        house = make_house(root / "house", write_tiny_model(root / "model"))
        with served(house) as running:
            runners = {
                "through the gateway": through_gateway(house, running.url, count),
                "the runtime's socket alone": on_the_socket(
                    runtime_socket(house.workspace.places.run), count
                ),
            }
            figures = take_turns(runners, rounds)
    title = f"one completion of {TOKENS} tokens, one caller"
    report(title, "s", figures, "through the gateway", chosen, ("dutchdoor", "torch", "uvicorn"))


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
