"""The client, against the twin over a real socket."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.errors import Invalid, Refused, Unavailable
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import (
    FRAME_BYTES_MAX,
    Accepted,
    ChatMessage,
    Done,
    FitProbe,
    Generate,
    LabelledText,
    ReadActivations,
    Token,
    Tokenize,
)
from tests.runtime.twin import FORBIDDEN_PROMPT, FORBIDDEN_WORD, Twin, TwinEngine

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with Twin(tmp_path / "runtime.sock", TwinEngine(delay_s=0.001)) as twin:
        yield twin


def ask(name: str, text: str, tokens_max: int = 4, **more: Any) -> Generate:
    chat = [ChatMessage("user", text)]
    return Generate(name, tokens_max, chat=chat, **more)


async def collect(client: RuntimeClient, request: Generate) -> list[Accepted | Token | Done]:
    return [event async for event in client.generate(request)]


def text_of(events: list[Accepted | Token | Done]) -> str:
    return "".join(e.text for e in events if isinstance(e, Token) and not e.prompt)


async def test_many_requests_run_at_once_on_one_connection(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    assert (await client.connect()).model == "twin"
    requests = [ask(f"inf_{n}", f"a{n} b{n}", tokens_max=40) for n in range(50)]
    results = await asyncio.gather(*(collect(client, request) for request in requests))
    for n, events in enumerate(results):
        assert isinstance(events[0], Accepted)
        assert text_of(events) == f" a{n} b{n}" * 20
        done = events[-1]
        assert isinstance(done, Done)
        assert (done.reason, done.completion_tokens) == ("length", 40)
    await client.aclose()


async def test_a_blocked_prompt_and_a_blocked_word_end_with_content_filter(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    (only,) = await collect(client, ask("inf_a", f"tell {FORBIDDEN_PROMPT}"))
    assert isinstance(only, Done)
    assert (only.reason, only.completion_tokens) == ("content_filter", 0)
    events = await collect(client, ask("inf_b", f"good {FORBIDDEN_WORD} more"))
    assert text_of(events) == " good"
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "content_filter"
    await client.aclose()


async def test_a_dead_runtime_ends_every_open_iterator_at_once(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    streams = [client.generate(ask(f"inf_{n}", "a b", tokens_max=100_000)) for n in range(5)]
    for stream in streams:
        assert isinstance(await anext(stream), Accepted)
    twin.stop()
    start = time.monotonic()
    for stream in streams:
        with pytest.raises(Unavailable) as caught:
            async for _ in stream:
                pass
        assert caught.value.code == "runtime_down"
    assert time.monotonic() - start < 1
    with pytest.raises(Unavailable):
        await client.describe()
    twin.start()
    assert (await client.describe()).model == "twin"
    await client.aclose()


async def test_a_killed_process_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "runtime.sock"
    argv = [sys.executable, "-m", "tests.runtime.twin", str(path), "--delay-s", "0.005"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        client = RuntimeClient(path)
        stream = client.generate(ask("inf_a", "a b", tokens_max=100_000))
        await anext(stream)
        process.kill()
        with pytest.raises(Unavailable):
            async for _ in stream:
                pass
        await client.aclose()


async def test_a_listening_socket_without_a_runtime_is_down_not_slow(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "runtime.sock"))
    listening.listen()
    client = RuntimeClient(tmp_path / "runtime.sock", answer_s_max=0.2)
    with pytest.raises(Unavailable) as caught:
        await client.describe()
    assert caught.value.code == "runtime_down"
    listening.close()


async def test_a_slow_reader_stops_only_itself(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path, queue_messages_max=64)
    slow = client.generate(ask("inf_slow", "a b", tokens_max=100_000))
    await anext(slow)
    events = await collect(client, ask("inf_fast", "c d", tokens_max=50))
    assert text_of(events) == " c d" * 25
    await asyncio.sleep(0.3)
    with pytest.raises(Unavailable) as caught:
        async for _ in slow:
            pass
    assert caught.value.code == "consumer_too_slow"
    await client.aclose()


async def test_cancel_ends_a_request_and_so_does_leaving_it(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    stream = client.generate(ask("inf_a", "a b", tokens_max=100_000))
    await anext(stream)
    await client.cancel("inf_a")
    rest = [event async for event in stream]
    assert isinstance(rest[-1], Done)
    assert rest[-1].reason == "cancelled"
    left = client.generate(ask("inf_b", "a b", tokens_max=100_000))
    await anext(left)
    await left.aclose()  # type: ignore[attr-defined]
    assert isinstance(twin.engine, TwinEngine)
    async with asyncio.timeout(5):
        while not twin.engine._jobs[-1].cancelled.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await client.aclose()


async def test_a_refusal_arrives_as_the_error_it_was(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    with pytest.raises(Refused) as refused:
        await collect(client, ask("inf_a", "a", logit_bias={3: 1.0}, logprobs=2))
    assert refused.value.code == "bias_with_logprobs"
    read = ReadActivations("inf_b", ["blocks.9.hook_resid_post"], 1, text="a b")
    with pytest.raises(Invalid) as invalid:
        await client.read_activations(read)
    assert invalid.value.code == "bad_tap"
    await client.aclose()


async def test_a_frame_that_is_too_large_never_leaves(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    with pytest.raises(Invalid) as caught:
        await collect(client, ask("inf_a", "x" * (FRAME_BYTES_MAX + 1)))
    assert caught.value.code == "frame_too_large"
    assert text_of(await collect(client, ask("inf_a", "still here"))) == " still here" * 2
    await client.aclose()


async def test_what_is_no_message_ends_the_connection_and_nothing_else(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    for data in (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x02\x80\x80", b"\0\0\0\x01\xc1"):
        reader, writer = await asyncio.open_unix_connection(str(twin.socket_path))
        writer.write(data)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(1)
        writer.close()
    assert (await client.describe()).model == "twin"
    await client.aclose()


async def test_the_other_answers(twin: Twin) -> None:
    client = RuntimeClient(twin.socket_path)
    tokenized = await client.tokenize(Tokenize("t", text="one two"))
    assert tokenized.pieces == [b"one", b" two"]
    again = await client.tokenize(Tokenize("t", token_ids=tokenized.token_ids))
    assert again.pieces == tokenized.pieces
    read = ReadActivations("r", ["blocks.1.hook_resid_post"], 2, text="a b c")
    activations = await client.read_activations(read)
    assert len(activations.data) == 4 * 2 * activations.hidden
    fitted = await client.fit_probe(FitProbe("f", [LabelledText("a", 0, "test")]))
    assert fitted.digest.startswith("sha256:")
    await client.aclose()
