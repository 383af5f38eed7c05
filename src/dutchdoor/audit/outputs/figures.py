"""The drawings of the report; the only file that imports matplotlib. `risk_figures.py` has more.

Each is drawn twice: as SVG for screens, where every colour is a variable of the page so that light
and dark both work, and as PNG for paper. Nothing in them depends on the clock or on chance.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import Finding, FindingStatus, Severity
from dutchdoor.audit.outputs.amending import Curve
from dutchdoor.audit.outputs.model import Figure
from dutchdoor.audit.outputs.probe import HazardRecall, ProbeFigures, Rate
from dutchdoor.audit.outputs.text import label, percent

__all__ = [
    "COLOURS",
    "amend_figure",
    "cut",
    "drawing",
    "finding_figure",
    "font_files",
    "hazard_figure",
    "recall_figure",
    "score_figure",
]

WIDTH_IN = 7.2
LABEL_CHARACTERS_MAX = 34
COLOURS = {
    "ink": "#1c2530",
    "quiet": "#5b6673",
    "grid": "#d9dee4",
    "first": "#1f5fa6",
    "second": "#b3541e",
    "third": "#3c7a52",
    "fourth": "#7a4f9b",
    "alarm": "#b3261e",
    "calm": "#8fa3b8",
    "paper": "#ffffff",
}
_SERIES = ("first", "second", "third", "fourth", "quiet")
_STATUS = {
    FindingStatus.OPEN: ("second", "open"),
    FindingStatus.ACCEPTED: ("fourth", "accepted"),
    FindingStatus.MITIGATED: ("first", "mitigated"),
}


def font_files() -> tuple[Path, Path]:
    """The plain and the strong font that come with matplotlib, free to embed."""
    import matplotlib as mpl

    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"


def score_figure(evaluations: Sequence[Evaluation]) -> Figure | None:
    """Each rate with its 95 % interval, or None where no rate was measured."""
    rows = [row for row in evaluations if row.is_rate and row.n][::-1]
    if not rows:
        return None

    def draw(axes: Any) -> None:
        _intervals(axes, [(row.name, _floats(row), f"{row.hits} of {row.n}") for row in rows])
        axes.set_xlabel("rate, with 95 % interval (Wilson)")

    said = "; ".join(
        f"{label(row.name)}: {row.hits} of {row.n} {row.counts}, {percent(row.score)} "
        f"({percent(row.low)} to {percent(row.high)})"
        for row in rows[::-1]
    )
    title = "Rates and their intervals"
    return drawing("scores", title, f"{title} at 95 %. {said}.", draw, len(rows))


def finding_figure(findings: Sequence[Finding]) -> Figure | None:
    """Findings by severity and what became of them, or None where there are none."""
    if not findings:
        return None
    order = list(Severity)
    counts = {
        severity: [
            sum(1 for row in findings if (row.severity, row.status) == (severity, status))
            for status in _STATUS
        ]
        for severity in order
    }

    def draw(axes: Any) -> None:
        most = max(4, *(sum(row) for row in counts.values()))
        for place, severity in enumerate(order):
            left = 0
            for (colour, name), count in zip(_STATUS.values(), counts[severity], strict=True):
                if count:
                    axes.barh(place, count, left=left, height=0.58, color=COLOURS[colour])
                    fits = count > 0.12 * most
                    axes.text(
                        left + count / 2,
                        place,
                        f"{count} {name}" if fits else f"{count}\n{name}",
                        ha="center",
                        va="center",
                        color=COLOURS["paper"],
                        fontsize=8,
                    )
                left += count
        axes.set_yticks(range(len(order)), [str(row) for row in order])
        axes.set_xlim(0, most)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("number of findings")

    said = "; ".join(
        f"{severity}: "
        + (
            ", ".join(
                f"{count} {name}"
                for (_, name), count in zip(_STATUS.values(), counts[severity], strict=True)
                if count
            )
            or "none"
        )
        for severity in order[::-1]
    )
    title = "Findings by severity"
    return drawing("findings", title, f"{title}. {said}.", draw, 4.5)


def recall_figure(figures: ProbeFigures) -> Figure | None:
    """The probe's recall against its false alarms: the end of its ROC curve that matters here."""
    rows = figures.recalls
    if not rows:
        return None
    series: list[tuple[str, str, list[Rate | None]]] = [
        ("sources it was fitted on", "calm", [row.together for row in rows]),
        ("sources it was not fitted on", "first", [row.apart for row in rows]),
    ]

    def draw(axes: Any) -> None:
        for shift, (name, colour, rates) in zip((-0.06, 0.06), series, strict=True):
            known = [(place, rate) for place, rate in enumerate(rates) if rate]
            if not known:
                continue
            xs = [place + shift for place, _ in known]
            ys = [float(rate.value) for _, rate in known]
            spread = [
                [float(rate.value) - float(rate.low) for _, rate in known],
                [float(rate.high) - float(rate.value) for _, rate in known],
            ]
            axes.errorbar(
                xs,
                ys,
                yerr=spread,
                color=COLOURS[colour],
                marker="o",
                capsize=3,
                linewidth=1.6,
                label=name,
            )
        axes.set_xticks(range(len(rows)), [_alarms(row.false_alarms) for row in rows])
        axes.set_xlim(-0.4, len(rows) - 0.6)
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("false alarms on harmless requests")
        axes.set_ylabel("harmful requests found")
        axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
        axes.legend(loc="upper left", frameon=False, fontsize=9)

    said = "; ".join(
        f"at {_alarms(row.false_alarms)} false alarms {_span(row.apart)} on other sources, "
        f"{_span(row.together)} on its own"
        for row in rows
    )
    title = "What the guard's probe finds"
    return drawing("recall", title, f"{title}: recall with 95 % intervals. {said}.", draw, 7.5)


