"""The probe's birth: fitted inside the runtime, sealed to its bundle, demanded by a decision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dutchdoor.errors import DutchdoorError, Refused
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.guard.starter import starter_set
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import (
    Accepted,
    Amend,
    ChatMessage,
    Done,
    FitProbe,
    Generate,
    LabelledText,
    ProbeFitted,
    Token,
)
from tests.runtime.sealed import SealedModel, seal_tiny

pytestmark = pytest.mark.anyio


def examples(count: int) -> list[LabelledText]:
    rows = starter_set(count)
    return [LabelledText(row.text, 1 if row.label else 0, row.source, row.category) for row in rows]


async def fit_in(model: SealedModel, path: Path, work: FitProbe) -> ProbeFitted:
    supervisor = model.supervise(path)
    supervisor.start()
    try:
        client = RuntimeClient(path)
        fitted = await client.fit_probe(work)
        # It guards at once: what was refused before the audit is judged from now on.
        assert (await client.describe()).probe == fitted.digest
        ask = Generate("a", 4, chat=[ChatMessage("user", "hello")], threshold="fpr_0.001")
        async for event in client.generate(ask):
            if isinstance(event, Accepted):
                assert event.verdicts[0].score
        await client.aclose()
    finally:
        supervisor.stop()
    return fitted


async def test_a_probe_is_fitted_sealed_and_then_demanded(tmp_path: Path) -> None:
    model = seal_tiny(tmp_path)
    work = FitProbe("fit", examples(300), seed=3)
    fitted = await fit_in(model, tmp_path / "a.sock", work)
    card = json.loads(fitted.card)
    assert card["probe"] == fitted.digest
    assert card["bundle"] == model.digest
    assert b"safetensors" not in fitted.sealed
    again = await fit_in(model, tmp_path / "b.sock", work)
    assert again.digest == fitted.digest, "the same examples and seed give the same probe"

    model.companion = fitted.sealed
    model.decide(GuardTerms(probe=fitted.digest, threshold="fpr_0.001"))
    supervisor = model.supervise(tmp_path / "c.sock")
    assert supervisor.start().probe == fitted.digest
    client = RuntimeClient(tmp_path / "c.sock")
    ask = Generate("a", 6, chat=[ChatMessage("user", "hello there")], logit_bias={2: -100.0})
    events = [event async for event in client.generate(ask)]
    done = events[-1]
    assert isinstance(done, Done)
    assert done.completion_tokens == len([e for e in events if isinstance(e, Token)])
    with pytest.raises(Refused) as caught:
        await client.fit_probe(work)
    assert caught.value.code == "probe_is_decided"
    await client.aclose()
    supervisor.stop()


async def test_a_probe_of_another_bundle_or_changed_bytes_start_nothing(tmp_path: Path) -> None:
    model, other = seal_tiny(tmp_path / "one"), seal_tiny(tmp_path / "two")
    fitted = await fit_in(other, tmp_path / "a.sock", FitProbe("fit", examples(120)))
    changed = bytearray(fitted.sealed)
    changed[-1] ^= 1
    other.decide(GuardTerms(probe=fitted.digest, threshold="fpr_0.001"))
    other.companion = bytes(changed)
    with pytest.raises(DutchdoorError):
        other.supervise(tmp_path / "b.sock").start()
    model.decide(GuardTerms(probe=fitted.digest, threshold="fpr_0.001"))
    model.companion = fitted.sealed
    with pytest.raises(DutchdoorError):
        model.supervise(tmp_path / "c.sock").start()


async def test_an_amend_test_runs_in_the_process_where_the_decision_opens_it(
    tmp_path: Path,
) -> None:
    model = seal_tiny(tmp_path)
    work = Amend(
        id="amend",
        method="quantisation",
        prompts=[f"prompt {n}" for n in range(8)],
        controls=[f"control {n}" for n in range(8)],
        refusals=["sorry"],
        answers=["yes"],
        points=[16, 4],
    )
    for amends in (True, False):
        model.amends = amends
        supervisor = model.supervise(tmp_path / f"{amends}.sock")
        supervisor.start()
        client = RuntimeClient(tmp_path / f"{amends}.sock")
        try:
            if amends:
                curve = json.loads((await client.amend(work)).curve)
                assert [point["x"] for point in curve["points"]] == [16, 4]
            else:
                with pytest.raises(Refused) as caught:
                    await client.amend(work)
                assert caught.value.code == "amend_not_decided"
        finally:
            await client.aclose()
            supervisor.stop()
