"""The report of a full audit shows risks, failures, plan, dissent and gaps; a short one says so."""

from __future__ import annotations

import html
import io
from pathlib import Path

import pypdf
import pytest

from dutchdoor.audit.outputs.material import gather
from dutchdoor.audit.outputs.paper import report_pdf
from dutchdoor.audit.outputs.report import UNTESTED, report_page
from dutchdoor.audit.outputs.risk_figures import failure_figure, failures_ranked, risk_figure
from dutchdoor.audit.outputs.screen import report_html
from dutchdoor.audit.outputs.whole_sections import SHORT_NOTICE
from dutchdoor.audit.service import Audit
from tests.audit.documents.parts import K, Whole
from tests.audit.outputs.parts import finished
from tests.audit.parts import People, started


def words(audit: Audit) -> str:
    (file,) = report_html(gather(audit))
    return html.unescape(file.data.decode())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"), completed=True)


def test_the_report_of_a_full_audit_shows_chart_failures_and_plan(whole: Whole) -> None:
    page = report_page(gather(whole.audit))
    named = {section.title: section for section in page.sections}
    chart = [type(block).__name__ for block in named["Which risks are high"].blocks]
    failed = [type(block).__name__ for block in named["How it may fail"].blocks]
    assert ("Figure" in chart, "Table" in chart) == (True, True)
    assert ("Figure" in failed, "Table" in failed) == (True, True)
    shown = words(whole.audit)
    for row in whole.folder.read(K.R1).front["failures"]:
        for cell in ("id", "rpn", "priority", "severity", "occurrence", "detection"):
            assert str(row[cell]) in shown
    for row in whole.folder.read(K.R2).front["mitigations"]:
        assert f"<td>{row['owner']}</td><td>{row['due']}</td>" in shown
    for row in whole.folder.read(K.T3).front["risks"]:
        assert row["impact"] in shown
        assert f"{row['failed']} of {row['tried']}" in shown
    assert whole.folder.read(K.P1).front["reasons"] in shown
    assert "Tracking of mitigations" in shown
    assert "What no test is about" in shown
    assert SHORT_NOTICE not in shown


def test_the_pdf_says_the_same(whole: Whole) -> None:
    (file,) = report_pdf(gather(whole.audit))
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(file.data)).pages)
    for title in ("Which risks are high", "How it may fail", "What is done about it",
                  "Who disagreed", "What no test is about", "After the audit"):  # fmt: skip
        assert title in text


def test_dissent_stands_in_the_report(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.R2, dissent=[{"by": "Ines", "about": "the dates", "text": "far <too> late"}])
    assert "R2: Ines, on the dates: far <too> late" in words(whole.audit)
    assert "far <too>" not in report_html(gather(whole.audit))[0].data.decode()


def test_an_open_failure_of_high_severity_stands_first_and_warns(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    last = whole.folder.read(K.R1).front["failures"][-1]["id"]
    whole.change_row(K.R1, "failures", last, severity=10, status="open", action="")
    assert f"Open failures of severity 9 or 10: {last}" in words(whole.audit)
    ranked = failures_ranked(whole.folder.read(K.R1).front["failures"])
    assert ranked[0]["id"] == last
    drawn = failure_figure(ranked)
    assert drawn is not None
    assert "stops the audit" in drawn.alt


def test_a_document_changed_after_its_signature_is_shown_as_such(tmp_path: Path) -> None:
    whole = Whole(tmp_path, completed=True)
    whole.change(K.R2, leadership="somebody else")
    assert "From R2, Mitigation plan, which is changed" in words(whole.audit)


def test_a_secret_plan_leaves_its_digest_only(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change_row(K.R2, "mitigations", "refusal", mitigation="a plan for few")
    whole.change(K.R2, sensitivity="secret", dissent=[{"by": "I", "about": "a", "text": "hush"}])
    whole.change(K.S4, sensitivity="secret")
    shown = words(whole.audit)
    assert "a plan for few" not in shown
    assert "hush" not in shown
    assert "R2 is not for everybody and is not quoted; its digest is sha256:" in shown
    impact = whole.folder.read(K.T3).front["risks"][0]["impact"]
    assert impact not in shown  # The chart quotes S4.


def test_a_short_audit_says_what_it_leaves_out(tmp_path: Path) -> None:
    shown = words(finished(tmp_path, People()))
    assert SHORT_NOTICE in shown
    assert "Which risks are high" not in shown


def test_a_draft_with_nothing_tested_says_so_and_counts_nothing(tmp_path: Path) -> None:
    shown = words(started(tmp_path, People()))
    assert UNTESTED in shown
    assert "0 findings" not in shown
    assert "Nothing was found" not in shown
    assert "0 evaluations" not in shown


def test_a_draft_of_a_full_audit_from_its_templates_is_written(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    for kind in (K.T3, K.R1, K.M5):
        name = "risks" if kind is K.T3 else "failures"
        whole.change(kind, **{name: [{"id": "[write here]", "severity": "bad"}, "no row"]})
    shown = words(whole.audit)
    assert "No risk is charted yet" in shown


def test_texts_and_lists_of_any_length_fit_the_pages_of_the_pdf(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    long = "w" * 9_000
    row = whole.folder.read(K.R1).front["failures"][0]
    rows = [{**row, "id": f"F{number}", "mode": long, "severity": 10} for number in range(40)]
    whole.change(K.R1, failures=[*rows, {**row, "id": long, "rpn": long, "detection": long}])
    plan = whole.folder.read(K.R2).front["mitigations"][0]
    whole.change(K.R2, mitigations=[dict.fromkeys(plan, long)])
    (file,) = report_pdf(gather(whole.audit))
    assert len(pypdf.PdfReader(io.BytesIO(file.data)).pages) > 10


def test_what_cannot_be_drawn_is_not_drawn() -> None:
    assert risk_figure([{"id": "I1", "severity": "terrible", "likelihood": "likely"}]) is None
    assert failure_figure([{"id": "F1", "mode": "m", "severity": "9", "rpn": None}]) is None


def test_many_risks_in_one_cell_are_counted_not_lost() -> None:
    row = {"severity": "high", "likelihood": "likely", "rating": "high"}
    drawn = risk_figure([{**row, "id": f"I{number}"} for number in range(20)])
    assert drawn is not None
    assert "+15" in drawn.svg()
    assert "I19: severity high" in drawn.alt
