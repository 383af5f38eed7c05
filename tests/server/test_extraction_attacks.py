"""Attacks that carry the weights away through ordinary answers, on a real model, over real sockets.

Each is run with nobody counting, to show that it works, and with the accountant as it is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dutchdoor.access.attacks import (
    centred,
    last_layer,
    linear_map,
    relative_error,
    shared_columns,
    span_error,
)
from dutchdoor.app.selftest import Haul, Selftest, gather, normalised, outcome_of
from dutchdoor.app.selftest_routes import ROUTES
from dutchdoor.evidence.model import EntryKind
from tests.gateway.house import House
from tests.runtime.tiny_model import write_tiny_model
from tests.server.extraction_house import ALL, HIDDEN, Attacked, attacked

LAST = "blocks.3.hook_resid_post"
ENOUGH = HIDDEN * 4 // 3
ALLOWED = HIDDEN // 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama, h = 128, V = 512, random."""
    texts = tuple(Path(__file__).read_text().splitlines())
    return write_tiny_model(tmp_path_factory.mktemp("model"), hidden=HIDDEN, more=texts)


@pytest.fixture
def counted(tmp_path: Path, model: Path) -> Iterator[Attacked]:
    """As it is served: a quarter of h may leave."""
    with attacked(tmp_path, model, counting=True, vectors_max=ALLOWED) as found:
        yield found


def errors(found: Attacked, haul: Haul) -> tuple[float, float]:
    """How wrong the last layer is by its span, and how wrong a map fitted by least squares."""
    tokens, rows = shared_columns(haul.rows)
    true = found.true(tokens)
    by_span = span_error(true, last_layer(rows).basis)
    if not haul.states:
        return by_span, 1.0
    states = normalised(np.concatenate(haul.states))
    fitted = linear_map(states, centred(rows[: len(states)]))
    return by_span, relative_error(fitted, (true - true.mean(axis=0)).T)


def test_with_nobody_counting_both_attacks_recover_the_weights(tmp_path: Path, model: Path) -> None:
    """What the accountant is for: without it a single key needs a handful of requests."""
    with attacked(tmp_path, model, counting=False) as found:
        assert len(found.names) == 512
        haul = gather(
            [found.door()],
            HIDDEN,
            spend_max=1 << 30,
            tap=LAST,
            width=ALL,
            rows_max=ENOUGH,
            words=8,
        )
        outcome = outcome_of(haul, 1)
        assert outcome.hidden == HIDDEN, "the hidden size is read off"
        assert max(errors(found, haul)) < 3e-6
        assert outcome.unseen < 1e-5


@pytest.mark.parametrize("people", [1, 10])
@pytest.mark.parametrize("tap", ["", LAST])
def test_counted_neither_one_person_nor_ten_together_get_past_the_pool(
    counted: Attacked, people: int, tap: str
) -> None:
    doors = [counted.door() for _ in range(people)]
    haul = gather(doors, HIDDEN, spend_max=1 << 30, tap=tap, width=ALL, words=1)
    outcome = outcome_of(haul, people)
    assert set(haul.refused) == {"vectors_exhausted"}
    assert len(haul.refused) == people, "every one of them"
    assert ALLOWED - 8 <= haul.counted == counted.released <= ALLOWED
    assert outcome.hidden is None, "the hidden size is not revealed"
    assert min(errors(counted, haul)) > 0.8
    assert outcome.error > 0.8
    assert outcome.unseen > 0.8


def test_partial_rows_and_chosen_tokens_end_at_the_pool_too(counted: Attacked) -> None:
    """The 20 likeliest, and one token that the caller chose, at each position of a prompt."""
    haul = gather([counted.door() for _ in range(10)], HIDDEN, spend_max=1 << 30, width=20, words=8)
    given = sum(map(len, haul.rows))
    assert given <= counted.released * HIDDEN <= ALLOWED * HIDDEN
    assert set(haul.refused) == {"vectors_exhausted"}
    assert outcome_of(haul, 10).hidden is None


