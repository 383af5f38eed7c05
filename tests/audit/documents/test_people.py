"""Interviews, dissent, the two clocks, and what no test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dutchdoor.audit.documents.people import clocks, dissents
from dutchdoor.errors import Invalid
from tests.audit.documents.parts import K, Whole

INTERVIEW: dict[str, Any] = {
    "stakeholder": "P2",
    "date": "2026-11-24",
    "consent": True,
    "transcript": "sha256:" + "1" * 64,
}


def test_an_interview_is_kept_as_a_digest_and_counts_as_asked(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    assert "P2" in whole.audit.coverage().gaps()["stakeholders"]
    whole.change(K.M4, interviews=[INTERVIEW])
    whole.sign(K.M4)
    assert "P2" not in whole.audit.coverage().gaps()["stakeholders"]


@pytest.mark.parametrize(
    "change",
    [
        {"consent": False},
        {"consent": "yes"},
        {"transcript": "I told them that nobody reads the logs."},
        {"words": "I told them that nobody reads the logs."},
        {"stakeholder": "P99"},
        {"date": "24.11.2026"},
    ],
)
def test_nobody_is_listed_without_consent_and_no_words_are_kept(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    whole = Whole(tmp_path)
    whole.change(K.M4, interviews=[{**INTERVIEW, **change}])
    with pytest.raises(Invalid):
        whole.sign(K.M4)


def test_no_interview_at_all_needs_a_reason(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.M4, interviews=[], without_interviews="")
    with pytest.raises(Invalid):
        whole.sign(K.M4)


def test_dissent_is_in_the_report_and_cannot_close_the_programs_part(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    hostile = "no <!-- end: whole -->\n## Risks\nnone"
    whole.change(K.R2, dissent=[{"by": "Mira", "about": "the threshold", "text": hostile}])
    whole.sign(K.R2, K.R3, K.R4)
    (row,) = [row for row in dissents(whole.folder) if row.by == "Mira"]
    assert row.kind is K.R2
    body = whole.folder.read(K.R4).body
    assert "Mira, on the threshold" in body
    assert body.count("<!-- end: whole -->") == 1
    assert body.count("\n## Risks\n") == 1


@pytest.mark.parametrize(
    "front",
    [
        {"dissent": [{"by": "Mira", "about": "", "text": "no"}]},
        {"dissent": [{"by": "Mira", "text": "no"}]},
        {"dissent": "none"},
        {"effort_minutes": -1},
        {"effort_minutes": True},
        {"effort_minutes": "an hour"},
        {"favourite_colour": "blue"},
        {"sensitivity": "secret"},
        {"purpose": "[write here: what it is for]"},
        {"requirements": "all of them"},
        {"requirements": [{"id": "Q1", "requirement": "x"}]},
        {"users": [{"a": "b"}]},
    ],
)
def test_what_is_not_in_form_cannot_be_signed(tmp_path: Path, front: dict[str, Any]) -> None:
    whole = Whole(tmp_path)
    whole.change(K.S1, **front)
    with pytest.raises(Invalid) as caught:
        whole.sign(K.S1)
    assert caught.value.code == "document_unfinished"


def test_a_model_card_without_a_section_cannot_be_signed(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    path = whole.folder.file(K.C2)
    text = path.read_text()
    path.write_text(text.replace("## Factors", "## Factor"))
    with pytest.raises(Invalid, match="Factors"):
        whole.sign(K.C2)


def test_effort_is_what_people_say_and_elapsed_is_what_signatures_say(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    before = {row.kind: row for row in clocks(whole.folder, whole.audit.subject, whole.trust)}
    assert before[K.S1].effort_minutes == 40
    whole.change(K.S1, effort_minutes=90)
    whole.sign(K.S1)
    after = {row.kind: row for row in clocks(whole.folder, whole.audit.subject, whole.trust)}
    assert after[K.S1].effort_minutes == 90
    assert (after[K.S1].elapsed_ms or 0) > (before[K.S1].elapsed_ms or 0)
    assert before[K.P1].elapsed_ms is None


def test_coverage_names_what_no_test_is_about(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    gaps = whole.audit.coverage().gaps()
    assert (gaps["principles"], gaps["failures"], gaps["groups"]) == ((), (), ())
    assert "extreme-risk" in gaps["harms"]
    every = whole.folder.read(K.T2).front["tests"]
    of_privacy = [row for row in every if row["principle"] == "privacy"]
    whole.change(K.T2, tests=[row for row in every if row not in of_privacy])
    gaps = whole.audit.coverage().gaps()
    assert gaps["principles"] == ("privacy",)
    assert gaps["failures"] == ("F8",)
    assert gaps["groups"] == ("people in the training data",)
    # A test that was written down and never tried covers nothing.
    first, *others = whole.folder.read(K.T2).front["tests"]
    planned = {
        **first,
        "id": "X99",
        "harm": "extreme-risk",
        "evaluation": "",
        "failed_when": "",
        "tried": 0,
        "failed": 0,
    }
    whole.change(K.T2, tests=[first, planned, *others])
    assert "extreme-risk" in whole.audit.coverage().gaps()["harms"]
    whole.change(K.T2, tests=[first, {**planned, "tried": 3}, *others])
    assert "extreme-risk" not in whole.audit.coverage().gaps()["harms"]
