"""Random inputs and outputs of each evaluation, as its file of samples keeps them.

Of a request for harm neither the words nor the answer leave the audit: their digests do, whatever
the file says. Source: EU Code of Practice, safety and security chapter, measure 7.3 and its random
samples of inputs and outputs of each evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.evaluations.catalogue import KINDS
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.outputs.text import clean
from dutchdoor.errors import Invalid, Tampered

__all__ = ["SAMPLES_MIN", "Shown", "ShownSamples", "read_samples"]

SAMPLES_MIN = 5
"""Of each evaluation; fewer only where it asked fewer."""
SAMPLES_MAX = 100
FILE_BYTES_MAX = 1 << 22
TEXT_CHARACTERS_MAX = 1_000


@dataclass(frozen=True)
class Shown:
    """One sample. given, got: words, or a digest of them. verdict: the judge's word, or ""."""

    id: str
    given: str
    got: str
    verdict: str


@dataclass(frozen=True)
class ShownSamples:
    """The samples of one evaluation. of: how many there were to choose from. why: there is none."""

    evaluation: str
    rows: tuple[Shown, ...] = ()
    of: int = 0
    seed: int = 0
    why: str = ""

    @property
    def are_enough(self) -> bool:
        """Whether there are at least five, or all that there were."""
        return len(self.rows) >= min(SAMPLES_MIN, self.of) and bool(self.rows)


def read_samples(
    folder: Path, evaluations: Iterable[Evaluation], *, withheld: bool = False
) -> tuple[ShownSamples, ...]:
    """The samples of each evaluation that measured something.

    folder: of the logs. withheld: the testing report is too sensitive to be quoted: digests alone.
    Raises Tampered: a file is gone or is not the one that the figures came with. Raises Invalid:
    it is not in form.
    """
    return tuple(_read(folder, row, withheld=withheld) for row in evaluations if row.is_measured)


def _read(folder: Path, evaluation: Evaluation, *, withheld: bool) -> ShownSamples:
    if not evaluation.samples:
        return ShownSamples(clean(evaluation.name), why="it kept no samples")
    path = folder / Path(evaluation.samples).name
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError:
        data = b""
    if "sha256:" + canonical.sha256_hex(data) != evaluation.samples_digest:
        message = f"the samples of {evaluation.name} are not the ones its figures came with"
        raise Tampered(message, code="log_changed", where=path.name)
    try:
        value = json.loads(data)
        rows, of, seed = value["samples"], int(value["of"]), int(value["seed"])
        fits = isinstance(rows, list) and len(rows) <= SAMPLES_MAX
        fits = fits and all(isinstance(row, dict) for row in rows)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _bad(evaluation.name) from error
    if not fits:
        raise _bad(evaluation.name)
    kind = KINDS.get(evaluation.name)
    # An evaluation that nobody here knows may have asked anything.
    words = kind is not None and kind.keeps_answers and not withheld
    shown = tuple(_shown(row, words=words) for row in rows)
    return ShownSamples(clean(evaluation.name), shown, of, seed)


def _shown(row: Mapping[str, Any], *, words: bool) -> Shown:
    given, got = _text(row.get("input")), _text(row.get("output"))
    if words:
        return Shown(_word(row, "id"), _cut(given), _cut(got), _word(row, "verdict"))
    return Shown(
        id=_word(row, "id"),
        given=_digest(row.get("input_digest"), given),
        got=_digest(row.get("answer_digest"), got),
        verdict=_word(row, "verdict"),
    )


def _word(row: Mapping[str, Any], name: str) -> str:
    return clean(str(row.get(name, "")))[:80]


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _cut(text: str) -> str:
    shown = clean(text)
    if len(shown) <= TEXT_CHARACTERS_MAX:
        return shown
    return f"{shown[:TEXT_CHARACTERS_MAX]}… (whole: {_digest(None, text)})"


def _digest(kept: Any, text: str) -> str:
    """The digest that was kept, else that of the text; a text that was kept as a digest is none."""
    if text:
        return "sha256:" + canonical.sha256_hex(text.encode("utf-8", "surrogatepass"))
    known = isinstance(kept, str) and kept.startswith("sha256:") and len(kept) == 71
    return clean(kept) if known else "not kept"


def _bad(name: str) -> Invalid:
    return Invalid(f"the samples of {name} are not in form", code="bad_samples")
