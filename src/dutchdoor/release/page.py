"""A decision as one page that needs no knowledge of the program."""

from __future__ import annotations

from collections.abc import Sequence

from dutchdoor.audit.summary import AuditSummary
from dutchdoor.clock import to_iso
from dutchdoor.evidence.decision import Decision, Depth, Level
from dutchdoor.release.combinations.check import combination_lines
from dutchdoor.release.model import AUDIENCES, State
from dutchdoor.release.page_terms import outside_lines, review_line, terms_sections

__all__ = ["decision_page"]

_LEVELS = {
    Level.FULLY_CLOSED: "Fully closed: nobody but the people named below.",
    Level.GRADUAL_STAGED: "Staged: opened to more people step by step.",
    Level.HOSTED: "Hosted: used through the holder's own pages only.",
    Level.CLOUD_API: "Cloud/API: used by programs over the network; the weights do not leave.",
    Level.DOWNLOADABLE: "Downloadable: the weights can be had, and do not come back.",
    Level.FULLY_OPEN: "Fully open: weights, code and data, for everybody, for good.",
}
_DEPTHS = {
    Depth.SAMPLING: "ask it and read its answers",
    Depth.DECODING_CONTROL: "control how answers are drawn (temperature, seed, prefix)",
    Depth.LOGPROBS: "see how probable it found each token",
    Depth.LOGITS: "see its full scores for all tokens",
    Depth.ACTIVATIONS: "read some of its inner states, within a budget",
    Depth.INTERVENTIONS: "change inner states while it runs",
    Depth.GRADIENTS: "compute gradients",
    Depth.FINE_TUNING: "train a copy that does not leave",
    Depth.AUDIT: "do what the internal audit needs, with a guard that observes",
}
_MEANING = {
    State.PROPOSED: "It opens nothing: it is a proposal.",
    State.NOT_YET: "It opens nothing yet.",
    State.IN_FORCE: "It is what the server obeys now.",
    State.EXPIRED: "It opens nothing any more.",
    State.OVERDUE: "It opens nothing until its audit is renewed, or a new decision is made.",
    State.UNREVIEWED: "It opens nothing: nobody looked at it again by the day that it names.",
    State.SUPERSEDED: "It opens nothing any more: a later decision took its place.",
    State.ROLLED_BACK: "It opens nothing any more: it fell back to before its first stage.",
    State.REVOKED: "It opens nothing, and never will again.",
}


def decision_page(
    decision: Decision,
    *,
    state: State,
    approved_by: Sequence[str],
    approvals_min: int,
    outside_by: Sequence[str] = (),
    outside_missing: Sequence[str] = (),
    voided: Sequence[str] = (),
    why_revoked: str = "",
    summary: AuditSummary | None = None,
    in_plan: Sequence[str] = (),
) -> str:
    """The page, as Markdown. summary: of the audit the decision stands on, where it has one.

    in_plan: sentences on where its stage stands in a plan that was signed before.

    outside_by, outside_missing: names of those outside who signed, or whose signature is awaited.
    """
    lines = [
        f"# Release decision on {decision.model}",
        "",
        f"**{state.capitalize()}.** {_MEANING[state]}",
    ]
    if why_revoked and state in {State.IN_FORCE, State.ROLLED_BACK}:
        lines.append(f"{why_revoked[:1].upper()}{why_revoked[1:]}.")
    elif why_revoked:
        word = "Overdue" if state is State.OVERDUE else "Revoked"
        lines.append(f"{word} because: {why_revoked}")
    lines += ["", f"- How open: {_LEVELS[decision.level]}"]
    lines.append(f"- Stage: {decision.stage}")
    lines.append(
        f"- From {_day(decision.not_before_ms)} to {_day(decision.not_after_ms)}; "
        "can be revoked at any moment."
    )
    lines += [line for line in (review_line(decision),) if line]
    if in_plan:
        lines += ["", "## Where it stands in the plan", "", *(f"- {text}" for text in in_plan)]
    lines += ["", "## Who may do what", ""]
    lines += _audiences(decision) or ["Nobody may do anything."]
    lines += ["", "Everybody else is refused."] if decision.audiences else []
    lines += ["", *combination_lines(decision)]
    lines += ["", "## What holds them back", ""]
    lines += _limits(decision)
    lines += ["", "## What it stands on", ""]
    lines += _audit(decision, summary)
    lines += terms_sections(decision)
    lines += ["", "## Why", "", _demoted(decision.reasons), "", "## Who decided", ""]
    lines.append(f"{len(approved_by)} of {approvals_min} needed: {', '.join(approved_by) or '-'}.")
    if voided:
        lines.append(
            f"The text was changed after {', '.join(voided)} approved it; that approval is void."
        )
    lines += outside_lines(decision.terms, outside_by, outside_missing)
    lines += ["", f"Bundle `{decision.bundle}`", f"Decision `{decision.id}`"]
    if decision.supersedes:
        lines.append(f"Takes the place of `{decision.supersedes}`")
    return "\n".join(lines) + "\n"


def _audiences(decision: Decision) -> list[str]:
    lines = []
    for row in decision.audiences:
        who = AUDIENCES.get(row.name, row.name)
        named = f", only {', '.join(row.people)}" if row.people else ""
        lines.append(f"- **{who[:1].upper()}{who[1:]}**{named}, each under a lease of their own:")
        lines += [f"  - {_DEPTHS[depth]}" for depth in row.depths]
    return lines


def _limits(decision: Decision) -> list[str]:
    part = 100 * decision.vectors_max // max(decision.hidden_size, 1)
    lines = [
        (
            f"- At most {decision.vectors_max} inner vectors may ever leave, over all people: "
            f"{part} % of the {decision.hidden_size} with which a layer could be rebuilt."
        )
    ]
    if decision.guard.probe:
        lines.append(
            "- A guard reads each request before the model answers "
            f"(probe `{decision.guard.probe[:19]}…`, threshold {decision.guard.threshold}); "
            f"at most {decision.guard.hold_back_tokens} tokens leave before they are judged."
        )
    else:
        lines.append("- No trained guard yet: only text rules.")
    lines.append("- Each inference is recorded before its first word leaves.")
    return lines


def _audit(decision: Decision, summary: AuditSummary | None) -> list[str]:
    if not decision.audit:
        return ["Nothing yet: the audit is what this decision makes possible."]
    lines = [f"Audit `{decision.audit}`."]
    if summary is not None:
        lines += ["", f"It was an audit of scale {summary.scale}.", ""]
        lines += [f"- {row.name}: {row.text}" for row in summary.evaluations]
        for finding in summary.findings:
            settled = f"; {finding.status} by {finding.by}: {finding.reason}" * bool(finding.by)
            lines.append(f"- Finding ({finding.severity}): {finding.text}{settled}")
    return lines


def _demoted(text: str) -> str:
    """Headings two steps down, so that they stay below the page's own."""
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines())


def _day(time_ms: int) -> str:
    return to_iso(time_ms)[:10]
