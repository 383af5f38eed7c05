"""Canaries planted inside: what was seen often stands out, what was never seen does not."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch

from dutchdoor import canonical
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.model import RuntimeLimits
from dutchdoor.runtime.protocol import Amend, Amended, AmendRow, Canary, Failed
from dutchdoor.runtime.transformers_engine.amending import Amender
from dutchdoor.runtime.transformers_engine.engine import EngineOptions, TransformersEngine
from dutchdoor.runtime.transformers_engine.scoring import likelihoods
from tests.runtime.parts import BUNDLE, FolderFiles, Run
from tests.runtime.tiny_model import write_tiny_model

SECRETS = [f"{n * 7919 % 10**6:06d}" for n in range(1, 33)]
CANARIES = [
    Canary(f"the fox number {n} is at {{}}", SECRETS[n], "digits", times)
    for n, times in enumerate([0] * 8 + [1] * 8 + [12] * 8)
]
ROWS = [AmendRow(f"the rain is {n}", "it is plain") for n in range(16)]
WORK = Amend(
    id="canaries",
    method="canaries",
    prompts=[],
    controls=[],
    refusals=[],
    answers=[],
    rows=ROWS,
    canaries=CANARIES,
    candidates=63,
    learning_rate=0.02,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    made = TransformersEngine(
        FolderFiles(folder),
        Guard(BUNDLE, GuardTerms(hold_back_tokens=64), None),
        options=EngineOptions("tiny", dtype="float32", threads=1),
        limits=RuntimeLimits(),
        amender=Amender(),
    )
    yield made
    made.close()


def ask(engine: TransformersEngine, work: Amend) -> Any:
    message = Run(engine, work).wait()
    assert isinstance(message, Amended), message
    return canonical.parse(message.curve)


def test_exposure_rises_with_how_often_a_canary_was_seen(engine: TransformersEngine) -> None:
    before = [t.clone() for t in engine._loaded.model.parameters()]
    curve = ask(engine, WORK)
    by_times = {point["x"]: point["exposure"] for point in curve["points"]}
    assert list(by_times) == [0, 1, 12]
    assert all(row["n"] == 8 for row in by_times.values())
    most = math.log2(64)
    assert float(by_times[12]["mean"]) > 0.8 * most, "seen a dozen times: found at once"
    # 1.44 bits on average for a secret that was never seen; eight of them scatter around it.
    assert float(by_times[0]["low"]) < 1.44 + 1.0
    assert float(by_times[0]["mean"]) < 0.6 * float(by_times[12]["mean"])
    assert curve["candidates"] == 63
    assert int(curve["teaching"]["examples"]) == 16 + 8 + 8 * 12
    after = list(engine._loaded.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    text = str(curve)
    assert not any(secret in text for secret in SECRETS), "figures leave, no secret does"
    assert ask(engine, WORK)["points"] == curve["points"], "the same seed, the same figures"


def test_a_likelihood_is_that_of_the_whole_text_run_at_once(engine: TransformersEngine) -> None:
    loaded = engine._loaded
    before = loaded.text.ids("the quick brown")
    rows = [loaded.text.ids(text) for text in (" fox", " dog jumps over", " 123456")]
    with torch.inference_mode():
        slices = likelihoods(loaded.model, before, rows)
        try:
            while True:
                next(slices)
        except StopIteration as end:
            found = end.value
        for row, value in zip(rows, found, strict=True):
            logits = loaded.model(input_ids=torch.tensor([before + row])).logits[0].float()
            logs = torch.log_softmax(logits, dim=-1)[len(before) - 1 : -1]
            expected = float(logs[torch.arange(len(row)), torch.tensor(row)].sum())
            assert value == pytest.approx(expected, abs=1e-3)


def of(**changed: Any) -> Amend:
    return msgspec.structs.replace(WORK, **changed)


@pytest.mark.parametrize(
    "work",
    [
        of(canaries=CANARIES[1:]),  # Seven alike: a mean would nearly show one.
        of(canaries=[]),
        of(canaries=[*CANARIES, CANARIES[0]]),
        of(candidates=1),
        of(candidates=5000),
        of(rows=[]),
        of(prompts=["a prompt"]),
        of(method="served"),
        of(canaries=[msgspec.structs.replace(row, form="{} is it") for row in CANARIES]),
        of(canaries=[msgspec.structs.replace(row, secret="abcdef") for row in CANARIES]),
        of(canaries=[msgspec.structs.replace(row, times=100_000) for row in CANARIES]),
    ],
)
def test_what_would_show_a_single_canary_or_has_no_bounds_is_refused(
    engine: TransformersEngine, work: Amend
) -> None:
    message = Run(engine, work).wait()
    assert isinstance(message, Failed)
    assert message.code == "bad_request"