def hazard_figure(rows: Sequence[HazardRecall]) -> Figure | None:
    """Recall by hazard at 1 % false alarms, the lowest last."""
    if not rows:
        return None
    drawn = list(rows)

    def draw(axes: Any) -> None:
        items = [
            (
                row.hazard,
                (float(row.recall.value), float(row.recall.low), float(row.recall.high)),
                f"n = {row.examples}",
            )
            for row in drawn
        ]
        _intervals(axes, items)
        axes.set_xlabel("recall at 1 % false alarms, with 95 % interval")

    said = "; ".join(
        f"{label(row.hazard)}: {_span(row.recall)}, n = {row.examples}" for row in rows
    )
    title = "What the probe finds, by hazard"
    return drawing("hazards", title, f"{title}. {said}.", draw, len(rows))


def amend_figure(axis: str, curves: Sequence[Curve], name: str) -> Figure | None:
    """Curves of behaviour along one axis: what a modification takes."""
    if not curves:
        return None

    def draw(axes: Any) -> None:
        for place, curve in enumerate(curves):
            colour = COLOURS[_SERIES[place % len(_SERIES)]]
            xs = [point.at for point in curve.points]
            axes.fill_between(
                xs,
                [point.low for point in curve.points],
                [point.high for point in curve.points],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
            style = ("-", "--", ":", "-.")[place % 4]
            axes.plot(
                xs,
                [point.value for point in curve.points],
                style,
                color=colour,
                marker="o",
                markersize=4,
                label=cut(_series(curve), 2 * LABEL_CHARACTERS_MAX),
            )
        values = [v for curve in curves for p in curve.points for v in (p.low, p.high)]
        if min(values) >= 0 and max(values) <= 1:
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel(cut(axis, 2 * LABEL_CHARACTERS_MAX))
        behaviours = {curve.behaviour for curve in curves}
        axes.set_ylabel(cut(label(behaviours.pop())) if len(behaviours) == 1 else "rate")
        places = [point.at for curve in curves for point in curve.points]
        if min(places) > 0 and max(places) > 1000 * min(places):
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda at, _: _power(at))
            axes.tick_params(which="minor", length=0)
        axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
        axes.legend(loc="best", frameon=False, fontsize=8)

    said = "; ".join(
        f"{_series(curve)}: "
        + ", ".join(f"{point.value:.2f} at {point.at:g} {axis}" for point in curve.points[:12])
        for curve in curves
    )
    title = f"After modification, by {axis}"
    return drawing(name, title, f"{title}, with 95 % intervals. {said}.", draw, 7.5)


