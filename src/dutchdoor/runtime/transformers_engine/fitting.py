"""Fitting the guard's probe inside: the examples' hidden states never leave the process.

Examples are run as they would be served, chat template included. What all of them share, the
template's beginning, is run once; blocks above the probe's last one are not run at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import DynamicCache

from dutchdoor.custody.model import ContentKey
from dutchdoor.guard.probe import FeatureAccumulator, Probe, fit_probe
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime.model import PROBE_LABEL
from dutchdoor.runtime.protocol import ChatMessage, FitProbe, LabelledText
from dutchdoor.runtime.transformers_engine.cache import BatchCache
from dutchdoor.runtime.transformers_engine.loading import LoadedModel
from dutchdoor.runtime.transformers_engine.taps import Taps
from dutchdoor.runtime.transformers_engine.text import Prompt
from dutchdoor.weights.companion import seal_companion

__all__ = ["Fitted", "Fitter", "ProbeFitter"]

_BATCH_TOKENS = 1024
_COMPLETIONS = 64
_COMPLETION_ROWS = 16
_COMPLETION_TOKENS = 32
_EXAMPLE_TOKENS = 256
_PROMPTS_A_SLICE = 100


class Fitted(NamedTuple):
    """A fitted probe, sealed to its bundle, and its card (canonical JSON)."""

    probe: Probe
    sealed: bytes
    card: bytes


Fitter = Callable[[LoadedModel, Taps, FitProbe], Generator[None, None, Fitted]]
"""Fits in slices: each step of the generator is short, its result is what was fitted."""


class _Case(NamedTuple):
    example: LabelledText
    prompt: Prompt


class ProbeFitter:
    """Fits probes for one bundle and seals them with its content key, which it holds."""

    def __init__(self, bundle: BundleDigest, key: ContentKey) -> None:
        self._bundle = bundle
        self._key = key

    def __call__(
        self, loaded: LoadedModel, taps: Taps, work: FitProbe
    ) -> Generator[None, None, Fitted]:
        """Raises Invalid: too few examples of a label, or a model whose states do not differ."""
        cases: list[_Case] = []
        for start in range(0, len(work.examples), _PROMPTS_A_SLICE):
            slice_ = work.examples[start : start + _PROMPTS_A_SLICE]
            cases += [_Case(example, _prompt(loaded, example.text)) for example in slice_]
            yield
        features = FeatureAccumulator(len(loaded.layers), loaded.hidden)
        yield from _add_prompts(loaded, taps, features, cases)
        benign = [case.prompt for case in cases if case.example.label == 0]
        # Chosen by the seed so that a fit can be repeated: nothing here is secret.
        seeded = random.Random(work.seed)  # noqa: S311
        chosen = seeded.sample(benign, min(_COMPLETIONS, len(benign)))
        generator = torch.Generator().manual_seed(work.seed)
        for start in range(0, len(chosen), _COMPLETION_ROWS):
            rows = chosen[start : start + _COMPLETION_ROWS]
            yield from _add_completions(loaded, taps, features, rows, generator)
        fitted = fit_probe(features, bundle=self._bundle, seed=work.seed)
        data = fitted.probe.to_bytes()
        sealed = seal_companion(self._key, self._bundle, PROBE_LABEL, data)
        return Fitted(fitted.probe, sealed, fitted.card)


def _prompt(loaded: LoadedModel, text: str) -> Prompt:
    text = loaded.text.cut(text, _EXAMPLE_TOKENS)
    if loaded.text.has_template:
        return loaded.text.prompt([ChatMessage("user", text)], None, None)
    return loaded.text.prompt([], text, None)


def _add_prompts(
    loaded: LoadedModel, taps: Taps, features: FeatureAccumulator, cases: list[_Case]
) -> Iterator[None]:
    """Runs all prompts in batches of like length and hands their states to `features`."""
    shared = _shared_length([case.prompt.token_ids for case in cases])
    cache, before = _run_shared(loaded, taps, features, cases[0].prompt.token_ids[:shared])
    ordered = sorted(cases, key=lambda case: len(case.prompt.token_ids))
    while ordered:
        longest = len(ordered[-1].prompt.token_ids) - shared
        batch = ordered[-max(1, _BATCH_TOKENS // longest) :]
        del ordered[-len(batch) :]
        # Padded on the right: what comes later changes nothing that comes before.
        rows = [case.prompt.token_ids[shared:] for case in batch]
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        with taps.take(features.layers, stop_early=True) as taken:
            loaded.model.get_decoder()(
                input_ids=padded,
                position_ids=torch.arange(shared, shared + longest)[None],
                past_key_values=_copies(cache, len(batch)),
                use_cache=True,
            )
        for place, case in enumerate(batch):
            hidden = {
                layer: torch.cat([before[layer], taken[layer][place, : len(rows[place])]])
                for layer in features.layers
            }
            prompt = case.prompt
            features.add(
                case.example, hidden, user_first=prompt.user_first, user_last=prompt.user_last
            )
        yield


def _shared_length(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with; at least one of each is left."""
    first, last = min(prompts), max(prompts)
    most = min(len(ids) for ids in prompts) - 1
    same = 0
    while same < most and first[same] == last[same]:
        same += 1
    return same


def _run_shared(
    loaded: LoadedModel, taps: Taps, features: FeatureAccumulator, ids: list[int]
) -> tuple[Any, dict[int, torch.Tensor]]:
    cache = DynamicCache()
    if not ids:
        nothing = torch.zeros((0, loaded.hidden), dtype=loaded.dtype)
        return cache, dict.fromkeys(features.layers, nothing)
    with taps.take(features.layers, stop_early=True) as taken:
        loaded.model.get_decoder()(
            input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True
        )
    return cache, {layer: hidden[0] for layer, hidden in taken.items()}


def _copies(cache: Any, rows: int) -> Any:
    """The cache of one row, seen by `rows` rows; the original does not change."""
    copies = DynamicCache()
    for index, layer in enumerate(cache.layers):
        if layer.is_initialized:
            keys, values = (t.expand(rows, -1, -1, -1) for t in (layer.keys, layer.values))
            copies.update(keys, values, index)
    return copies


def _add_completions(
    loaded: LoadedModel,
    taps: Taps,
    features: FeatureAccumulator,
    prompts: list[Prompt],
    generator: torch.Generator,
) -> Iterator[None]:
    """The model's own answers to benign prompts, on which the stream's thresholds are set."""
    batch = BatchCache(len(prompts))
    logits: list[torch.Tensor] = []
    for prompt in prompts:
        cache = DynamicCache()
        output = loaded.model(
            input_ids=torch.tensor([prompt.token_ids]),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        batch.add(cache)
        logits.append(output.logits[0, -1])
    yield
    states: list[list[torch.Tensor]] = [[] for _ in prompts]
    running = [True] * len(prompts)
    for _ in range(_COMPLETION_TOKENS):
        probabilities = torch.softmax(torch.stack(logits).float(), dim=-1)
        tokens = torch.multinomial(probabilities, 1, generator=generator)
        running = [
            runs and int(token) not in loaded.eos
            for runs, token in zip(running, tokens, strict=True)
        ]
        if not any(running):
            break
        mask, positions = batch.before_step()
        with taps.take([features.mid]) as taken:
            output = loaded.model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=batch.cache,
                use_cache=True,
            )
        batch.after_step()
        logits = list(output.logits[:, -1])
        for place, runs in enumerate(running):
            if runs:
                states[place].append(taken[features.mid][place, -1])
        yield
    for rows in states:
        if rows:
            features.add_completion({features.mid: torch.stack(rows)})
