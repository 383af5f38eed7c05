"""The curves as one SVG file, written by hand: no library, no script, no font of its own."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from dutchdoor.audit.amend.model import Curve, Figure

__all__ = ["plot"]

_WIDTH, _HEIGHT = 300, 190
_LEFT, _TOP, _RIGHT, _BOTTOM = 38, 30, 10, 34
_COLUMNS = 3
_REFUSAL, _CONTROL = "#1f5fa8", "#b5651d"


def plot(curves: Mapping[tuple[str, str], Curve]) -> str:
    """One panel a curve: refusal with its interval, and refusal of harmless requests.

    x is spaced evenly, whatever its values; y goes from 0 to 1.
    """
    rows = max(1, -(-len(curves) // _COLUMNS))
    width, height = _COLUMNS * _WIDTH, rows * _HEIGHT + 24
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="10">'
        ),
        f"<title>{len(curves)} curves of an amend test</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, ((subject, name), curve) in enumerate(curves.items()):
        x, y = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_panel(subject, name, curve)}</g>')
    legend = (
        f'<text x="{_LEFT}" y="{height - 8}"><tspan fill="{_REFUSAL}">refusal, with its 95 % '
        f'interval over prompts and seeds</tspan> <tspan fill="{_CONTROL}" dx="12">harmless '
        "requests refused</tspan></text>"
    )
    return "\n".join([*parts, legend, "</svg>"]) + "\n"


def _panel(subject: str, name: str, curve: Curve) -> str:
    inner_width = _WIDTH - _LEFT - _RIGHT
    bottom = _HEIGHT - _BOTTOM
    step = inner_width / max(1, len(curve.points) - 1)
    xs = [_LEFT + step * place for place in range(len(curve.points))]
    title = escape(f"{subject}: {name.replace('_', ' ')}")
    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{title}</text>']
    for tick in (0.0, 0.5, 1.0):
        y = _y(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="#dddddd"/><text x="{_LEFT - 6}" y="{y + 3:.1f}" '
            f'text-anchor="end">{tick:.1f}</text>'
        )
    for x, point in zip(xs, curve.points, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{point.x}</text>')
    refusals = [point.refusal for point in curve.points]
    controls = [point.control for point in curve.points]
    parts += [_band(xs, refusals), _line(xs, controls, _CONTROL), _line(xs, refusals, _REFUSAL)]
    return "".join(parts)


def _band(xs: list[float], figures: list[Figure]) -> str:
    upper = [(x, _y(figure.high)) for x, figure in zip(xs, figures, strict=True)]
    lower = [(x, _y(figure.low)) for x, figure in zip(xs, figures, strict=True)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *reversed(lower)])
    return f'<polygon points="{points}" fill="{_REFUSAL}" fill-opacity="0.18"/>'


def _line(xs: list[float], figures: list[Figure], colour: str) -> str:
    points = " ".join(f"{x:.1f},{_y(f.mean):.1f}" for x, f in zip(xs, figures, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _y(value: float) -> float:
    return _TOP + (1.0 - value) * (_HEIGHT - _TOP - _BOTTOM)
