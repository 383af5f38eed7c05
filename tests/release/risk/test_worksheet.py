"""The worksheet: six steps, a baseline, evidence that is there and is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.audit.document import Document
from dutchdoor.audit.service import Audit
from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.evidence import EvidenceKind, Item, evidence_of
from dutchdoor.release.risk.worksheet import (
    BASELINES,
    STEPS,
    Facts,
    MarginalRisk,
    fresh_worksheet,
    must_be_complete,
    problems_of,
    rows_of,
)
from tests.audit.parts import People, examined

FACTS = Facts("smol", "sha256:" + "a" * 64, "audit_1")
ITEMS = (
    Item(EvidenceKind.FINDING, "refusal", "sha256:" + "1" * 64, "high, open: it hardly refuses"),
    Item(EvidenceKind.DOCUMENT, "T2", "sha256:" + "2" * 64, "Testing report: signed"),
)
TEXT = "Compared with a search engine, open models and closed APIs, as far as anybody looked."


def written() -> Document:
    """A complete worksheet of one row."""
    document = Document.decode(fresh_worksheet(FACTS, Level.CLOUD_API, ITEMS))
    front = dict(document.front)
    front["written_by"] = "Ada, read by Tomas"
    front["baselines"] = [{"id": name, "what": "looked at in May"} for name in BASELINES]
    front["rows"] = [
        {
            "id": "fraud",
            "threat": "letters that ask for money",
            "actor": "people without skill",
            "baselines": list(BASELINES),
            "marginal_risk": "small",
            "confidence": "medium",
            "evidence": [
                {"finding": "refusal", "digest": ITEMS[0].digest},
                {"document": "T2", "digest": ITEMS[1].digest},
                {"outside": "a survey that nobody here checks"},
            ],
        }
    ]
    steps = "\n\n".join(f"### {step}\n{TEXT}" for step in STEPS)
    return Document(front, f"# Marginal risk\n\n## fraud: letters\n\n{steps}\n\n## Notes\nnone\n")


def with_row(**changes: object) -> Document:
    document = written()
    return document.with_front(rows=[{**document.front["rows"][0], **changes}])


def said(document: Document) -> str:
    return "\n".join(row.line() for row in problems_of(document, FACTS, ITEMS))


def test_a_complete_worksheet_has_no_problem_and_survives_its_own_writing() -> None:
    document = Document.decode(written().encode())
    assert problems_of(document, FACTS, ITEMS) == ()
    must_be_complete(document, FACTS, ITEMS)
    (row,) = rows_of(document)
    assert row.marginal_risk is MarginalRisk.SMALL


def test_a_fresh_worksheet_asks_each_step_and_says_what_is_left() -> None:
    document = Document.decode(fresh_worksheet(FACTS, Level.CLOUD_API, ITEMS))
    text = said(document)
    for step in STEPS:
        assert f"## fraud, {step}: still says" in text
    assert ITEMS[0].digest in document.body
    with pytest.raises(Invalid) as caught:
        must_be_complete(document, FACTS, ITEMS)
    assert caught.value.code == "worksheet_incomplete"
    assert "more" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"baselines": []}, "names no baseline"),
        ({"baselines": ["a_wizard"]}, "not described: a_wizard"),
        ({"marginal_risk": "tiny"}, "one of none, small, moderate"),
        ({"confidence": "sure"}, "one of low, medium, high"),
        ({"evidence": []}, "says 'small' and rests on nothing"),
        ({"evidence": [{"outside": "hearsay"}], "confidence": "high"}, "is sure without evidence"),
        ({"evidence": [{"finding": "x", "digest": "y"}]}, "the audit has no finding 'x'"),
        ({"evidence": [{"finding": "refusal"}]}, "lacks digest"),
        ({"evidence": ["refusal"]}, "points at nothing"),
        ({"evidence": [{"finding": "refusal", "document": "T2", "digest": "y"}]}, "points at noth"),
        ({"actor": " "}, "actor: is empty"),
        ({"id": "Fraud!"}, "no word of small letters"),
        ({"id": "theft"}, "## theft: is missing"),
    ],
)
def test_what_a_row_lacks_is_said(changes: dict[str, object], problem: str) -> None:
    assert problem in said(with_row(**changes))


def test_evidence_that_changed_is_noticed_and_the_hint_has_the_digest_to_read_for() -> None:
    text = said(with_row(evidence=[{"finding": "refusal", "digest": "sha256:" + "9" * 64}]))
    assert "finding refusal is not the one pointed at" in text
    assert ITEMS[0].digest in text


def test_a_step_that_leaves_out_a_baseline_is_told_which() -> None:
    document = written()
    body = document.body.replace(f"{STEPS[1]}\n{TEXT}", f"{STEPS[1]}\nOpen models help a bit.")
    text = said(Document(document.front, body))
    assert "leaves out search_engine" in text
    assert "leaves out closed_apis" in text
    assert "leaves out open_models" not in text


def test_steps_and_rows_that_are_missing_twice_or_too_many_are_told() -> None:
    document = written()
    body = document.body.replace(f"### {STEPS[5]}", "### 7. Something else")
    text = said(Document(document.front, body + "\n## theft: of what\n"))
    assert f"write '### {STEPS[5]}'" in text
    assert "7. Something else: is none of the six steps" in text
    assert "## theft: has no row" in text
    twice = document.with_front(rows=document.front["rows"] * 2)
    assert "is there twice" in said(twice)


def test_a_worksheet_of_another_bundle_is_no_worksheet_of_this_one() -> None:
    assert "bundle: says" in said(written().with_front(bundle="sha256:" + "b" * 64))
    assert "level: is no level" in said(written().with_front(level="open"))
    assert "lacks search_engine" in said(written().with_front(baselines=[]))
    lost = {key: value for key, value in written().front.items() if key != "audit"}
    assert "lacks audit" in said(Document(lost, ""))


def test_what_an_audit_has_to_point_at_is_named_by_digests_that_anybody_can_make(
    tmp_path: Path,
) -> None:
    audit: Audit = examined(tmp_path, People())
    items = {(row.kind, row.name): row for row in evidence_of(audit)}
    finding = next(row for row in audit.status().findings if row.id == "refusal")
    assert items[EvidenceKind.FINDING, "refusal"].digest == canonical.digest(finding.to_body())
    data = (audit.path / "T2-testing.md").read_bytes()
    digest = "sha256:" + canonical.sha256_hex(data)
    assert items[EvidenceKind.DOCUMENT, "T2"].digest == digest
