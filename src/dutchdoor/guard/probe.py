"""The learnt probe: reads the model's own activations, on prompts and on each token it writes.

The guard's one door to torch. What it measures while it is fitted and what it measures while it
judges come from the same functions, so the two cannot drift apart.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.guard.fit import EMA_TOKENS, Example, FitInputs, fit
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.guard.probefile import Linear, ProbeParameters, read_probe, write_probe

__all__ = [
    "EXAMPLES_MAX",
    "EXAMPLE_TOKENS_MAX",
    "LAYER",
    "WINDOW_STRIDE",
    "WINDOW_TOKENS",
    "FeatureAccumulator",
    "FittedProbe",
    "LabelledExample",
    "Probe",
    "StreamJudge",
    "fit_probe",
    "probe_layers",
]

LAYER = "probe"
WINDOW_TOKENS = 32
WINDOW_STRIDE = 16
TAIL_TOKENS_MAX = 16
"""A chat template ends a prompt with fewer tokens than these; more of them are somebody's text."""
EXAMPLES_MAX = 6000
EXAMPLE_TOKENS_MAX = 512
"""Longer examples should be cut before `FeatureAccumulator.add`: first half, last half."""
COMPLETIONS_MAX = 1000
TOKENS_EACH = 2

Hidden = Mapping[int, Any]
"""Residual stream after each block: float tensors, [tokens, h] of a prompt, [h] of a token."""


