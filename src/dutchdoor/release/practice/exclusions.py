"""Whether a training manifest holds what was declared to be left out.

The manifest is the holder's word about what was trained on: this finds where the two words differ,
not where both are untrue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.release.practice.document import Exclusion

__all__ = ["Breach", "Checked", "check_manifest"]

MANIFEST_BYTES_MAX = 64 << 20
ROWS_MAX = 500_000
_FIELDS = ("name", "source", "digest")


class Breach(NamedTuple):
    """A row of the manifest that an exclusion rules out. row: counted from 1."""

    row: int
    name: str
    exclusion: str


class Checked(NamedTuple):
    """What the check gave. digest: of the manifest's bytes."""

    rows: int
    digest: str
    breaches: tuple[Breach, ...]


def check_manifest(path: Path, exclusions: Iterable[Exclusion]) -> Checked:
    """Hold the manifest at `path` (unverified) against the exclusions.

    One JSON object a line, with `name` and `source`, and `digest` where there is one; other fields
    are no concern of this. A word matches wherever it stands in name or source, in any case and
    whatever punctuation is between its parts; a `sha256:` digest matches the digest.
    Raises NotFound: no such file. Raises Invalid: too large, or a line that is not so.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        message = f"there is no training manifest {path.name}"
        hint = "write one JSON object a line: name, source, digest"
        raise NotFound(message, code="no_manifest", hint=hint) from error
    lines = [line for line in data.splitlines() if line.strip()]
    if len(data) > MANIFEST_BYTES_MAX or not 0 < len(lines) <= ROWS_MAX:
        raise _bad("is empty or too large")
    rules = [(row.name, [_folded(word) for word in row.match], row.match) for row in exclusions]
    breaches = []
    for number, line in enumerate(lines, 1):
        name, source, digest = _row(line, number)
        text = f"{_folded(name)} {_folded(source)}"
        breaches += [
            Breach(number, name, rule)
            for rule, words, raw in rules
            if digest in raw or any(f" {word} " in f" {text} " for word in words)
        ]
    return Checked(len(lines), "sha256:" + canonical.sha256_hex(data), tuple(breaches))


def _row(line: bytes, number: int) -> tuple[str, str, str]:
    try:
        value = json.loads(line)
        name, source, digest = (value.get(field, "") for field in _FIELDS)
    except (ValueError, AttributeError, RecursionError) as error:
        raise _bad(f"line {number} is no JSON object") from error
    if not all(isinstance(text, str) for text in (name, source, digest)) or not (name and source):
        raise _bad(f"line {number} lacks name or source")
    return name, source, digest or "none"


def _folded(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())


def _bad(reason: str) -> Invalid:
    hint = "write one JSON object a line: name, source, digest"
    return Invalid(f"the training manifest {reason}", code="bad_manifest", hint=hint)
