"""How well the guard's rules and probe find harmful requests: the tables of docs/concepts/guard.md.

The probe is fitted on the packaged starter set, on a model's own activations. Without `--data` its
figures are those of its card, whole sources left out first. `--data DIR` names a folder of
`NAME/data.jsonl` (rows with `text`, `label` 1 for harmful, `source`), none of which belongs to this
project: prompts by others are the harsher test, and the rules are counted on them too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.harness import Options, keep, options, table
from dutchdoor.app.example import ensure_example_model
from dutchdoor.guard.measures import Measured, auroc, share
from dutchdoor.guard.model import Action
from dutchdoor.guard.probe import FeatureAccumulator, Probe, fit_probe, probe_layers
from dutchdoor.guard.rules import RuleSet
from dutchdoor.guard.starter import starter_set

MODEL_FOLDER = Path("demo-model")
BUNDLE = "sha256:" + "b" * 64
EACH = 60
"""Prompts of each set of others', drawn with a seed."""
TOKENS_MAX = 512
RATES = ("fpr_0.05", "fpr_0.01", "fpr_0.001")


class Row(NamedTuple):
    """One prompt. label: 1 harmful."""

    text: str
    label: int
    source: str
    category: str = ""


class Reader:
    """A prompt's hidden states, as the model would be served with it."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, local_files_only=True
        ).eval()
        self.stack = model.model
        self.count = len(self.stack.layers)
        self.hidden = int(model.config.hidden_size)
        # Nothing above the probe's last layer is needed, as in the engine.
        self.stack.layers = self.stack.layers[: probe_layers(self.count)[1] + 1]

    def read(self, text: str, layers: Sequence[int]) -> tuple[dict[int, torch.Tensor], int, int]:
        """The states at `layers`, and the first and last of the prompt's own tokens.

        Raises ValueError: the prompt is too long, or is not found in the template.
        """
        turns = [{"role": "user", "content": text}]
        whole = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False
        )
        start = whole.rindex(text.strip())
        end = start + len(text.strip())
        encoded = self.tokenizer(whole, return_offsets_mapping=True, add_special_tokens=False)
        spans = encoded["offset_mapping"]
        if len(spans) > TOKENS_MAX:
            raise ValueError("too long")
        first = next(n for n, (_, stop) in enumerate(spans) if stop > start)
        last = max(n for n, (begin, _) in enumerate(spans) if begin < end)
        with self._capturing(layers) as taken, torch.inference_mode():
            self.stack(torch.tensor([encoded["input_ids"]]), use_cache=False)
        return taken, first, last

    @contextmanager
    def _capturing(self, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
        taken: dict[int, torch.Tensor] = {}

        def hook(layer: int) -> Any:
            def take(_module: Any, _inputs: Any, output: Any) -> None:
                taken[layer] = (output[0] if isinstance(output, tuple) else output)[0]

            return take

        handles = [self.stack.layers[n].register_forward_hook(hook(n)) for n in layers]
        try:
            yield taken
        finally:
            for handle in handles:
                handle.remove()


def fitted(reader: Reader, examples: int | None) -> tuple[Probe, dict[str, Any]]:
    """A probe on the starter set, and its card."""
    features = FeatureAccumulator(reader.count, reader.hidden)
    for prompt in starter_set(examples):
        states, first, last = reader.read(prompt.text, features.layers)
        features.add(prompt, states, user_first=first, user_last=last)
    result = fit_probe(features, bundle=BUNDLE, seed=0)
    return result.probe, canonical_card(result.card)


def canonical_card(data: bytes) -> dict[str, Any]:
    """The card's values."""
    value: dict[str, Any] = json.loads(data)
    return value


