"""Requests that a safeguard should be about: the starter set's, or a public benchmark's file.

AdvBench (`goal`), HarmBench (`Behavior`), JailbreakBench (`Goal`), TDC 2023 and plain JSON Lines
(`text`, `prompt`) are read as they are published. The requests are scored, never answered: what
leaves the runtime is how probably an answer would open as a refusal.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.guard.starter import starter_set

__all__ = ["STARTER", "TEXT_CHARACTERS_MAX", "PromptSet", "read_prompts", "starter_prompts"]

FILE_BYTES_MAX = 8 << 20
TEXT_CHARACTERS_MAX = 160
STARTER = "the guard's starter set"
_FIELDS = ("text", "prompt", "goal", "behavior")
_NEVER = ("child", "minor")
"""Categories that are never asked about, not even to be scored."""


@dataclass(frozen=True)
class PromptSet:
    """Harmful requests in a fixed order, spread over their categories.

    name: of the file or set. digest: of the file's bytes, "" for the packaged set.
    """

    name: str
    digest: str
    texts: tuple[str, ...]

    def to_body(self) -> dict[str, Any]:
        """What `amend.json` says of it."""
        return {"name": self.name, "digest": self.digest, "requests": len(self.texts)}


def starter_prompts() -> PromptSet:
    """Short harmful requests of the starter set."""
    rows = [(row.text, row.category) for row in starter_set() if row.label == 1]
    return PromptSet(STARTER, "", _ordered(rows))


def read_prompts(path: Path, needed: int) -> PromptSet:
    """The requests of a benchmark's file, `.jsonl` or `.csv` (unverified).

    Rows with `label` 0, longer than 160 characters, or of a category about children are left out.
    needed: how many different ones there must be.
    Raises NotFound: no such file. Raises Invalid: not in such a form, or too few.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        hint = "name a .jsonl or .csv file of a benchmark"
        message = f"{path} cannot be read: {error.strerror}"
        raise NotFound(message, code="no_prompts", hint=hint) from error
    if len(data) > FILE_BYTES_MAX:
        raise _bad(path, f"it is longer than {FILE_BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8-sig")
        found = list(csv.DictReader(io.StringIO(text))) if path.suffix == ".csv" else _lines(text)
        texts = _ordered(_row(path, row) for row in found if str(row.get("label", 1)) != "0")
    except (ValueError, csv.Error, AttributeError, RecursionError) as error:
        raise _bad(path, "it is neither JSON Lines nor CSV with a header") from error
    if len(texts) < needed:
        raise _bad(path, f"it has {len(texts)} short requests, {needed} are needed")
    return PromptSet(path.name, "sha256:" + canonical.sha256_hex(data), texts)


def _lines(text: str) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _row(path: Path, row: Mapping[str, Any]) -> tuple[str, str]:
    fields = {str(name).strip().lower(): value for name, value in row.items()}
    for name in _FIELDS:
        if isinstance(fields.get(name), str):
            category = fields.get("category") or fields.get("semanticcategory") or ""
            return str(fields[name]).strip(), str(category)
    raise _bad(path, f"a row has none of the fields {', '.join(_FIELDS)}")


def _ordered(rows: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    short = [row for row in rows if 0 < len(row[0]) <= TEXT_CHARACTERS_MAX]
    seeded = random.Random(0)  # noqa: S311 - a sample to repeat, not a secret
    seeded.shuffle(short)
    piles: dict[str, list[str]] = {}
    for text, category in short:
        if not any(word in category.lower() for word in _NEVER):
            piles.setdefault(category, []).append(text)
    ordered: list[str] = []
    while any(piles.values()):
        ordered += [piles[name].pop() for name in sorted(piles) if piles[name]]
    return tuple(dict.fromkeys(ordered))


def _bad(path: Path, reason: str) -> Invalid:
    hint = "AdvBench, HarmBench, JailbreakBench and TDC 2023 are read as published"
    return Invalid(f"{path.name} is no set of requests: {reason}", code="bad_prompts", hint=hint)
