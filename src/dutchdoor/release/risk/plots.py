"""The drawings of an estimate; the only file of this room that imports matplotlib.

Drawn from the canonical values alone, so that a drawing shows what is signed. Nothing in them
depends on the clock or on chance.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Drawing", "drawings"]

WIDTH_IN = 7.6
DPI = 160
LABEL_CHARACTERS_MAX = 46
BARS_MAX = 10
_INK, _QUIET, _GRID = "#1c2530", "#5b6673", "#d9dee4"
_RISK, _BENEFIT, _OTHER, _CALM = "#b3541e", "#1f5fa6", "#3c7a52", "#8fa3b8"


class Drawing(NamedTuple):
    """One drawing. says: what it shows, in words, for those who cannot see it."""

    name: str
    title: str
    says: str
    svg: str
    png: bytes


def drawings(body: Mapping[str, Any]) -> tuple[Drawing, ...]:
    """All drawings of an estimate's body, in the order in which they are read."""
    moved = [row for row in body["moved_by"] if row["bars"]]
    return (
        _levels(body),
        _parts(body),
        _leak_over_time(body),
        _what_if(body),
        *(_tornado(row, body) for row in moved),
    )


def _levels(body: Mapping[str, Any]) -> Drawing:
    rows = body["levels"]
    unit = body["settings"]["unit"]

    def draw(axes: Any) -> None:
        for place, row in enumerate(reversed(rows)):
            for shift, name, colour in ((0.16, "benefit", _BENEFIT), (-0.16, "risk", _RISK)):
                label = name if place == 0 else None
                _range(axes, place + shift, row[name], colour, label)
        without = body["without_model"]
        axes.axvspan(float(without["05"]), float(without["95"]), color=_GRID, alpha=0.5, zorder=0)
        axes.set_yticks(range(len(rows)), [_words(row["level"]) for row in reversed(rows)])
        axes.set_xscale("log")
        axes.set_xlabel(f"{unit} (each step of the grid: ten times as much)")
        axes.legend(loc="lower right", frameon=False, fontsize=9)

    said = "; ".join(
        f"{_words(row['level'])}: risk {_span(row['risk'])}, benefit {_span(row['benefit'])}"
        for row in rows
    )
    title = "Risk and benefit at each level"
    note = f"Grey: harm without this model, {_span(body['without_model'])}."
    return _drawing("levels", title, f"Nine draws of ten, in {unit}. {said}. {note}", draw, 7)


def _parts(body: Mapping[str, Any]) -> Drawing:
    rows = body["opening"]["parts"]
    names = (("deploying", _CALM), ("opening", _RISK), ("leaking", _OTHER))

    def draw(axes: Any) -> None:
        for place, row in enumerate(reversed(rows)):
            for shift, (name, colour) in zip((0.22, 0.0, -0.22), names, strict=True):
                _range(axes, place + shift, row[name], colour, name if place == 0 else None)
        axes.set_yticks(range(len(rows)), [_words(row["level"]) for row in reversed(rows)])
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("part of the level's risk")
        axes.legend(loc="best", frameon=False, fontsize=9)

    said = "; ".join(
        f"{_words(row['level'])}: " + ", ".join(f"{name} {_span(row[name])}" for name, _ in names)
        for row in rows
    )
    title = "How much of the risk comes from deploying at all, from opening, from a leak"
    return _drawing("parts", title, f"Parts of each level's risk. {said}.", draw, 6)


def _leak_over_time(body: Mapping[str, Any]) -> Drawing:
    level = body["settings"]["level"]
    row = next(row for row in body["levels"] if row["level"] == level)
    points = row["leak_chance"]

    def draw(axes: Any) -> None:
        years = [0, *(point["years"] for point in points)]
        at = {
            key: [0.0, *(float(point["chance"][key]) for point in points)]
            for key in points[0]["chance"]
        }
        axes.fill_between(years, at["05"], at["95"], color=_RISK, alpha=0.16, linewidth=0)
        axes.fill_between(years, at["25"], at["75"], color=_RISK, alpha=0.28, linewidth=0)
        axes.plot(years, at["50"], color=_RISK, linewidth=1.8)
        axes.set_xlim(0, years[-1])
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("years")
        axes.set_ylabel("chance that the weights are out")
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
        axes.locator_params(axis="x", integer=True)

    said = "; ".join(f"{point['years']} years: {_span(point['chance'])}" for point in points)
    title = f"Chance of a leak at level {_words(level)}, custody as it is configured"
    return _drawing("leak", title, f"Nine draws of ten. {said}.", draw, 6)


