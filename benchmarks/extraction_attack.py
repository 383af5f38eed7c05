"""What do the attacks get from a real server? Counted and not; alone, and ten together.

    python -m benchmarks.extraction_attack [--quick] [--json FILE]

A real server over real sockets serves a random Llama (h = 128, V = 512) and, without --quick,
SmolLM2-135M-Instruct (h = 576, V = 49,152). People ask for echoed prompts with as many
log-probabilities as the server's limits allow (raised here, so that the accountant stands alone),
and for the hidden vectors of the same positions. The last layer's span is found by singular values
(Carlini et al. 2024, arXiv 2403.06634), the layer itself by least squares on hidden vectors; both
are held against the true weights of the same tokens. That nobody counts is an object of the tests:
no setting turns the accountant off. The table is that of docs/security/extraction.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.harness import Options, keep, options, table
from dutchdoor.access.attacks import (
    centred,
    last_layer,
    linear_map,
    relative_error,
    shared_columns,
    span_error,
)
from dutchdoor.app.example import write_example_model
from dutchdoor.app.selftest import Haul, gather, normalised
from tests.runtime.tiny_model import write_tiny_model
from tests.server.extraction_house import Attacked, attacked


class Target(NamedTuple):
    """A model to attack. width: log-probabilities at each position. layers: its blocks."""

    name: str
    folder: Path
    hidden: int
    layers: int
    width: int


class Got(NamedTuple):
    """One attack. tokens: that all rows show; their rows of W are what is measured.

    span, fitted: errors of the last layer by the two ways. span: None where no more tokens are
    shown than the model is wide: any matrix spans that few.
    """

    people: int
    rows: int
    refused: int
    tokens: int
    hidden: int | None
    span: float | None
    fitted: float
    seconds: float


def judge(found: Attacked, haul: Haul, people: int, seconds: float) -> Got:
    """What a haul is worth, held against the truth."""
    tokens, rows = shared_columns(haul.rows)
    if not len(rows):
        return Got(people, 0, len(haul.refused), 0, None, 1.0, 1.0, seconds)
    true = found.true(tokens)
    span = last_layer(rows)
    fitted = 1.0
    if haul.states:
        states = normalised(np.concatenate(haul.states))
        found_map = linear_map(states, centred(rows[: len(states)]))
        fitted = relative_error(found_map, (true - true.mean(axis=0)).T)
    return Got(
        people,
        len(rows),
        len(haul.refused),
        len(tokens),
        span.hidden,
        span_error(true, span.basis) if len(tokens) > true.shape[1] else None,
        fitted,
        seconds,
    )


def run(target: Target, *, counting: bool, people: int) -> Got:
    """One attack on a fresh server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        attacked(
            Path(folder),
            target.folder,
            counting=counting,
            vectors_max=target.hidden // 4,
            hidden=target.hidden,
            width=target.width,
        ) as found,
    ):
        started = time.perf_counter()
        haul = gather(
            [found.door(vectors=10_000) for _ in range(people)],
            target.hidden,
            spend_max=1 << 40,
            tap=f"blocks.{target.layers - 1}.hook_resid_post",
            width=target.width,
            rows_max=target.hidden * 4 // 3,
            words=1 if counting and target.hidden < 256 else 8,
        )
        return judge(found, haul, people, time.perf_counter() - started)


def targets(folder: Path, *, quick: bool) -> list[Target]:
    """The models, written below `folder`."""
    texts = tuple(Path(__file__).read_text().splitlines())
    small = write_tiny_model(folder / "tiny", hidden=128, more=texts)
    found = [Target("random Llama, h = 128", small, 128, 4, 512)]
    if not quick:
        real = folder / "smollm2"
        write_example_model(real)
        found.append(Target("SmolLM2-135M, h = 576", real, 576, 30, 2048))
    return found


def main(chosen: Options) -> None:
    """Run and print."""
    rows: list[tuple[str, bool, Got]] = []
    with tempfile.TemporaryDirectory() as folder:
        for target in targets(Path(folder), quick=chosen.quick):
            for counting, people in ((False, 1), (True, 1), (True, 10)):
                rows.append((target.name, counting, run(target, counting=counting, people=people)))
                print(*rows[-1], file=sys.stderr, flush=True)
    cells = [
        [
            name,
            "counted" if counting else "nobody counts",
            str(got.people),
            str(got.rows),
            str(got.tokens),
            "not revealed" if got.hidden is None else str(got.hidden),
            _figure(got.span),
            _figure(got.fitted),
        ]
        for name, counting, got in rows
    ]
    title = "attacks on a running server; a quarter of h may leave"
    heads = (
        "model",
        "accountant",
        "people",
        "rows",
        "tokens",
        "h read off",
        "by span",
        "least squares",
    )
    table(title, heads, cells)
    figures = [
        {"model": name, "counting": counting, **got._asdict()} for name, counting, got in rows
    ]
    keep({"title": title, "rows": figures}, chosen, ("dutchdoor", "numpy", "torch", "transformers"))


def _figure(error: float | None) -> str:
    if error is None:
        return "-"
    return f"{error:.0e}" if error < 0.01 else f"{error:.2f}"


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