def others(folder: Path) -> dict[str, list[Row]]:
    """The prompts of each set in `folder`."""
    sets = {}
    for path in sorted(folder.glob("*/data.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        sets[path.parent.name] = [Row(r["text"], int(r["label"]), path.parent.name) for r in rows]
    return sets


def told(measured: Measured) -> str:
    """A share in per cent with its interval."""
    return f"{measured.value:.1%} ({measured.low:.1%} to {measured.high:.1%})"


def card_rows(card: dict[str, Any]) -> list[list[str]]:
    """The card's own figures; whole sources left out first, because they flatter least."""
    rows = []
    for field, name in (
        ("sources_left_out", "the starter set, each source judged by a probe not shown it"),
        ("out_of_fold", "the starter set, a fifth of each source left out"),
    ):
        measured = {k: Measured(*map(float, v.values())) for k, v in card[field]["recall"].items()}
        area = card[field]["auroc"]
        interval = f"{float(area['value']):.3f} ({float(area['low']):.3f} to {area['high'][:5]})"
        rows.append([name, interval, *(told(measured[rate]) for rate in RATES[:2])])
    return rows


def judged(probe: Probe, reader: Reader, rows: Sequence[Row]) -> list[tuple[int, dict[str, float]]]:
    """Each prompt's label, its score, and 1 by each threshold at which it is blocked."""
    found = []
    for row in rows:
        try:
            states, first, last = reader.read(row.text, probe.layers)
        except ValueError:
            continue  # Longer than the model is served with here, or changed by the template.
        verdicts = {rate: probe.judge_prompt(states, last, rate, first) for rate in RATES[:2]}
        blocked = {rate: float(v.action is Action.BLOCK) for rate, v in verdicts.items()}
        found.append((row.label, {**blocked, "score": float(verdicts[RATES[0]].score)}))
    return found


def on_others(probe: Probe, reader: Reader, sets: dict[str, list[Row]], each: int) -> list[str]:
    """One row of the table: the probe on prompts by others."""
    generator = random.Random(0)
    rows = [row for one in sets.values() for row in generator.sample(one, min(each, len(one)))]
    found = judged(probe, reader, rows)
    scores = {k: np.array([d["score"] for label, d in found if label == k]) for k in (0, 1)}
    cells = []
    for rate in RATES[:2]:
        hits = {k: np.array([d[rate] for label, d in found if label == k]) for k in (0, 1)}
        cells.append(f"{told(share(hits[1], 0.5))}; benign blocked {told(share(hits[0], 0.5))}")
    area = auroc(scores[1], scores[0])
    interval = f"{area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
    return [f"{len(found)} prompts by others", interval, *cells]


def rules_on(sets: dict[str, list[Row]]) -> list[list[str]]:
    """What the packaged rules do with each set."""
    rules, rows = RuleSet.load(), []
    for name, prompts in sets.items():
        for label, word in ((1, "harmful"), (0, "harmless")):
            ours = [rules.judge(row.text).action for row in prompts if row.label == label]
            if ours:
                counts = [sum(action is a for action in ours) for a in (Action.BLOCK, Action.FLAG)]
                rows.append([name, word, str(len(ours)), str(counts[0]), str(counts[1])])
    return rows


def main(chosen: Options) -> None:
    """Run and print."""
    torch.set_num_threads(2)
    folder = chosen.model or MODEL_FOLDER
    ensure_example_model(folder)
    reader = Reader(folder)
    probe, card = fitted(reader, 300 if chosen.quick else None)
    sets = {"the starter set": [Row(p.text, p.label, p.source) for p in starter_set()]}
    rows = card_rows(card)
    if chosen.data is not None:
        sets = others(chosen.data)
        rows.insert(1, on_others(probe, reader, sets, 20 if chosen.quick else EACH))
    headings = ("measured on", "AUROC", "recall at fpr_0.05", "recall at fpr_0.01")
    table("The probe (95 % intervals)", headings, rows)
    counted = rules_on(sets)
    table("The packaged rules", ("set", "prompts", "n", "blocked", "flagged"), counted)
    result = {"title": "guard", "probe": rows, "rules": counted, "card": card}
    keep(result, chosen, ("dutchdoor", "torch", "transformers"))


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