def _what_if(body: Mapping[str, Any]) -> Drawing:
    rows = body["what_if"]

    def draw(axes: Any) -> None:
        for place, row in enumerate(reversed(rows)):
            _range(axes, place, row["chance"], _RISK if place == len(rows) - 1 else _OTHER, None)
        axes.set_yticks(range(len(rows)), [_cut(row["name"]) for row in reversed(rows)])
        axes.set_xlim(left=0)
        axes.set_xlabel(f"chance of a leak within {body['settings']['years']} years, from 0 to 1")

    said = "; ".join(f"{row['name']}: {_span(row['chance'])}" for row in rows)
    title = "What other custody would change"
    return _drawing("custody", title, f"{title}. {said}.", draw, 1.2 * len(rows))


def _tornado(row: Mapping[str, Any], body: Mapping[str, Any]) -> Drawing:
    bars = row["bars"][:BARS_MAX]

    def draw(axes: Any) -> None:
        for place, bar in enumerate(reversed(bars)):
            low, high = float(bar["low"]), float(bar["high"])
            rises = high >= low
            axes.barh(
                place,
                abs(high - low),
                left=min(low, high),
                height=0.6,
                color=_BENEFIT if rises else _RISK,
                alpha=0.75,
            )
            axes.annotate(
                bar["rank_correlation"],
                (max(low, high), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=_QUIET,
            )
        axes.set_yticks(range(len(bars)), [_cut(bar["name"]) for bar in reversed(bars)])
        axes.margins(x=0.12)
        axes.set_xlabel(
            "median of the result at the assumption's two ends; beside: rank correlation"
        )

    said = "; ".join(
        f"{bar['name']}: {bar['low']} to {bar['high']} (rank correlation {bar['rank_correlation']})"
        for bar in bars
    )
    percent = f"{100 * float(body['settings']['tail']):g}"
    title = f"What moves it most: {row['result']}"
    says = (
        f"Median where each assumption is in its lowest and in its highest {percent} % of draws; "
        f"blue rises with it, brown falls. {said}."
    )
    name = "moved-by-" + row["result"].replace(" ", "-")
    return _drawing(name, title, says, draw, 0.9 * len(bars) + 1)


def _range(axes: Any, place: float, values: Mapping[str, str], colour: str, label: Any) -> None:
    """Nine draws of ten as a thin line, the middle half as a thick one, the median as a dot."""
    at = {key: float(value) for key, value in values.items()}
    axes.plot([at["05"], at["95"]], [place, place], color=colour, linewidth=1.4, label=label)
    axes.plot([at["25"], at["75"]], [place, place], color=colour, linewidth=5, alpha=0.5)
    axes.plot([at["50"]], [place], "o", color=colour, markersize=4.5)


def _drawing(name: str, title: str, says: str, draw: Callable[[Any], None], rows: float) -> Drawing:
    """Drawn twice: as SVG for screens, as PNG for papers. rows: lines its height is for."""
    still = {"Date": None, "Creator": None, "Format": None, "Type": None}
    svg = _drawn(name, draw, rows, format="svg", metadata=still).decode()
    png = _drawn(name, draw, rows, format="png", dpi=DPI, metadata={"Software": None})
    return Drawing(name, title, says, _embedded(svg, name), png)


def _drawn(name: str, draw: Callable[[Any], None], rows: float, **how: Any) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: Any = {
        "font.family": ["DejaVu Sans"],
        "font.size": 9.5,
        # A dollar sign in somebody's text is a dollar sign.
        "text.parse_math": False,
        "text.usetex": False,
        "svg.fonttype": "none",
        "svg.hashsalt": f"dutchdoor-risk-{name}",
        "axes.edgecolor": _GRID,
        "axes.labelcolor": _QUIET,
        "text.color": _INK,
        "xtick.color": _QUIET,
        "ytick.color": _INK,
    }
    target = io.BytesIO()
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.36 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0)
        draw(axes)
        if axes.get_xscale() == "log":
            axes.grid(axis="x", color=_GRID, linewidth=0.8)
            axes.xaxis.set_major_formatter(lambda at, _: f"{at:g}")
            axes.tick_params(which="minor", length=0)
        figure.savefig(target, **how)
    return target.getvalue()


def _embedded(svg: str, name: str) -> str:
    """The drawing without its XML head, with ids of its own, so that several share a page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    return re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", body)


def _span(values: Mapping[str, str]) -> str:
    return f"{values['05']} to {values['95']}, median {values['50']}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    short = flat[: LABEL_CHARACTERS_MAX - 1] + "…"
    return flat if len(flat) <= LABEL_CHARACTERS_MAX else short
