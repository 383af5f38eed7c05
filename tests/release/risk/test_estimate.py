"""An estimate: the same bytes again, ranges and no single number, a page that stands alone."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from dutchdoor import canonical
from dutchdoor.release.risk.estimate import QUANTILES, Estimate, estimate
from dutchdoor.release.risk.model import LEVELS
from dutchdoor.release.risk.page import estimate_lines, estimate_page
from dutchdoor.release.risk.plots import drawings
from tests.release.risk.parts import AMEND, FACTS, SUBJECT, assumed

PROGRAM = """
from tests.release.risk.parts import FACTS, SUBJECT, assumed
from dutchdoor.release.risk.estimate import estimate
print(estimate(SUBJECT, assumed(), FACTS).digest)
"""


@pytest.fixture(scope="module")
def made() -> Estimate:
    return estimate(SUBJECT, assumed(), FACTS, AMEND)


def test_the_same_seed_gives_the_same_bytes_in_another_process_too() -> None:
    first = estimate(SUBJECT, assumed(), FACTS)
    assert first.data == estimate(SUBJECT, assumed(), FACTS).data
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == first.digest == canonical.digest(canonical.parse(first.data))


def test_another_seed_gives_other_bytes_and_nearly_the_same_answer() -> None:
    base = assumed(4000)
    other = replace(base, settings=replace(base.settings, seed=2))
    first, second = (estimate(SUBJECT, row, FACTS) for row in (base, other))
    assert first.digest != second.digest
    for one, two in zip(first.body["levels"], second.body["levels"], strict=True):
        assert float(one["risk"]["50"]) == pytest.approx(float(two["risk"]["50"]), rel=0.15)


def test_every_result_is_a_range(made: Estimate) -> None:
    keys = {f"{round(100 * place):02d}" for place in QUANTILES}
    body = made.body
    for row in body["levels"]:
        for name in ("risk", "benefit", "net", "risk_to_harm_without"):
            assert set(row[name]) == keys
            values = [float(row[name][key]) for key in sorted(keys)]
            assert values == sorted(values)
        assert len(row["leak_chance"]) == body["settings"]["years"]
    assert [row["level"] for row in body["levels"]] == list(LEVELS)
    for name in ("times", "way_to_open", "chance", "more_a_year"):
        assert set(body["leak"][name]) == keys
    assert set(body["opening"]["spared_of_fully_open"]) == keys


def test_parts_of_the_risk_add_up_in_each_draw(made: Estimate) -> None:
    found = made.simulation.levels
    base = found[made.settings.deployed].kept
    for level in LEVELS[LEVELS.index(made.settings.deployed) :]:
        row = found[level]
        parts = base + (row.kept - base) + (row.risk - row.kept)
        assert parts == pytest.approx(row.risk)


def test_what_is_read_and_what_is_assumed_says_so(made: Estimate) -> None:
    sources = {row["name"]: row["source"] for row in made.body["custody"]}
    assert sources["threshold"].startswith("read: ")
    assert sources["people"] == "assumed"
    measured = {row["name"] for row in made.body["figures"] if row["measured"]}
    assert measured == {f"safeguards.{name}" for name in ("held_back", "refusal", "remaining")}
    assert made.body["rests_on"]["amend_test"] == AMEND.digest
    without = estimate(SUBJECT, assumed(), replace(FACTS, keys_here=3))
    sheet = replace(SUBJECT, worksheet="sha256:" + "e" * 64, rows=("fraud", "theft"))
    said = " ".join(estimate(sheet, assumed(), FACTS).body["notes"])
    assert "leaves out: theft" in said
    notes = " ".join(without.body["notes"])
    assert "no amend test" in notes
    assert "one theft opens the bundle" in notes
    assert "no worksheet" in notes
    rows = {row["name"]: row["chance"]["50"] for row in without.body["what_if"]}
    assert float(rows["the custodians' keys kept apart"]) < float(rows["as configured"])


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(v) for k, v in attrs if k in {"src", "href", "xlink:href"}]


def test_the_page_stands_alone_and_is_the_same_again(made: Estimate) -> None:
    drawn = drawings(made.body)
    html = estimate_page(made.body, made.digest, drawn)
    few = {**made.body, "moved_by": made.body["moved_by"][:1]}
    assert drawings(few) == drawn[:5], "nothing in a drawing is left to chance"
    page = _Page()
    page.feed(html)
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links), page.links
    assert page.tags.count("svg") == len(drawn) >= 6
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert made.digest in html
    for row in drawn:
        assert row.png.startswith(b"\x89PNG")
        assert len(row.says.split()) > 8, "what cannot be seen can be read"
    lines = estimate_lines(made.body)
    assert "How much of the risk comes from opening" in lines
    assert "What would a leak change?" in lines


def test_what_people_write_is_text_on_the_page_and_nothing_else() -> None:
    evil = "<script>alert(1)</script> $100 & ${x}"
    base = assumed()
    figures = dict(base.figures)
    name = "leak.host_rate"
    figures[name] = replace(figures[name], means=evil, source=evil)
    settings = replace(base.settings, unit=evil)
    made = estimate(
        replace(SUBJECT, model=evil), replace(base, settings=settings, figures=figures), FACTS
    )
    html = estimate_page(made.body, made.digest, drawings({**made.body, "moved_by": []}))
    page = _Page()
    page.feed(html)
    assert "script" not in page.tags
