"""The figures of a fitted probe's card that are drawn: recall against false alarms, by hazard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.outputs.text import clean

__all__ = ["NO_FIGURES", "HazardRecall", "ProbeFigures", "Rate", "RecallAt", "probe_figures"]

RATES = ("fpr_0.001", "fpr_0.01", "fpr_0.05")
HAZARDS_MAX = 32


@dataclass(frozen=True)
class Rate:
    """A rate and its 95 % interval, as decimal strings."""

    value: str
    low: str
    high: str


@dataclass(frozen=True)
class RecallAt:
    """Recall at one rate of false alarms. apart: on sources that the probe was not fitted on."""

    false_alarms: str
    together: Rate | None
    apart: Rate | None


@dataclass(frozen=True)
class HazardRecall:
    """Recall on one hazard at 1 % false alarms."""

    hazard: str
    examples: int
    recall: Rate


@dataclass(frozen=True)
class ProbeFigures:
    """What a card says, as far as it says it in a known form."""

    recalls: tuple[RecallAt, ...] = ()
    auroc: Rate | None = None
    auroc_apart: Rate | None = None
    hazards: tuple[HazardRecall, ...] = ()
    benign: int = 0
    harmful: int = 0
    limits: tuple[str, ...] = ()


NO_FIGURES = ProbeFigures()


def probe_figures(card: bytes) -> ProbeFigures:
    """The figures in `card`; what is missing or no rate is left out.

    Raises Invalid: not canonical JSON.
    """
    value = canonical.parse(card)
    recalls = []
    for name in RATES:
        together = _rate(_at(value, "out_of_fold", "recall", name))
        apart = _rate(_at(value, "sources_left_out", "recall", name))
        if together or apart:
            recalls.append(RecallAt(name.removeprefix("fpr_"), together, apart))
    limits = _at(value, "limits")
    return ProbeFigures(
        recalls=tuple(recalls),
        auroc=_rate(_at(value, "out_of_fold", "auroc")),
        auroc_apart=_rate(_at(value, "sources_left_out", "auroc")),
        hazards=_hazards(_at(value, "by_hazard")),
        benign=_count(_at(value, "examples", "benign")),
        harmful=_count(_at(value, "examples", "harmful")),
        limits=tuple(clean(row) for row in limits if isinstance(row, str))
        if isinstance(limits, list)
        else (),
    )


def _hazards(rows: Any) -> tuple[HazardRecall, ...]:
    found = []
    for name, row in sorted(rows.items())[:HAZARDS_MAX] if isinstance(rows, dict) else ():
        recall = _rate(_at(row, "recall", "fpr_0.01"))
        if recall:
            found.append(HazardRecall(clean(str(name)), _count(_at(row, "examples")), recall))
    return tuple(sorted(found, key=lambda row: (float(row.recall.value), row.hazard)))


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _rate(value: Any) -> Rate | None:
    figures = [_at(value, name) for name in ("value", "low", "high")]
    try:
        if all(isinstance(text, str) and 0 <= float(text) <= 1 for text in figures):
            return Rate(*figures)
    except ValueError:
        return None
    return None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