def _series(curve: Curve) -> str:
    return f"{curve.name}: {label(curve.behaviour)}"


def _intervals(axes: Any, rows: Sequence[tuple[str, tuple[float, float, float], str]]) -> None:
    """A dot and a line for each (name, (value, low, high), remark), from below."""
    for place, (_, (value, low, high), remark) in enumerate(rows):
        axes.plot([0, 1], [place, place], color=COLOURS["grid"], linewidth=0.8, zorder=1)
        axes.plot(
            [low, high],
            [place, place],
            color=COLOURS["first"],
            linewidth=3.2,
            solid_capstyle="round",
            alpha=0.45,
            zorder=2,
        )
        axes.plot([value], [place], "o", color=COLOURS["first"], markersize=7, zorder=3)
        axes.text(1.03, place, remark, va="center", ha="left", color=COLOURS["quiet"], fontsize=9)
    axes.set_yticks(range(len(rows)), [cut(label(name)) for name, _, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def drawing(name: str, title: str, alt: str, draw: Callable[[Any], None], rows: float) -> Figure:
    """The drawing in both forms. rows: how many lines its height is for."""
    height_in = 0.95 + 0.36 * rows

    def svg() -> str:
        still = {"Date": None, "Creator": None, "Format": None, "Type": None}
        data = _drawn(name, draw, height_in, format="svg", transparent=True, metadata=still)
        return _themed(data.decode(), name)

    def png() -> bytes:
        return _drawn(name, draw, height_in, format="png", dpi=200, metadata={"Software": None})

    return Figure(name, title, alt, svg, png, (WIDTH_IN * 72, height_in * 72))


def _drawn(name: str, draw: Callable[[Any], None], height_in: float, **how: Any) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    settings: Any = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        # A dollar sign in somebody's text is a dollar sign.
        "text.parse_math": False,
        "text.usetex": False,
        "svg.fonttype": "none",
        "svg.hashsalt": f"dutchdoor-{name}",
        "axes.edgecolor": COLOURS["grid"],
        "axes.labelcolor": COLOURS["quiet"],
        "text.color": COLOURS["ink"],
        "xtick.color": COLOURS["quiet"],
        "ytick.color": COLOURS["ink"],
    }
    target = io.BytesIO()
    with mpl.rc_context(settings):
        canvas = Canvas(figsize=(WIDTH_IN, height_in), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot()
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0)
        draw(axes)
        canvas.savefig(target, **how)
    return target.getvalue()


def _themed(svg: str, name: str) -> str:
    """The drawing without its XML head, with the page's colours and ids of its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    for variable, colour in COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", body)
    body = body.replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', _opening, body, count=1)


def _opening(found: re.Match[str]) -> str:
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{found[1]}" aria-hidden="true" focusable="false">'


def _floats(row: Evaluation) -> tuple[float, float, float]:
    return float(row.score), float(row.low), float(row.high)


def _span(rate: Rate | None) -> str:
    if rate is None:
        return "not measured"
    return f"{percent(rate.value)} ({percent(rate.low)} to {percent(rate.high)})"


def _alarms(rate: str) -> str:
    return f"{float(rate) * 100:g} %"


def _power(number: float) -> str:
    """A power of ten as people write it; drawings parse no markup in which it could be set."""
    exponent = str(round(math.log10(number)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def cut(text: str, characters_max: int = LABEL_CHARACTERS_MAX) -> str:
    """`text` on one line, of at most so many characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= characters_max else flat[: characters_max - 1] + "…"
