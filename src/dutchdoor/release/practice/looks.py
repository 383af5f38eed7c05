"""Ten looks at what a workspace shows, one a recommendation. None of them takes a claim for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from dutchdoor.audit.document import digest_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.decision import Level
from dutchdoor.release.practice.document import Practice, inside
from dutchdoor.release.practice.exclusions import check_manifest
from dutchdoor.release.practice.model import RECOMMENDATIONS, Facts, Look, Row, Shown, judge
from dutchdoor.release.practice.moderation import read_export

__all__ = ["COMMITMENTS", "LOOKS", "checklist"]

COMMITMENTS = "commitments"
"""The name under which a decision's `references` holds the commitments' digest."""
PLACEHOLDER = "[write here"
_ASSESSORS = ("red_teamer", "safety_institute")
_OPEN_LEVELS = (Level.DOWNLOADABLE, Level.FULLY_OPEN)

LookFunction = Callable[[Facts, Practice, Path], Look]


def checklist(facts: Facts, practice: Practice, root: Path) -> tuple[Row, ...]:
    """All ten, in order. root: of the workspace.

    Raises nothing of a look: what cannot be looked at is not shown, and the evidence says why.
    """
    rows = []
    for item in RECOMMENDATIONS:
        claim, why = practice.claim(item.name)
        try:
            look = LOOKS[item.name](facts, practice, root)
        except DutchdoorError as error:
            look = Look(Shown.NO, (f"{error.message} [{error.code}]",))
        rows.append(Row(item, claim, why, look, judge(claim, why, look)))
    return tuple(rows)


def _safety_before_speed(facts: Facts, practice: Practice, root: Path) -> Look:
    wider = [row for row in facts.decisions if row.level != Level.FULLY_CLOSED]
    bare = [row for row in wider if not row.audited]
    if bare:
        lines = [f"{row.id} ({row.level}) has no audit in the log before it" for row in bare]
        return Look(Shown.AGAINST, tuple(lines))
    if not wider:
        return Look(Shown.NO, ("nothing to show yet: no decision above fully closed was made",))
    scales = ", ".join(sorted({str(scale) for scale in facts.scales})) or "none"
    return Look(
        Shown.YES,
        (
            f"{len(wider)} decisions above fully closed, each on an audit in the log before it",
            f"completed audits of this bundle: {len(facts.scales)} (scale: {scales})",
        ),
    )


def _regular_audits(facts: Facts, practice: Practice, root: Path) -> Look:
    review = facts.review
    if review is None:
        return Look(Shown.NO, ("no decision above fully closed rests on an audit yet",))
    seen = f"last reviewed {to_iso(review.reviewed_ms)[:10]}"
    overdue = review.overdue(facts.now_ms)
    if overdue is not None:
        return Look(Shown.AGAINST, (seen, f"overdue since {to_iso(overdue.ends_ms)[:10]}"))
    waiting = [due for due in review.dues if due.due_ms <= facts.now_ms]
    if waiting:
        lines = [f"due: {due.trigger}, out of force {to_iso(due.ends_ms)[:10]}" for due in waiting]
        return Look(Shown.PARTLY, (seen, *lines))
    soonest = min(due.due_ms for due in review.dues)
    return Look(Shown.YES, (seen, f"due again by {to_iso(soonest)[:10]}; then out of force"))


def _external_feedback(facts: Facts, practice: Practice, root: Path) -> Look:
    heard = facts.in_force.terms.heard if facts.in_force else ()
    lines = [f"heard, by the decision: {', '.join(heard)}"] if heard else []
    lines += [f"panels with a recorded outcome: {facts.panels}"] if facts.panels else []
    if not practice.holder:
        lines.append("practice.yaml does not name the holder, so nobody can be told to be outside")
        return Look(Shown.PARTLY if facts.outsiders else Shown.NO, tuple(lines))
    outside = [row for row in facts.outsiders if row[1].casefold() != practice.holder.casefold()]
    for audience in sorted({name for name, _ in outside}):
        number = sum(name == audience for name, _ in outside)
        lines.append(f"outside, granted access before the decision: {number} of {audience}")
    if any(name in _ASSESSORS for name, _ in outside):
        return Look(Shown.YES, tuple(lines))
    if outside or facts.panels:
        return Look(Shown.PARTLY, (*lines, "no red team and no safety institute"))
    return Look(Shown.NO, (*lines, "nobody outside had access before the decision"))


def _public_commitments(facts: Facts, practice: Practice, root: Path) -> Look:
    lines = [f"{row.title} ({row.date}): {row.where}" for row in practice.commitments]
    if not lines:
        return Look(Shown.NO, ("no commitment is listed in practice.yaml",))
    digest = practice.commitments_digest
    references = facts.in_force.terms.references if facts.in_force else ()
    named = [row.digest for row in references if row.name == COMMITMENTS]
    if digest in named:
        return Look(Shown.YES, (*lines, f"the decision in force stands by them: {digest}"))
    if named:
        return Look(Shown.AGAINST, (*lines, "the decision in force stands by other commitments"))
    return Look(Shown.PARTLY, (*lines, f"no reference '{COMMITMENTS}' in force names {digest}"))


def _structured_access(facts: Facts, practice: Practice, root: Path) -> Look:
    decision = facts.in_force
    if decision is None:
        return Look(Shown.NO, ("no decision is in force, so nobody is let in",))
    audiences = ", ".join(sorted({row.name for row in decision.audiences}))
    lines = (f"level {decision.level}, to {audiences}", f"active grants: {facts.grants}")
    if decision.level in _OPEN_LEVELS:
        return Look(Shown.AGAINST, (*lines, "weights leave at this level"))
    public = any(row.name == "public" for row in decision.audiences)
    return Look(Shown.PARTLY if public else Shown.YES, lines)


def _agentic_limits(facts: Facts, practice: Practice, root: Path) -> Look:
    decision = facts.in_force
    if decision is None:
        return Look(Shown.NO, ("no decision is in force",))
    allowed = decision.terms.runtime.tools
    agents = f"active grants marked agentic: {facts.agentic}"
    if not allowed:
        shown = Shown.AGAINST if facts.agentic else Shown.YES
        return Look(shown, (f"{decision.id} allows no tools and no agents", agents))
    shown = Shown.AGAINST if facts.agentic else Shown.PARTLY
    return Look(shown, (f"{decision.id} does not forbid tools (terms.runtime.tools)", agents))


def _limitations_told(facts: Facts, practice: Practice, root: Path) -> Look:
    told = facts.in_force.terms.limitations if facts.in_force else ()
    if not told:
        return Look(Shown.NO, ("the decision in force names no limitations",))
    lines = (f"{len(told)} limitations in {facts.in_force.id if facts.in_force else ''}",)
    return Look(Shown.YES, (*lines, "told at /v1/dutchdoor/limitations and on the status page"))


def _training_exclusions(facts: Facts, practice: Practice, root: Path) -> Look:
    if not practice.exclusions:
        return Look(Shown.NO, ("no exclusion is declared in practice.yaml",))
    lines = [f"left out: {row.name} ({row.why})" for row in practice.exclusions]
    if not practice.manifest:
        return Look(Shown.PARTLY, (*lines, "declared, and no manifest to hold them against"))
    checked = check_manifest(inside(root, practice.manifest), practice.exclusions)
    lines.append(f"held against {checked.rows} rows of the manifest {checked.digest}")
    if checked.breaches:
        found = [f"row {b.row}, {b.name}: {b.exclusion}" for b in checked.breaches[:10]]
        return Look(Shown.AGAINST, (*lines, *found))
    return Look(Shown.YES, tuple(lines))


def _moderation_data(facts: Facts, practice: Practice, root: Path) -> Look:
    if not practice.moderation:
        return Look(Shown.NO, ("nothing is exported: dutchdoor release moderation DIR",))
    index = read_export(inside(root, practice.moderation))
    lines = (f"exported: rules {index['rules']}, prompts {index['prompts']}",)
    if (index["rules"], index["prompts"]) != (facts.rules, facts.prompts):
        return Look(Shown.PARTLY, (*lines, "the guard has other data by now: export again"))
    if not practice.published:
        return Look(Shown.PARTLY, (*lines, "practice.yaml does not say where it is published"))
    return Look(Shown.YES, (*lines, f"published, by the holder's word: {practice.published}"))


def _infohazard_policy(facts: Facts, practice: Practice, root: Path) -> Look:
    if not practice.policy:
        return Look(Shown.NO, ("practice.yaml names no policy",))
    path = inside(root, practice.policy)
    digest = digest_of(path)
    if PLACEHOLDER in path.read_text(encoding="utf-8", errors="replace"):
        return Look(Shown.NO, (f"{practice.policy} still has places that say '{PLACEHOLDER}'",))
    marks = ", ".join(f"{number} {name}" for name, number in facts.marked)
    lines = (f"{practice.policy}: {digest}", f"the audits' documents: {marks or 'none'}")
    unmarked = dict(facts.marked).get("unmarked", 0)
    return Look(Shown.PARTLY if unmarked or not facts.marked else Shown.YES, lines)


LOOKS: Mapping[str, LookFunction] = MappingProxyType(
    {
        "safety_before_speed": _safety_before_speed,
        "regular_audits": _regular_audits,
        "external_feedback": _external_feedback,
        "public_commitments": _public_commitments,
        "structured_access": _structured_access,
        "agentic_limits": _agentic_limits,
        "limitations_told": _limitations_told,
        "training_exclusions": _training_exclusions,
        "moderation_data": _moderation_data,
        "infohazard_policy": _infohazard_policy,
    }
)
