"""The kept inputs: one text file a target, one input a line in base64."""

from __future__ import annotations

import base64
from pathlib import Path

__all__ = ["FOLDER", "load", "save"]

FOLDER = Path(__file__).parent / "corpus"
INPUTS_MAX = 24
INPUT_BYTES_MAX = 2_048


def load(name: str) -> list[bytes]:
    """The inputs kept for this target; none where it has no file yet."""
    path = FOLDER / f"{name}.txt"
    if not path.exists():
        return []
    return [base64.b64decode(row) for row in path.read_text().splitlines()]


def save(name: str, inputs: list[bytes]) -> int:
    """Keep a few short ones of `inputs`, the shortest first; how many."""
    kept = sorted(
        {data for data in inputs if len(data) <= INPUT_BYTES_MAX}, key=lambda d: (len(d), d)
    )
    step = max(1, -(-len(kept) // INPUTS_MAX))
    kept = kept[::step]
    FOLDER.mkdir(exist_ok=True)
    rows = (base64.b64encode(data).decode() + "\n" for data in kept)
    (FOLDER / f"{name}.txt").write_text("".join(rows))
    return len(kept)
