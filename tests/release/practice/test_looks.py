"""No claim is believed: each of the ten looks sees what is there, what is not, and the opposite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.reaudit import Due
from dutchdoor.evidence.reviews import Review
from dutchdoor.evidence.terms import Reference, RuntimeTerms, Terms
from dutchdoor.guard.rules import RuleSet
from dutchdoor.guard.starter import starter_digest
from dutchdoor.ids import BundleDigest, DecisionId
from dutchdoor.release.practice.document import (
    Commitment,
    Exclusion,
    Practice,
    read_practice,
    write_templates,
)
from dutchdoor.release.practice.looks import LOOKS, checklist
from dutchdoor.release.practice.model import (
    RECOMMENDATIONS,
    Claim,
    DecisionFact,
    Facts,
    Look,
    Shown,
    Status,
    judge,
)
from dutchdoor.release.practice.moderation import export_moderation
from dutchdoor.release.practice.page import practice_page

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000
BUNDLE = BundleDigest("sha256:" + "ab" * 32)
PROMISE = Commitment("Statement on safety", "https://example.org/statement", "2026-01-01")
BOARDS = Exclusion("image boards", ("4chan", "politically incorrect"), "hate")
DECISION = Decision(
    id=DecisionId("decision_one"),
    bundle=BUNDLE,
    model="tiny",
    level=Level.CLOUD_API,
    stage="1",
    audiences=(Audience("researcher", (Depth.SAMPLING,)),),
    guard=GuardTerms("sha256:" + "1" * 64, "fpr_0.01"),
    hidden_size=64,
    vectors_max=16,
    audit="sha256:" + "2" * 64,
    reasons="a test",
    supersedes="",
    not_before_ms=NOW_MS,
    not_after_ms=NOW_MS + DAY_MS,
)


def due(at_ms: int, grace_ms: int = DAY_MS) -> Due:
    return Due("d", "a", BUNDLE, "time", "six months", at_ms, grace_ms)


def review(*dues: Due) -> Review:
    return Review("a", NOW_MS - DAY_MS, dues or (due(NOW_MS + 100 * DAY_MS),))


def terms(**changes: object) -> Decision:
    return replace(DECISION, terms=replace(Terms(), **changes))  # type: ignore[arg-type]


FACTS = Facts(bundle=BUNDLE, now_ms=NOW_MS)
STATED = Practice(holder="House", commitments=(PROMISE,), exclusions=(BOARDS,))
NAMED = (Reference("commitments", STATED.commitments_digest),)
OTHERS = (Reference("commitments", "sha256:" + "3" * 64),)

SEEN: list[tuple[str, Facts, Practice, Shown]] = [
    # Nothing was hurried where nothing was opened; nor was anything shown.
    ("safety_before_speed", FACTS, STATED, Shown.NO),
    (
        "safety_before_speed",
        replace(FACTS, decisions=(DecisionFact("d1", "cloud_api", audited=True),)),
        STATED,
        Shown.YES,
    ),
    (
        "safety_before_speed",
        replace(FACTS, decisions=(DecisionFact("d1", "cloud_api", audited=False),)),
        STATED,
        Shown.AGAINST,
    ),
    ("regular_audits", FACTS, STATED, Shown.NO),
    ("regular_audits", replace(FACTS, review=review()), STATED, Shown.YES),
    ("regular_audits", replace(FACTS, review=review(due(NOW_MS))), STATED, Shown.PARTLY),
    ("regular_audits", replace(FACTS, review=review(due(NOW_MS, 0))), STATED, Shown.AGAINST),
    ("external_feedback", FACTS, STATED, Shown.NO),
    (
        "external_feedback",
        replace(FACTS, outsiders=(("red_teamer", "Lab"),)),
        STATED,
        Shown.YES,
    ),
    # The holder's own red team is not from outside.
    ("external_feedback", replace(FACTS, outsiders=(("red_teamer", "house"),)), STATED, Shown.NO),
    (
        "external_feedback",
        replace(FACTS, outsiders=(("researcher", "Lab"),)),
        STATED,
        Shown.PARTLY,
    ),
    (
        "external_feedback",
        replace(FACTS, outsiders=(("red_teamer", "Lab"),)),
        replace(STATED, holder=""),
        Shown.PARTLY,
    ),
    ("public_commitments", FACTS, Practice(), Shown.NO),
    ("public_commitments", replace(FACTS, in_force=DECISION), STATED, Shown.PARTLY),
    ("public_commitments", replace(FACTS, in_force=terms(references=NAMED)), STATED, Shown.YES),
    (
        "public_commitments",
        replace(FACTS, in_force=terms(references=OTHERS)),
        STATED,
        Shown.AGAINST,
    ),
    ("structured_access", FACTS, STATED, Shown.NO),
    ("structured_access", replace(FACTS, in_force=DECISION), STATED, Shown.YES),
    (
        "structured_access",
        replace(FACTS, in_force=replace(DECISION, level=Level.FULLY_OPEN)),
        STATED,
        Shown.AGAINST,
    ),
    (
        "structured_access",
        replace(
            FACTS,
            in_force=replace(DECISION, audiences=(Audience("public", (Depth.SAMPLING,)),)),
        ),
        STATED,
        Shown.PARTLY,
    ),
    ("agentic_limits", FACTS, STATED, Shown.NO),
    ("agentic_limits", replace(FACTS, in_force=DECISION), STATED, Shown.PARTLY),
    (
        "agentic_limits",
        replace(FACTS, in_force=terms(runtime=RuntimeTerms(tools=False))),
        STATED,
        Shown.YES,
    ),
    ("agentic_limits", replace(FACTS, in_force=DECISION, agentic=1), STATED, Shown.AGAINST),
    ("limitations_told", replace(FACTS, in_force=DECISION), STATED, Shown.NO),
    (
        "limitations_told",
        replace(FACTS, in_force=terms(limitations=("It invents facts.",))),
        STATED,
        Shown.YES,
    ),
    ("training_exclusions", FACTS, Practice(), Shown.NO),
    ("training_exclusions", FACTS, STATED, Shown.PARTLY),
    ("training_exclusions", FACTS, replace(STATED, manifest="nowhere.jsonl"), Shown.NO),
    ("moderation_data", FACTS, STATED, Shown.NO),
    ("moderation_data", FACTS, replace(STATED, moderation="nowhere"), Shown.NO),
    ("infohazard_policy", FACTS, STATED, Shown.NO),
    ("infohazard_policy", FACTS, replace(STATED, policy="nowhere.md"), Shown.NO),
]


@pytest.mark.parametrize(("name", "facts", "practice", "shown"), SEEN)
def test_a_look_sees_what_is_there_and_nothing_else(
    name: str, facts: Facts, practice: Practice, shown: Shown, tmp_path: Path
) -> None:
    rows = {row.recommendation.name: row for row in checklist(facts, practice, tmp_path)}
    assert rows[name].look.shown is shown
    assert all(rows[name].look.evidence)


def test_each_recommendation_has_its_look() -> None:
    assert len(RECOMMENDATIONS) == 10
    assert set(LOOKS) == {row.name for row in RECOMMENDATIONS}


@pytest.mark.parametrize(
    ("claim", "why", "shown", "status"),
    [
        (Claim.ADOPTED, "", Shown.YES, Status.ADOPTED),
        (Claim.ADOPTED, "", Shown.PARTLY, Status.PARTLY),
        (Claim.ADOPTED, "we do, believe us", Shown.NO, Status.MISSING),
        (Claim.ADOPTED, "we do, believe us", Shown.AGAINST, Status.CONTRADICTED),
        (Claim.PARTLY, "", Shown.AGAINST, Status.CONTRADICTED),
        (Claim.PARTLY, "soon", Shown.NO, Status.PARTLY),
        (Claim.PARTLY, "", Shown.NO, Status.MISSING),
        (Claim.EXPLAINED, "no training of ours", Shown.NO, Status.EXPLAINED),
        (Claim.EXPLAINED, " ", Shown.YES, Status.MISSING),
        (Claim.OPEN, "", Shown.YES, Status.ADOPTED),
        (Claim.OPEN, "", Shown.AGAINST, Status.MISSING),
    ],
)
def test_no_claim_stands_against_what_is_seen(
    claim: Claim, why: str, shown: Shown, status: Status
) -> None:
    assert judge(claim, why, Look(shown, ("x",))) is status


def manifest(folder: Path, *rows: dict[str, str]) -> Practice:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text(lines)
    return replace(STATED, manifest="data.jsonl")


def shown_of(name: str, practice: Practice, root: Path, facts: Facts = FACTS) -> Look:
    rows = checklist(facts, practice, root)
    return next(row.look for row in rows if row.recommendation.name == name)


@pytest.mark.parametrize(
    "row",
    [
        {"name": "4chan dump", "source": "a crawl"},
        {"name": "boards", "source": "https://boards.4CHAN.org/pol"},
        {"name": "Politically-Incorrect", "source": "x"},
    ],
)
def test_excluded_data_in_the_manifest_contradicts_the_exclusion(
    row: dict[str, str], tmp_path: Path
) -> None:
    clean = {"name": "encyclopedia", "source": "https://example.org/14chant"}
    assert shown_of("training_exclusions", manifest(tmp_path, clean), tmp_path).shown is Shown.YES
    found = shown_of("training_exclusions", manifest(tmp_path, clean, row), tmp_path)
    assert found.shown is Shown.AGAINST
    assert any("row 2" in text for text in found.evidence)


def test_a_renamed_data_set_is_found_by_its_digest(tmp_path: Path) -> None:
    digest = "sha256:" + "7" * 64
    practice = replace(STATED, exclusions=(Exclusion("boards", (digest,), "hate"),))
    row = {"name": "harmless", "source": "nowhere", "digest": digest}
    stated = replace(manifest(tmp_path, row), exclusions=practice.exclusions)
    assert shown_of("training_exclusions", stated, tmp_path).shown is Shown.AGAINST


@pytest.mark.parametrize("line", ["[]", "{", '{"name": "a"}', '{"name": 1, "source": "b"}', ""])
def test_a_manifest_that_cannot_be_read_shows_nothing(line: str, tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(line + "\n")
    practice = replace(STATED, manifest="data.jsonl")
    assert shown_of("training_exclusions", practice, tmp_path).shown is Shown.NO


def test_the_guards_data_is_given_away_whole_and_a_changed_export_shows_nothing(
    tmp_path: Path,
) -> None:
    rules = RuleSet.load()
    index = export_moderation(tmp_path / "out", rules)
    facts = replace(FACTS, rules=rules.version, prompts=starter_digest())
    practice = replace(STATED, moderation="out")
    assert {row["file"] for row in index["files"]} == {
        "DATA_CARD.md",
        "prompts.jsonl",
        "rules.jsonl",
    }
    assert (
        RuleSet.parse(
            b"".join(
                json.dumps({k: v for k, v in json.loads(line).items() if v}).encode() + b"\n"
                for line in (tmp_path / "out" / "rules.jsonl").read_bytes().splitlines()
            ),
            "rules.jsonl",
        ).version
        == rules.version
    )

    def look(given: Practice, seen: Facts) -> Shown:
        return shown_of("moderation_data", given, tmp_path, seen).shown

    assert look(practice, facts) is Shown.PARTLY
    published = replace(practice, published="https://example.org/data")
    assert look(published, facts) is Shown.YES
    assert look(published, replace(facts, rules="rules-other")) is Shown.PARTLY
    (tmp_path / "out" / "prompts.jsonl").write_text("{}\n")
    assert look(published, facts) is Shown.NO


def test_a_policy_counts_once_it_is_filled_in(tmp_path: Path) -> None:
    write_templates(tmp_path / "practice")
    practice = replace(STATED, policy="practice/infohazard.md")
    marked = replace(FACTS, marked=(("public", 3), ("infohazard", 1)))
    look = shown_of("infohazard_policy", practice, tmp_path, marked)
    assert look.shown is Shown.NO
    (tmp_path / "practice" / "infohazard.md").write_text("# Ours\n")
    assert shown_of("infohazard_policy", practice, tmp_path, marked).shown is Shown.YES
    unmarked = replace(FACTS, marked=(("public", 3), ("unmarked", 1)))
    assert shown_of("infohazard_policy", practice, tmp_path, unmarked).shown is Shown.PARTLY


def test_the_template_claims_nothing_and_is_never_written_over(tmp_path: Path) -> None:
    assert read_practice(tmp_path) == Practice()
    assert write_templates(tmp_path) == ("practice.yaml", "infohazard.md")
    practice = read_practice(tmp_path)
    assert {practice.claim(row.name)[0] for row in RECOMMENDATIONS} == {Claim.OPEN}
    page = tmp_path / "practice.yaml"
    page.write_text(page.read_text().replace('holder: ""', 'holder: "House"'))
    assert write_templates(tmp_path) == ()
    assert read_practice(tmp_path).holder == "House"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("holder:", "owner:"),
        ("claim: open", "claim: maybe"),
        ('holder: ""', "holder: 3"),
        ("commitments: []", "commitments: [{title: a, where: '', date: b}]"),
        ('manifest: ""', 'manifest: "../../secret"'),
        ('infohazard_policy: ""', 'infohazard_policy: "/etc/passwd"'),
        ("exclusions: []", 'exclusions: [{name: a, match: ["-"], why: b}]'),
        ("exclusions: []", "exclusions: [{name: a, match: [], why: b}]"),
    ],
)
def test_a_practice_that_could_mean_something_else_is_refused(
    old: str, new: str, tmp_path: Path
) -> None:
    write_templates(tmp_path)
    page = tmp_path / "practice.yaml"
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new, 1))
    with pytest.raises(Invalid) as caught:
        read_practice(tmp_path)
    assert caught.value.code == "bad_practice"
    row = new.partition(":")[0] + "[0]" if new.partition(": ")[2].startswith("[{") else ""
    assert row in caught.value.message, "the row is named"


def test_a_link_out_of_the_workspace_shows_nothing(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text("# Ours\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "policy.md").symlink_to(outside)
    practice = replace(STATED, policy="policy.md")
    assert shown_of("infohazard_policy", practice, root).shown is Shown.NO


def test_the_page_tells_claim_status_and_evidence(tmp_path: Path) -> None:
    practice = replace(STATED, claims={"structured_access": (Claim.ADOPTED, "as\n## Always")})
    facts = replace(FACTS, in_force=replace(DECISION, level=Level.FULLY_OPEN))
    page = practice_page(checklist(facts, practice, tmp_path), facts)
    assert "**contradicted**" in page
    assert "claimed: adopted. as ## Always" in page
    assert page.count("\n## ") == 10
    assert canonical.digest([]) != STATED.commitments_digest
