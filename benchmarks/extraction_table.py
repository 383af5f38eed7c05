"""What the attack on the last layer gets from N rows: the table of docs/security/extraction.md.

The last layer is a random matrix W (V x h), the hidden vectors are random and normalised as by
RMSNorm, and scaled so that logits vary as a small model's do. The attack: the rows' singular values
fall off a cliff at h, and their first right singular vectors span W's columns. Of rows of which
only some numbers are known, the second moments estimate the same span, more slowly; h is taken as
known there.
Source: Carlini et al. 2024, "Stealing Part of a Production Language Model", arXiv 2403.06634.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Options, keep, options, table
from dutchdoor.access.attacks import from_partial_rows

HIDDEN = 128
VOCABULARY = 512
LOGITS_VARY = 4.5
SEEDS = 5
LIKELIEST = 20
CLIFF = 1.5
"""So many times larger than the next one is the last singular value before the cliff."""

Array = NDArray[np.float64]


class Got(NamedTuple):
    """hidden: the dimension that the attack believes in. error: of W, relative, once aligned."""

    hidden: int
    error: float


class Model:
    """A last layer, and rows of its logits at random prompts."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        scale = LOGITS_VARY / np.sqrt(HIDDEN)
        self.weights = self.random.normal(0, scale, (VOCABULARY, HIDDEN))

    def rows(self, count: int) -> Array:
        """`count` rows of logits."""
        hidden = self.random.normal(0, 1, (count, HIDDEN))
        hidden *= np.sqrt(HIDDEN) / np.linalg.norm(hidden, axis=1, keepdims=True)
        return np.asarray(hidden @ self.weights.T)

    def attack(self, rows: Array) -> Got:
        """What `rows` give away."""
        _, values, vectors = np.linalg.svd(rows, full_matrices=False)
        ratios = values[:-1] / np.maximum(values[1:], 1e-12 * values[0])
        place = int(np.argmax(ratios))
        # Without a cliff all rows were independent, and h is at least their number.
        found = place + 1 if ratios[place] > CLIFF else len(values)
        # The error is measured at the true h, as far as there are rows: the attack at its best.
        basis = vectors[: min(HIDDEN, len(values))].T
        rest = self.weights - basis @ (basis.T @ self.weights)
        return Got(found, float(np.linalg.norm(rest) / np.linalg.norm(self.weights)))

    def attack_partial(self, count: int) -> Got:
        """What the `LIKELIEST` largest numbers of each of `count` rows give away together."""
        rows = self.rows(count)
        known = np.zeros(rows.shape, dtype=np.bool_)
        places = np.argpartition(rows, -LIKELIEST, axis=1)[:, -LIKELIEST:]
        np.put_along_axis(known, places, values=True, axis=1)
        basis = from_partial_rows(rows, known, HIDDEN)
        rest = self.weights - basis @ (basis.T @ self.weights)
        return Got(0, float(np.linalg.norm(rest) / np.linalg.norm(self.weights)))


def bf16(rows: Array) -> Array:
    """The rows as bfloat16 holds them: the upper half of a float32, rounded to the nearest."""
    bits = rows.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


def releases(model: Model) -> dict[str, Array]:
    """What is released in each case, by its name in the table."""
    cases = {f"rows, N / h = {part}": model.rows(int(part * HIDDEN)) for part in PARTS}
    full = model.rows(2 * HIDDEN)
    for decimals in (3, 2, 1):
        cases[f"rows, N / h = 2, rounded to {decimals} decimals"] = np.round(full, decimals)
    cases["rows, N / h = 2, in bf16"] = bf16(full)
    for noise in (0.1, 0.5, 1.0, 2.0):
        noisy = full + model.random.normal(0, noise, full.shape)
        cases[f"rows, N / h = 2, with noise of {noise}"] = noisy
    cases["one key, 80 rows"] = model.rows(80)
    cases["two keys, 80 rows each, put together"] = np.vstack([model.rows(80), model.rows(80)])
    return cases


def partial() -> dict[str, int]:
    """How many rows of `LIKELIEST` numbers: all that a quarter of h vectors pays for, and more."""
    pool = HIDDEN * HIDDEN // 4 // LIKELIEST
    counts = {f"only the {LIKELIEST} likeliest, what h / 4 vectors pay for: {pool} rows": pool}
    return counts | {
        f"only the {LIKELIEST} likeliest, N / h = {part}": part * HIDDEN for part in (8, 64, 256)
    }


PARTS = (0.25, 0.5, 0.75, 0.9, 1.25)


def main(chosen: Options) -> None:
    """Run and print."""
    seeds = 2 if chosen.quick else SEEDS
    got: dict[str, list[Got]] = {}
    for seed in range(seeds):
        model = Model(seed)
        for name, rows in releases(model).items():
            got.setdefault(name, []).append(model.attack(rows))
        blind = Got(0, float(np.sqrt(1 - HIDDEN / VOCABULARY)))
        got.setdefault("nothing: a guess of as many dimensions, h known", []).append(blind)
        for name, count in partial().items():
            got.setdefault(name, []).append(model.attack_partial(count))
    figures = {
        name: {
            "hidden_found": sum(one.hidden == HIDDEN for one in ones) / seeds,
            "error": statistics.median(one.error for one in ones),
        }
        for name, ones in got.items()
    }
    cells = [
        [
            name,
            "yes" if row["hidden_found"] > 0.5 else "no",
            f"{row['error']:.1g}" if row["error"] < 0.1 else f"{row['error']:.2f}",
        ]
        for name, row in figures.items()
    ]
    title = f"h = {HIDDEN}, V = {VOCABULARY}, median of {seeds} random layers"
    table(title, ("released", "h found", "error of W"), cells)
    keep({"title": title, "rows": figures}, chosen, ("dutchdoor", "numpy"))


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