class LabelledExample(Protocol):
    """A prompt of the training set. label: 1 harmful request, 0 benign. category: a hazard."""

    @property
    def text(self) -> str: ...
    @property
    def label(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def category(self) -> str: ...


def probe_layers(blocks: int) -> tuple[int, int]:
    """The blocks whose output the probe reads, of a model of so many: at 0.47 and 0.73 of depth."""
    assert blocks >= 1, "a model has blocks"
    return max(round(0.47 * blocks) - 1, 0), max(round(0.73 * blocks) - 1, 0)


@dataclass(frozen=True)
class _Features:
    """Of one prompt. prompt: float32 [3 * h]. windows: float32 [w, h], w >= 1. span: [t, h]."""

    span: torch.Tensor
    prompt: NDArray[np.float32]
    windows: NDArray[np.float32]


def _floats(hidden: Hidden, layer: int, dimensions: int) -> torch.Tensor:
    value = hidden.get(layer)
    if not isinstance(value, torch.Tensor) or value.dim() != dimensions or value.numel() == 0:
        raise Invalid(f"no hidden states of layer {layer} as they are needed", code="bad_hidden")
    return value.detach().to(torch.float32)


def _features(hidden: Hidden, mid: int, upper: int, first: int, last: int) -> _Features:
    """What the probe reads of a prompt.

    hidden: [tokens, h] at layers `mid` and `upper`. first, last: indices of the first token that
    the caller wrote and of the last one of the last user's turn.
    Raises Invalid: shapes do not fit, indices out of bounds, or values not finite.
    """
    low, high = _floats(hidden, mid, 2), _floats(hidden, upper, 2)
    if low.shape != high.shape:
        raise Invalid("the layers have hidden states of different shapes", code="bad_hidden")
    tokens = low.shape[0]
    if not 0 <= first <= last < tokens:
        raise Invalid("the user's tokens lie outside the prompt", code="bad_hidden")
    # The first token of all is an attention sink, a hundred times as large as any other.
    first = max(first, min(1, last))
    spans = [low[first : last + 1]]
    if tokens - 1 - last > TAIL_TOKENS_MAX:
        spans.append(low[last + 1 :])
    prompt = torch.cat([spans[0].mean(dim=0), low[-1], high[-1]]).cpu().numpy()
    windows = torch.cat([_windows(span) for span in spans]).cpu().numpy()
    if not (np.isfinite(prompt).all() and np.isfinite(windows).all()):
        raise Invalid("hidden states are not finite", code="bad_hidden")
    return _Features(spans[0], prompt, windows)


def _windows(span: torch.Tensor) -> torch.Tensor:
    """Means of all windows of a span [tokens, h]; a short span is one window."""
    if span.shape[0] <= WINDOW_TOKENS:
        return span.mean(dim=0, keepdim=True)
    means = span.unfold(0, WINDOW_TOKENS, WINDOW_STRIDE).mean(dim=-1)
    if (span.shape[0] - WINDOW_TOKENS) % WINDOW_STRIDE:
        means = torch.cat([means, span[-WINDOW_TOKENS:].mean(dim=0, keepdim=True)])
    return means


class FeatureAccumulator:
    """Collects what `fit_probe` needs, example by example: a few vectors each, no activations.

    blocks: how many the model has. hidden: h.
    """

    def __init__(self, blocks: int, hidden: int) -> None:
        self.mid, self.upper = probe_layers(blocks)
        self._hidden = hidden
        self._examples: list[Example] = []
        self._prompts: list[NDArray[np.float32]] = []
        self._windows: list[NDArray[np.float32]] = []
        self._tokens: list[NDArray[np.float32]] = []
        self._completions: list[NDArray[np.float32]] = []

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks whose output must be given; nothing above the last one is needed."""
        return tuple(sorted({self.mid, self.upper}))

    def __len__(self) -> int:
        return len(self._examples)

    def add(
        self, example: LabelledExample, hidden: Hidden, *, user_first: int, user_last: int
    ) -> None:
        """Takes an example's hidden states, [tokens, h] at each of `layers`.

        They are those of the prompt exactly as it would be served, chat template included; see
        `Probe.judge_prompt` for the indices.
        Raises Invalid: what `judge_prompt` would block as unreadable, or too many examples.
        """
        if len(self._examples) >= EXAMPLES_MAX:
            raise Invalid(f"more than {EXAMPLES_MAX} examples", code="too_many_examples")
        features = _features(hidden, self.mid, self.upper, user_first, user_last)
        if features.windows.shape[1] != self._hidden:
            raise Invalid("hidden states of another width", code="bad_hidden")
        self._examples.append(
            Example(example.text, bool(example.label), example.source, example.category)
        )
        self._prompts.append(features.prompt)
        self._windows.append(features.windows)
        # Which tokens is drawn from the text, so that the order of examples does not matter.
        generator = random.Random(example.text)  # noqa: S311  # a sample, no secret
        places = [generator.randrange(len(features.span)) for _ in range(TOKENS_EACH)]
        self._tokens.append(features.span[places].cpu().numpy())

    def add_completion(self, hidden: Hidden) -> None:
        """Takes the hidden states of one completion of the model's own to a benign prompt.

        hidden: [tokens, h] at the lower layer, one row for each token that `StreamJudge.feed`
        would be given.
        Raises Invalid: not so, or too many.
        """
        if len(self._completions) >= COMPLETIONS_MAX:
            raise Invalid(f"more than {COMPLETIONS_MAX} completions", code="too_many_examples")
        states = _floats(hidden, self.mid, 2).cpu().numpy()
        if states.shape[1] != self._hidden or not np.isfinite(states).all():
            raise Invalid("hidden states are not as they are needed", code="bad_hidden")
        self._completions.append(states)

    def inputs(self) -> FitInputs:
        """All that was collected."""
        return FitInputs(
            self.mid,
            self.upper,
            self._hidden,
            tuple(self._examples),
            tuple(self._prompts),
            tuple(self._windows),
            tuple(self._tokens),
            tuple(self._completions),
        )


@dataclass(frozen=True)
class FittedProbe:
    """A probe and its measured card: canonical JSON, described in docs/concepts/guard.md."""

    probe: Probe
    card: bytes


def fit_probe(features: FeatureAccumulator, *, bundle: str, seed: int) -> FittedProbe:
    """A probe for `bundle`, and what was measured of it; the same for the same seed.

    Raises Invalid: fewer than `fit.CLASS_EXAMPLES_MIN` examples of either class.
    """
    fitted = fit(features.inputs(), bundle=bundle, seed=seed)
    probe = Probe(fitted.parameters)
    card = canonical.encode({**fitted.card, "probe": probe.digest, "bundle": bundle})
    return FittedProbe(probe, card)


class Probe:
    """A fitted probe, of one bundle; `from_bytes` is the only way in from outside."""

    def __init__(self, parameters: ProbeParameters) -> None:
        self._data = write_probe(parameters)
        self._parameters = read_probe(self._data)
        self.digest = "sha256:" + canonical.sha256_hex(self._data)
        self._version = "probe-" + self.digest[7:19]

    @classmethod
    def from_bytes(cls, data: bytes, bundle: str) -> Probe:
        """The probe in `data` (unverified bytes), which must be of the bundle with this digest.

        Raises Invalid: not a probe (`bad_probe`), or another bundle's (`probe_of_other_bundle`).
        """
        parameters = read_probe(data)
        if parameters.bundle != bundle:
            raise Invalid(
                "the probe was fitted on another bundle",
                code="probe_of_other_bundle",
                hint="probes do not carry over between models: fit one in an audit of this bundle",
            )
        return cls(parameters)

    def to_bytes(self) -> bytes:
        """The bytes that `from_bytes` reads."""
        return self._data

    @property
    def bundle(self) -> str:
        """The digest of the bundle it was fitted on."""
        return self._parameters.bundle

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks whose output it reads."""
        return tuple(sorted({self._parameters.mid, self._parameters.upper}))

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The names of its thresholds, loosest first."""
        values = self._parameters.thresholds
        return tuple(sorted(values, key=lambda name: values[name]))

    def judge_prompt(
        self, hidden: Hidden, user_last: int, threshold: str, user_first: int = 1
    ) -> Verdict:
        """The verdict on a prompt; whatever cannot be read is blocked.

        hidden: [tokens, h] at each of `layers`, of the whole prompt as the model reads it.
        user_last: index of the last token of the last user's turn (of the last token, where there
        is no chat). user_first: index of the first token that the caller wrote, in any turn.
        Raises Invalid: no threshold of this name.
        """
        cut = self._cut(self._parameters.thresholds, threshold)
        parameters = self._parameters
        try:
            read = _features(hidden, parameters.mid, parameters.upper, user_first, user_last)
            whole = read.prompt.astype(np.float64) @ parameters.prompt.weights
            parts = read.windows.astype(np.float64) @ parameters.window.weights
        except Exception:  # fail closed: a prompt that cannot be read does not pass
            return self._unreadable()
        score = max(
            float(whole) + parameters.prompt.bias,
            float(parts.max(initial=-np.inf)) + parameters.window.bias,
        )
        return self._verdict(score, threshold, cut, parameters.thresholds)

    def stream(self, threshold: str) -> StreamJudge:
        """A judge of one completion. Raises Invalid: no threshold of this name."""
        return StreamJudge(self, threshold)

    def _cut(self, thresholds: Mapping[str, float], name: str) -> float:
        if name not in thresholds:
            hint = "thresholds of this probe: " + ", ".join(self.thresholds)
            message = f"the probe has no threshold '{name[:64]}'"
            raise Invalid(message, code="no_threshold", hint=hint)
        return thresholds[name]

    def _unreadable(self) -> Verdict:
        return Verdict(LAYER, self._version, Action.BLOCK, reasons=("unreadable_activations",))

    def _verdict(
        self, score: float, name: str, cut: float, thresholds: Mapping[str, float]
    ) -> Verdict:
        if not np.isfinite(score):
            return self._unreadable()
        action = Action.ALLOW
        reasons: tuple[str, ...] = ()
        if score >= cut:
            action, reasons = Action.BLOCK, (f"score_over_{name}",)
        elif score >= min(thresholds.values()):
            action, reasons = Action.FLAG, (f"score_over_{self.thresholds[0]}",)
        return Verdict(LAYER, self._version, action, f"{score:.3f}", f"{cut:.3f}", reasons=reasons)


class StreamJudge:
    """Judges one completion, token by token: a running mean of about `EMA_TOKENS` tokens.

    Once it blocks it goes on blocking.
    """

    def __init__(self, probe: Probe, threshold: str) -> None:
        self._probe = probe
        self._thresholds = probe._parameters.stream_thresholds
        self._cut = probe._cut(self._thresholds, threshold)
        self._name = threshold
        self._head: Linear = probe._parameters.stream
        self._mean = 0.0
        self._blocked: Verdict | None = None

    def feed(self, hidden: Hidden) -> Verdict:
        """The verdict once the next token is seen; hidden: [h] at each of the probe's layers."""
        if self._blocked is not None:
            return self._blocked
        try:
            token = _floats(hidden, self._probe._parameters.mid, 1).cpu().numpy()
            score = float(token.astype(np.float64) @ self._head.weights) + self._head.bias
        except Exception:  # fail closed: a token that cannot be read does not pass
            self._blocked = self._probe._unreadable()
            return self._blocked
        self._mean += (score - self._mean) / EMA_TOKENS
        verdict = self._probe._verdict(self._mean, self._name, self._cut, self._thresholds)
        if verdict.action is Action.BLOCK:
            self._blocked = verdict
        return verdict
