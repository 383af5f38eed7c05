"""The estimate as one page that needs nothing else, and in a few lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from dutchdoor.release.risk.leak import ROUTES
from dutchdoor.release.risk.plots import Drawing

__all__ = ["estimate_lines", "estimate_page"]

_CUSTODY = {
    "threshold": "custodians who must agree",
    "custodians": "custodians",
    "keys_here": "their keys that lie in this keyring",
    "people": "people who may call now",
    "copies": "sealed copies that are known",
    "egress_bytes_day": "bytes that may leave the runtime a day (0: no limit)",
    "sealed_bytes": "bytes of the sealed bundle",
}


def estimate_lines(body: Mapping[str, Any]) -> str:
    """The results in a few lines; each with its range."""
    settings = body["settings"]
    level, years = _words(settings["level"]), settings["years"]
    lines = [f"{'level':<16}{'risk':<28}{'benefit':<28}benefit less risk"]
    for row in body["levels"]:
        risk, benefit, net = (_range(row[name]) for name in ("risk", "benefit", "net"))
        lines.append(f"{_words(row['level']):<16}{risk:<28}{benefit:<28}{net}")
    lines.append(
        f"(in {settings['unit']}: nine draws of ten lie between the first two, the middle draw "
        "stands in brackets; all that is assumed is assumed)"
    )
    return "\n".join([*lines, "", *_answers(body, level, years)])


def estimate_page(body: Mapping[str, Any], digest: str, drawn: Sequence[Drawing]) -> str:
    """The HTML page: no script, nothing loaded from anywhere.

    digest: of `estimate.json`, as a decision names it.
    """
    settings = body["settings"]
    template = resources.files("dutchdoor.release.risk").joinpath("templates", "estimate.html")
    answers = _answers(body, _words(settings["level"]), settings["years"])
    return Template(template.read_text(encoding="utf-8")).substitute(
        model=escape(body["model"]),
        level=escape(_words(settings["level"])),
        digest=escape(digest),
        bundle=escape(body["bundle"]),
        unit=escape(settings["unit"]),
        seed=settings["seed"],
        samples=settings["samples"],
        years=settings["years"],
        notes="".join(f"<li>{escape(note)}</li>" for note in body["notes"]),
        answers="".join(f"<p>{escape(answer)}</p>" for answer in answers),
        figures="".join(_figure(row) for row in drawn),
        routes=_routes(body),
        custody="".join(
            f"<tr><td>{escape(_CUSTODY.get(row['name'], row['name']))}</td>"
            f"<td>{row['value']}</td><td>{escape(row['source'])}</td></tr>"
            for row in body["custody"]
        ),
        assumptions="".join(
            f"<tr><td>{escape(row['name'])}</td><td>{escape(row['value'])}</td>"
            f"<td>{escape(row['means'])}</td><td>{escape(row['source'])}</td></tr>"
            for row in body["figures"]
        ),
        rests_on="".join(
            f"<li>{escape(_words(name))}: {escape(value) or 'none'}</li>"
            for name, value in body["rests_on"].items()
        ),
    )


def _answers(body: Mapping[str, Any], level: str, years: int) -> list[str]:
    parts = {row["level"]: row for row in body["opening"]["parts"]}
    whole = parts["fully_open"]
    deployed = _words(body["settings"]["deployed"])
    leak = body["leak"]
    return [
        (
            "How much of the risk comes from opening, how much from deploying at all? Of the risk "
            f"of a fully open release, {_percent(whole['deploying'])} is there already where the "
            f"model is {deployed} and nothing leaks; {_percent(whole['opening'])} comes from "
            f"opening. Level {level} spares {_percent(body['opening']['spared_of_fully_open'])} "
            "of the risk of fully open."
        ),
        (
            f"What would a leak change? At level {level} the risk would be {_range(leak['times'])} "
            f"times what it is; that is {_percent(leak['way_to_open'])} of the way to fully open. "
            f"Under custody as it is configured, a leak within {years} years has a chance of "
            f"{_percent(leak['chance'])}."
        ),
    ]


def _figure(row: Drawing) -> str:
    return (
        f'<figure><figcaption>{escape(row.title)}</figcaption><div role="img" '
        f'aria-label="{escape(row.says)}">{row.svg}</div>'
        f"<details><summary>In words</summary><p>{escape(row.says)}</p></details></figure>"
    )


def _routes(body: Mapping[str, Any]) -> str:
    level = body["settings"]["level"]
    found = next(row for row in body["levels"] if row["level"] == level)
    return "".join(
        f"<tr><td>{escape(words)}</td><td>{_range(found['leaks_a_year'][route])}</td></tr>"
        for route, words in ROUTES.items()
    )


def _range(values: Mapping[str, str]) -> str:
    return f"{_short(values['05'])} to {_short(values['95'])} ({_short(values['50'])})"


def _percent(values: Mapping[str, str]) -> str:
    low, high = (f"{100 * float(values[key]):.2g}" for key in ("05", "95"))
    return f"{low} to {high} %"


def _short(value: str) -> str:
    number = float(value)
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2g}"


def _words(name: str) -> str:
    return name.replace("_", " ")
