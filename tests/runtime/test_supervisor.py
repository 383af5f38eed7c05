"""A whole runtime: process, opening by custodians, sealed bundle, engine, socket, end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dutchdoor.errors import Invalid, NotInForce, Refused, Unavailable
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import Accepted, Done, Generate, Token
from dutchdoor.runtime.supervisor import Supervisor
from tests.runtime.sealed import HARDENING, SealedModel, seal_tiny

pytestmark = pytest.mark.anyio


@pytest.fixture
def model(tmp_path: Path) -> SealedModel:
    return seal_tiny(tmp_path)


@pytest.fixture
def running(model: SealedModel, tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = model.supervise(tmp_path / "runtime.sock")
    supervisor.start()
    yield supervisor
    supervisor.stop()


def observing(name: str, tokens_max: int = 8) -> Generate:
    bias = {2: -100.0}  # it never ends of itself
    return Generate(name, tokens_max, text="the fox", temperature=0.0, block=False, logit_bias=bias)


async def collect(client: RuntimeClient, work: Generate) -> list[Accepted | Token | Done]:
    return [event async for event in client.generate(work)]


async def wait_for(client: RuntimeClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await client.describe()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_sealed_model_is_opened_served_and_gone(
    model: SealedModel, running: Supervisor, tmp_path: Path
) -> None:
    (started,) = model.started
    assert started.bundle == model.digest
    assert set(HARDENING) <= set(started.hardening)
    assert [str(entry.kind) for entry in model.entries] == ["key_released"]
    path = tmp_path / "runtime.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = RuntimeClient(path)
    description = await client.connect()
    assert description.bundle == model.digest
    assert description.hardening == list(started.hardening)
    assert (description.layers, description.hidden, description.probe) == (4, 64, "")
    results = await asyncio.gather(*(collect(client, observing(f"inf_{n}")) for n in range(4)))
    assert {len([e for e in events if isinstance(e, Token)]) for events in results} == {8}
    with pytest.raises(Refused) as caught:
        await collect(client, Generate("inf_b", 4, text="the fox"))
    assert caught.value.code == "guard_not_fitted"
    await client.aclose()
    running.stop()
    assert [stopped.reason for stopped in model.stopped] == ["stopped"]
    assert not path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)


async def test_a_killed_runtime_comes_back_by_a_new_opening(
    model: SealedModel, running: Supervisor, tmp_path: Path
) -> None:
    client = RuntimeClient(tmp_path / "runtime.sock")
    stream = client.generate(observing("inf_a", 512))
    await anext(stream)
    first = running.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Unavailable):
        async for _ in stream:
            pass
    await wait_for(client)
    assert running.pid != first
    assert len(await collect(client, observing("inf_b"))) == 10
    assert len(set(model.requests)) == 2, "each life has a key of its own"
    assert [stopped.code for stopped in model.stopped] == [-signal.SIGKILL]
    await client.aclose()


async def test_a_revoked_model_does_not_come_back(
    model: SealedModel, running: Supervisor, tmp_path: Path
) -> None:
    model.decision = None
    os.kill(running.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while running.failure is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert isinstance(running.failure, Refused)
    assert running.pid == 0
    with pytest.raises(Unavailable):
        await RuntimeClient(tmp_path / "runtime.sock", answer_s_max=0.3).describe()


def test_nothing_starts_without_a_decision(model: SealedModel, tmp_path: Path) -> None:
    model.decision = None
    supervisor = model.supervise(tmp_path / "runtime.sock")
    with pytest.raises(NotInForce):
        supervisor.start()
    assert supervisor.pid == 0
    assert not (tmp_path / "runtime.sock").exists()
    assert model.started == []


def test_one_changed_bit_of_the_bundle_starts_nothing(model: SealedModel, tmp_path: Path) -> None:
    largest = max(model.path.glob("*.sealed"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises(Invalid):
        model.supervise(tmp_path / "runtime.sock").start()
    assert model.started == []


def test_a_demanded_probe_that_is_missing_starts_nothing(
    model: SealedModel, tmp_path: Path
) -> None:
    model.decide(GuardTerms(probe="sha256:" + "0" * 64, threshold="fpr_0.01"))
    with pytest.raises(Refused) as caught:
        model.supervise(tmp_path / "runtime.sock").start()
    assert caught.value.code == "guard_not_fitted"


def test_hardening_that_is_required_and_unknown_starts_nothing(
    model: SealedModel, tmp_path: Path
) -> None:
    with pytest.raises(Invalid):
        model.supervise(tmp_path / "runtime.sock", require=("armour",)).start()
    assert model.requests == [], "no custodian was asked"


def test_a_start_that_cannot_be_recorded_does_not_happen(
    model: SealedModel, tmp_path: Path
) -> None:
    supervisor = model.supervise(tmp_path / "runtime.sock")

    def full(_started: object) -> None:
        raise Unavailable("the disk is full", code="log_full")

    supervisor._on_started = full
    with pytest.raises(Unavailable):
        supervisor.start()
    assert supervisor.pid == 0


def test_the_runtime_ends_when_its_supervisor_does(model: SealedModel, running: Supervisor) -> None:
    pid = running.pid
    assert running._control is not None
    running._stopping.set()
    running._control.socket.close()
    for _ in range(100):
        if running.pid == 0:
            break
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_second_supervisor_at_the_same_place_is_refused(
    model: SealedModel, running: Supervisor, tmp_path: Path
) -> None:
    with pytest.raises(Refused) as caught:
        model.supervise(tmp_path / "runtime.sock").start()
    assert caught.value.code == "already_running"
    assert running.pid