def test_every_route_counts_at_least_what_it_gives(tmp_path: Path, model: Path) -> None:
    with attacked(tmp_path, model, counting=True, vectors_max=HIDDEN - 1) as found:
        attack = Selftest([found.door()], HIDDEN, spend_max=HIDDEN, tap=LAST)
        rows = attack.routes(lambda _: None)
        assert [row.name for row in rows] == [name for name, _, _ in ROUTES]
        lax = [row for row in rows if not row.holds]
        assert not lax
        given = {row.name: row.given for row in rows}
        assert given["text alone"] == given["seed and temperature"] == 0
        assert given["logprobs"] == 3
        assert given["top_logprobs"] >= 60
        assert given["hidden vectors"] == HIDDEN
        assert given["logit_bias"] == 4 * 2
        assert given["logit_bias and logprobs"] == 0, "refused"
        total = sum(row.counted for row in rows)
        assert found.released == -(-total // HIDDEN), "asked again is counted again, over all"


def test_a_stream_counts_as_a_whole_answer_does(counted: Attacked) -> None:
    key = counted.key()
    stream = counted.server.openai(key).completions.create(
        model="twin", prompt="the quick", max_tokens=6, logprobs=3, echo=True, stream=True
    )
    shown = 0
    for chunk in stream:
        told = chunk.choices[0].logprobs if chunk.choices else None
        for token, value, top in zip(
            (told and told.tokens) or [],
            (told and told.token_logprobs) or [],
            (told and told.top_logprobs) or [],
            strict=True,
        ):
            shown += len({**(top or {}), token: value}) if value is not None else 0
    counts = counted.house.entries(EntryKind.INFERENCE_DONE)[-1].body["counts"]
    assert counts["numbers"] == shown > 0


def test_bisecting_with_a_bias_reads_a_logit_and_pays_for_every_bit(counted: Attacked) -> None:
    """Carlini et al. without log-probabilities: which bias lifts a token above the others."""
    door = counted.door(vectors=20)
    prompt = [10, 11, 12]
    body: dict[str, Any] = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0}
    probe = {**body, "max_tokens": 0, "echo": True, "logprobs": 0}
    other = 77
    low, high, asked = 0.0, 100.0, 16
    best = door.post("/completions", body).body["choices"][0]["text"]
    for _ in range(asked):
        middle = (low + high) / 2
        reply = door.post("/completions", {**body, "logit_bias": {str(other): middle}})
        lifted = reply.body["choices"][0]["text"] != best
        low, high = (low, middle) if lifted else (middle, high)
    top = door.post("/completions", {**body, "logprobs": 1}).body["choices"][0]["logprobs"]
    own = door.post("/completions", {**probe, "prompt": [*prompt, other]})
    true = top["token_logprobs"][0] - own.body["choices"][0]["logprobs"]["token_logprobs"][-1]
    assert (low + high) / 2 == pytest.approx(true, abs=0.01), "the attack works"
    done = counted.house.entries(EntryKind.INFERENCE_DONE)
    biased = [entry.body["counts"]["numbers"] for entry in done[1 : 1 + asked]]
    assert sum(biased) >= asked, "one number at least for each bit"


def test_a_bias_is_refused_to_whoever_has_no_vectors_and_text_is_not(counted: Attacked) -> None:
    door = counted.door(vectors=0)
    body = {"prompt": "the quick", "max_tokens": 2}
    assert door.post("/completions", {**body, "logit_bias": {"7": 1.0}}).code == "budget_vectors"
    assert door.post("/completions", {**body, "logprobs": 0}).code == "budget_vectors"
    assert door.post("/completions", {**body, "frequency_penalty": 1.0}).status == 200
    assert counted.released == 0


def test_a_decision_that_overstates_the_width_makes_nothing_cheaper(
    tmp_path: Path, model: Path
) -> None:
    with attacked(tmp_path, model, counting=True) as found:
        found.house.decide(hidden_size=100 * HIDDEN, vectors_max=ALLOWED)
        haul = gather([found.door()], HIDDEN, spend_max=1 << 30, width=20, words=8)
        assert sum(map(len, haul.rows)) <= ALLOWED * HIDDEN


def test_what_was_released_stays_released_after_a_restart(tmp_path: Path, model: Path) -> None:
    with attacked(tmp_path, model, counting=True) as found:
        gather([found.door()], HIDDEN, spend_max=1 << 30, width=ALL, words=1)
        released = found.released
    again = House(tmp_path, fresh=False)
    assert again.access.released(found.bundle) == released > 0


def test_echoed_log_likelihoods_are_the_models_own_and_counted_one_by_one(
    counted: Attacked, model: Path
) -> None:
    """What harnesses score with: each token's own number, and whether it was the likeliest."""
    import torch
    import transformers

    ids = [10, 200, 31, 44, 305, 6]
    body = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0.0}
    told = counted.door().post("/completions", body).body["choices"][0]["logprobs"]
    reference = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    with torch.no_grad():
        logs = torch.log_softmax(reference(torch.tensor([ids])).logits[0].float(), dim=-1)
    true = [float(logs[place, token]) for place, token in enumerate(ids[1:])]
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:] == pytest.approx(true, abs=1e-4)
    best = [max(row.values()) for row in told["top_logprobs"][1:]]
    assert best == pytest.approx([float(row.max()) for row in logs[:-1]], abs=1e-4)
    counts = counted.house.entries(EntryKind.INFERENCE_DONE)[-1].body["counts"]
    named = [
        {*row, name} for row, name in zip(told["top_logprobs"][1:], told["tokens"][1:], strict=True)
    ]
    assert counts["numbers"] == sum(map(len, named))
