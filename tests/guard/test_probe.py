"""The probe on made-up activations: it finds what it was shown and blocks what it cannot read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.guard.model import Action
from dutchdoor.guard.probe import (
    LAYER,
    TAIL_TOKENS_MAX,
    FeatureAccumulator,
    FittedProbe,
    Probe,
    fit_probe,
    probe_layers,
)

BUNDLE = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
BLOCKS = 10
HIDDEN = 24
MID, UPPER = probe_layers(BLOCKS)
HARM = torch.zeros(HIDDEN)
HARM[:4] = 1.5


class Prompt(NamedTuple):
    text: str
    label: int
    source: str
    category: str


def states(tokens: int, seed: int, harm: slice | None = None) -> dict[int, torch.Tensor]:
    """Noise; the tokens of `harm`, and the last one if there are any, lean towards HARM."""
    generator = torch.Generator().manual_seed(seed)
    hidden = {layer: torch.randn(tokens, HIDDEN, generator=generator) for layer in (MID, UPPER)}
    if harm is not None:
        for value in hidden.values():
            value[harm] += HARM
            value[-1] += HARM
    return {layer: value.to(torch.bfloat16) for layer, value in hidden.items()}


def examples() -> Iterator[tuple[Prompt, dict[int, torch.Tensor], int]]:
    for number in range(240):
        label = int(number % 4 == 0)
        tokens = 12 + number % 50
        prompt = Prompt(f"prompt {number}", label, f"source-{number % 6}", "hate" if label else "")
        yield prompt, states(tokens, number, slice(2, tokens - 3) if label else None), tokens - 4


def accumulate(order: int = 1) -> FeatureAccumulator:
    features = FeatureAccumulator(BLOCKS, HIDDEN)
    for prompt, hidden, last in list(examples())[::order]:
        features.add(prompt, hidden, user_first=2, user_last=last)
    for number in range(40):
        features.add_completion({MID: states(30, 1000 + number)[MID]})
    return features


@pytest.fixture(scope="module")
def fitted() -> FittedProbe:
    return fit_probe(accumulate(), bundle=BUNDLE, seed=7)


def test_it_blocks_what_leans_to_harm_and_lets_the_rest_pass(fitted: FittedProbe) -> None:
    bad = [
        fitted.probe.judge_prompt(states(30, 5000 + n, slice(2, 27)), 26, "fpr_0.01", 2)
        for n in range(100)
    ]
    good = [fitted.probe.judge_prompt(states(30, 6000 + n), 26, "fpr_0.01", 2) for n in range(100)]
    assert sum(v.action is Action.BLOCK for v in bad) > 90
    assert sum(v.action is Action.BLOCK for v in good) < 10
    blocked = next(v for v in bad if v.action is Action.BLOCK)
    assert blocked.layer == LAYER
    assert blocked.reasons == ("score_over_fpr_0.01",)
    assert float(blocked.score) >= float(blocked.threshold)


def test_stricter_rates_have_higher_thresholds(fitted: FittedProbe) -> None:
    assert fitted.probe.thresholds == ("fpr_0.05", "fpr_0.01", "fpr_0.001")
    hidden = states(30, 1)
    cuts = [fitted.probe.judge_prompt(hidden, 26, n, 2).threshold for n in fitted.probe.thresholds]
    assert [float(cut) for cut in cuts] == sorted(float(cut) for cut in cuts)


def test_a_harmful_part_of_a_long_prompt_is_seen(fitted: FittedProbe) -> None:
    plain = states(400, 1)
    hidden = states(400, 1)
    for value in hidden.values():
        value[200:240] += HARM.to(torch.bfloat16) * 2
    assert fitted.probe.judge_prompt(plain, 395, "fpr_0.01", 2).action is not Action.BLOCK
    assert fitted.probe.judge_prompt(hidden, 395, "fpr_0.01", 2).action is Action.BLOCK


def test_text_behind_the_last_user_turn_is_seen_too(fitted: FittedProbe) -> None:
    hidden = states(120, 2)
    for value in hidden.values():
        value[60:100] += HARM.to(torch.bfloat16) * 2
    assert TAIL_TOKENS_MAX < 120 - 20
    assert fitted.probe.judge_prompt(hidden, 20, "fpr_0.01", 2).action is Action.BLOCK


def broken() -> dict[str, tuple[dict[int, Any], int, int]]:
    good = states(30, 3)
    empty: dict[int, Any] = {}
    nan = {layer: value.clone() for layer, value in good.items()}
    nan[MID][5, 5] = float("nan")
    infinite = {layer: value.clone() for layer, value in good.items()}
    infinite[UPPER][-1, 0] = float("inf")
    return {
        "nothing": (empty, 26, 2),
        "a layer is missing": ({MID: good[MID]}, 26, 2),
        "not a number": (nan, 26, 2),
        "infinite": (infinite, 26, 2),
        "too narrow": ({layer: value[:, :5] for layer, value in good.items()}, 26, 2),
        "one token": ({layer: value[0] for layer, value in good.items()}, 0, 0),
        "batched": ({layer: value[None] for layer, value in good.items()}, 26, 2),
        "no tensor": ({MID: [[0.0]], UPPER: [[0.0]]}, 0, 0),
        "layers of different lengths": ({MID: good[MID], UPPER: good[UPPER][:-1]}, 26, 2),
        "the user's end beyond the prompt": (good, 30, 2),
        "the user's end before the start": (good, 1, 2),
        "a negative index": (good, -1, -1),
        "no tokens": ({layer: value[:0] for layer, value in good.items()}, 0, 0),
    }


@pytest.mark.parametrize("case", sorted(broken()))
def test_what_cannot_be_read_is_blocked(fitted: FittedProbe, case: str) -> None:
    hidden, last, first = broken()[case]
    verdict = fitted.probe.judge_prompt(hidden, last, "fpr_0.05", first)
    assert verdict.action is Action.BLOCK
    assert verdict.reasons == ("unreadable_activations",)


@pytest.mark.parametrize("name", ["", "fpr_0.5", "FPR_0.01", "x" * 10_000])
def test_an_unknown_threshold_is_refused_not_guessed(fitted: FittedProbe, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        fitted.probe.judge_prompt(states(30, 1), 26, name, 2)
    assert caught.value.code == "no_threshold"
    with pytest.raises(Invalid):
        fitted.probe.stream(name)


def test_a_stream_that_turns_to_harm_is_blocked_and_stays_blocked(fitted: FittedProbe) -> None:
    judge = fitted.probe.stream("fpr_0.01")
    calm = states(40, 77)[MID]
    assert all(judge.feed({MID: token}).action is not Action.BLOCK for token in calm)
    harmful = [judge.feed({MID: token + HARM}).action for token in calm]
    assert Action.BLOCK in harmful
    first = harmful.index(Action.BLOCK)
    assert 0 < first < 20
    assert set(harmful[first:]) == {Action.BLOCK}
    assert judge.feed({MID: calm[0]}).action is Action.BLOCK


@pytest.mark.parametrize(
    "hidden",
    [
        {},
        {MID: torch.full((HIDDEN,), float("nan"))},
        {MID: torch.zeros(HIDDEN + 1)},
        {MID: torch.zeros(1, HIDDEN)},
        {MID: None},
    ],
)
def test_a_token_that_cannot_be_read_blocks_the_rest(
    fitted: FittedProbe, hidden: dict[int, Any]
) -> None:
    judge = fitted.probe.stream("fpr_0.05")
    assert judge.feed(hidden).action is Action.BLOCK
    assert judge.feed({MID: torch.zeros(HIDDEN)}).action is Action.BLOCK


def test_the_bytes_bring_the_same_probe_back(fitted: FittedProbe) -> None:
    data = fitted.probe.to_bytes()
    again = Probe.from_bytes(data, BUNDLE)
    assert again.to_bytes() == data
    assert (again.digest, again.layers) == (fitted.probe.digest, (MID, UPPER))
    hidden = states(30, 9, slice(2, 27))
    assert again.judge_prompt(hidden, 26, "fpr_0.01") == fitted.probe.judge_prompt(
        hidden, 26, "fpr_0.01"
    )


def test_a_probe_of_another_bundle_is_refused(fitted: FittedProbe) -> None:
    with pytest.raises(Invalid) as caught:
        Probe.from_bytes(fitted.probe.to_bytes(), OTHER)
    assert caught.value.code == "probe_of_other_bundle"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        Probe.from_bytes(data, BUNDLE)


@settings(max_examples=300)
@given(st.data())
def test_a_changed_probe_is_refused_or_is_another_probe(data: st.DataObject) -> None:
    good = _GOOD.to_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :]
    for candidate in (changed, good[:place], good + bytes([place % 256])):
        try:
            probe = Probe.from_bytes(candidate, BUNDLE)
        except Invalid:
            continue
        assert probe.to_bytes() == candidate
        assert probe.digest != _GOOD.digest


def test_the_same_seed_gives_the_same_bytes_whatever_the_order(fitted: FittedProbe) -> None:
    again = fit_probe(accumulate(), bundle=BUNDLE, seed=7)
    assert again.probe.to_bytes() == fitted.probe.to_bytes()
    assert again.card == fitted.card
    backwards = fit_probe(accumulate(-1), bundle=BUNDLE, seed=7)
    assert backwards.probe.to_bytes() == fitted.probe.to_bytes()


def test_the_card_says_what_was_measured_and_what_it_does_not_mean(fitted: FittedProbe) -> None:
    card = canonical.parse(fitted.card)
    assert card["probe"] == fitted.probe.digest
    assert card["bundle"] == BUNDLE
    assert card["examples"] == {"benign": 180, "harmful": 60}
    assert card["training_data"].startswith("sha256:")
    assert set(card["by_source_left_out"]) == {f"source-{n}" for n in range(6)}
    assert card["by_hazard"]["hate"]["examples"] == 60
    assert card["stream"]["calibrated_on"] == "completions"
    assert any("flatter" in limit for limit in card["limits"])
    for kind, name in itertools.product(
        ("out_of_fold", "sources_left_out"), ("fpr_0.05", "fpr_0.01", "fpr_0.001")
    ):
        measured = {key: float(value) for key, value in card[kind]["recall"][name].items()}
        assert measured["low"] <= measured["value"] <= measured["high"]
    assert float(card["out_of_fold"]["auroc"]["value"]) > 0.95
    realised = card["thresholds"]["fpr_0.05"]["realised_false_positive_rate"]["value"]
    assert float(realised) <= 0.05


def test_a_fit_without_completions_says_so() -> None:
    features = FeatureAccumulator(BLOCKS, HIDDEN)
    for prompt, hidden, last in examples():
        features.add(prompt, hidden, user_first=2, user_last=last)
    card = canonical.parse(fit_probe(features, bundle=BUNDLE, seed=0).card)
    assert card["stream"]["calibrated_on"] == "prompt_windows"


def test_too_few_examples_of_a_class_are_refused() -> None:
    features = FeatureAccumulator(BLOCKS, HIDDEN)
    for prompt, hidden, last in examples():
        if prompt.label == 0:
            features.add(prompt, hidden, user_first=2, user_last=last)
    with pytest.raises(Invalid) as caught:
        fit_probe(features, bundle=BUNDLE, seed=0)
    assert caught.value.code == "too_few_examples"


@pytest.mark.parametrize("case", sorted(broken()))
def test_an_example_that_cannot_be_read_is_refused(case: str) -> None:
    hidden, last, first = broken()[case]
    features = FeatureAccumulator(BLOCKS, HIDDEN)
    with pytest.raises(Invalid):
        features.add(Prompt("text", 1, "source", ""), hidden, user_first=first, user_last=last)
    assert len(features) == 0


def test_the_layers_lie_inside_any_model() -> None:
    assert probe_layers(30) == (13, 21)
    for blocks in range(1, 200):
        low, high = probe_layers(blocks)
        assert 0 <= low <= high < blocks


_GOOD = fit_probe(accumulate(), bundle=BUNDLE, seed=7).probe
