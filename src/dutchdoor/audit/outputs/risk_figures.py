"""The drawings that only a full audit has: its ethical risk chart, and its failure analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dutchdoor.audit.documents.failures import STOPPING_SEVERITY, Priority
from dutchdoor.audit.documents.risks import Likelihood, Rating, rating_of
from dutchdoor.audit.model import Severity
from dutchdoor.audit.outputs.figures import COLOURS, cut, drawing
from dutchdoor.audit.outputs.model import Figure

__all__ = ["failure_figure", "failures_ranked", "risk_figure"]

CELL_NAMES_MAX = 6
CELL_NAMES_LINE = 3
BARS_MAX = 18
_SHADES = {
    Rating.HIGH: ("alarm", 0.42),
    Rating.MID: ("second", 0.26),
    Rating.LOW: ("calm", 0.18),
}
_LIKELIHOODS = (
    Likelihood.UNLIKELY,
    Likelihood.POSSIBLE,
    Likelihood.LIKELY,
    Likelihood.UNTESTED,
)
_BARS = {Priority.HIGH: "alarm", Priority.MEDIUM: "second", Priority.LOW: "calm"}


def risk_figure(risks: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The ethical risk chart: each risk by its id in the cell of its severity and likelihood."""
    placed: dict[tuple[Severity, Likelihood], list[str]] = {}
    for row in risks:
        try:
            place = Severity(str(row.get("severity"))), Likelihood(str(row.get("likelihood")))
        except ValueError:
            continue
        placed.setdefault(place, []).append(cut(str(row.get("id")), 14))
    if not placed:
        return None

    def draw(axes: Any) -> None:
        for y, severity in enumerate(Severity):
            for x, likelihood in enumerate(_LIKELIHOODS):
                colour, alpha = _SHADES[rating_of(severity, likelihood)]
                axes.fill_between(
                    [x - 0.48, x + 0.48], y - 0.46, y + 0.46, color=COLOURS[colour], alpha=alpha,
                    linewidth=0,
                )  # fmt: skip
                names = placed.get((severity, likelihood), [])
                axes.text(x, y, _stacked(names), ha="center", va="center", fontsize=11)
        axes.set_xticks(range(len(_LIKELIHOODS)), [str(row) for row in _LIKELIHOODS])
        axes.set_yticks(range(len(Severity)), [str(row) for row in Severity])
        axes.set_xlim(-0.5, len(_LIKELIHOODS) - 0.5)
        axes.set_ylim(-0.5, len(Severity) - 0.5)
        axes.set_xlabel("how likely the tests let it seem")
        axes.set_ylabel("severity of the impact")
        shades = {Rating.HIGH: "high risk", Rating.MID: "mid", Rating.LOW: "low"}
        for rating, name in shades.items():
            colour, alpha = _SHADES[rating]
            axes.plot([], [], "s", color=COLOURS[colour], alpha=alpha, markersize=10, label=name)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9
        )

    said = "; ".join(
        f"{row.get('id')}: severity {row.get('severity')}, {row.get('likelihood')}, failed "
        f"{row.get('failed')} of {row.get('tried')}, {row.get('rating')} risk"
        for row in risks
    )
    title = "Ethical risk chart"
    return drawing("risks", title, f"{title}: severity by likelihood. {said}.", draw, 8.5)


def failure_figure(failures: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The failures by risk priority number, coloured by action priority, most urgent on top."""
    scored = [row for row in failures_ranked(failures) if _scores(row)]
    rows = scored[:BARS_MAX][::-1]
    if not rows:
        return None

    def draw(axes: Any) -> None:
        most = max(float(row["rpn"]) for row in rows)
        for y, row in enumerate(rows):
            colour = COLOURS[_BARS[Priority(row["priority"])]]
            axes.barh(y, row["rpn"], height=0.62, color=colour)
            axes.text(
                row["rpn"] + 0.02 * most, y, _remark(row), va="center", fontsize=8.5,
                color=COLOURS["alarm" if _is_open_severe(row) else "quiet"],
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [cut(f"{row['id']} {row['mode']}", 30) for row in rows])
        axes.set_xlim(0, 1.75 * most)
        axes.set_xlabel("risk priority number: severity (S) x occurrence (O) x detection (D)")
        for priority, colour in _BARS.items():
            axes.plot([], [], "s", color=COLOURS[colour], markersize=8, label=f"act: {priority}")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, frameon=False, fontsize=9
        )

    said = "; ".join(
        f"{row['id']} {row['mode']}: {_remark(row)}, action priority {row['priority']}"
        for row in rows[::-1]
    )
    left = len(scored) - len(rows)
    title = "Failure analysis" + (f", the {len(rows)} most urgent" if left else "")
    return drawing("failures", title, f"{title}. {said}.", draw, len(rows) + 1.2)


def failures_ranked(failures: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The failures, what stops the audit first, then by action priority, then by the product."""
    order = [str(row) for row in Priority]

    def key(row: Mapping[str, Any]) -> tuple[int, int, float]:
        priority = str(row.get("priority"))
        place = order.index(priority) if priority in order else len(order)
        product = row.get("rpn")
        return (
            0 if _is_open_severe(row) else 1,
            place,
            -float(product) if isinstance(product, int) else 0.0,
        )

    return sorted(failures, key=key)


def _scores(row: Mapping[str, Any]) -> bool:
    """Whether the row can be drawn: a draft's may lack scores, or hold words in their place."""
    names = ("severity", "occurrence", "detection", "rpn")
    numbers = all(type(row.get(name)) is int and row[name] >= 0 for name in names)
    return numbers and row.get("priority") in list(Priority) and {"id", "mode"} <= set(row)


def _is_open_severe(row: Mapping[str, Any]) -> bool:
    severity = row.get("severity")
    severe = not isinstance(severity, int) or severity >= STOPPING_SEVERITY
    return severe and row.get("status") != "closed"


def _remark(row: Mapping[str, Any]) -> str:
    scores = f"S {row['severity']} O {row['occurrence']} D {row['detection']}: {row['rpn']}"
    status = str(row.get("status") or "before the tests")
    return f"{scores}, {status}{', stops the audit' if _is_open_severe(row) else ''}"


def _stacked(names: Sequence[str]) -> str:
    shown = list(names[:CELL_NAMES_MAX])
    if len(names) > CELL_NAMES_MAX:
        shown[-1] = f"+{len(names) - CELL_NAMES_MAX + 1}"
    lines = [shown[at : at + CELL_NAMES_LINE] for at in range(0, len(shown), CELL_NAMES_LINE)]
    return "\n".join("  ".join(line) for line in lines)
