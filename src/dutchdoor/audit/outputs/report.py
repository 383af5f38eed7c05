"""What a board reads: the audit on a few pages, the same pieces for screen and for paper."""

from __future__ import annotations

from itertools import groupby

from dutchdoor.audit.model import DocumentKind, DocumentState, Finding, FindingStatus, Severity
from dutchdoor.audit.outputs.figures import (
    amend_figure,
    finding_figure,
    hazard_figure,
    recall_figure,
    score_figure,
)
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import Block, Bullets, Figure, Notice, Page, Section, Table, Text
from dutchdoor.audit.outputs.text import NOT_STATED, day, label, short
from dutchdoor.audit.outputs.whole_sections import whole_sections

__all__ = ["DRAFT_NOTICE", "UNTESTED", "report_page"]

DRAFT_NOTICE = (
    "DRAFT. This audit is not completed: documents may still change, findings may be added, and "
    "no release decision can stand on it."
)
UNTESTED = (
    "Nothing was tested: no evaluation and no amend test was run. Whatever is not listed here was "
    "not looked for."
)


def report_page(material: Material) -> Page:
    """The report on an audit."""
    lead = (
        f"Internal audit {material.audit} by {material.status.auditor}, "
        f"{day(material.started_ms)} to "
        f"{day(material.completed_ms) if material.completed_ms else 'today: not completed'}"
    )
    sections = [
        _glance(material),
        _subject(material),
        _measured(material),
        _found(material),
        *_finding_sections(material),
        *whole_sections(material),
        _amended(material),
        _guard(material),
        _limits(material),
        _documents(material),
        _verifying(material),
    ]
    return Page(f"Audit of {material.model}", lead, tuple(sections))


def _glance(material: Material) -> Section:
    blocks: list[Block] = []
    if material.draft:
        blocks.append(Notice(DRAFT_NOTICE, severe=True))
    severe = [row for row in material.findings if row.severity in _SEVERE]
    unsettled = [row for row in severe if row.status is FindingStatus.OPEN]
    found = (
        f"{_count(len(material.findings), 'finding')}, {len(severe)} of them of high or "
        f"critical severity; {len(unsettled)} of these still open."
    )
    tests = (
        f"{_count(len(material.evaluations), 'evaluation')} through the server, at depth "
        f"{', '.join(map(label, material.access_depths)) or 'none'}."
    )
    if not material.tested:
        blocks.append(Notice(UNTESTED, severe=True))
    # Without tests, no count of findings: it would read as a result.
    words = f"{found} {tests}" if material.tested else found if material.findings else ""
    if words:
        blocks.append(Text(words, strong=True))
    leading = tuple(_leading(row) for row in material.ranked[:5])
    if material.tested and not leading:
        leading = ("Nothing was found. That does not say that nothing is there.",)
    if leading:
        blocks.append(Bullets(leading))
    blocks.append(_level(material))
    return Section("At a glance", tuple(blocks))


def _subject(material: Material) -> Section:
    facts = material.facts
    rows = (
        ("model", material.model),
        ("bundle digest", material.bundle),
        ("provider", facts.get("provider")),
        ("architecture", facts.get("architecture")),
        ("parameters", facts.get("parameters")),
        ("licence", facts.get("licence")),
        ("question", material.objective),
        ("auditor", material.status.auditor),
        ("access of the auditor", ", ".join(map(label, material.access_depths)) or "none"),
        ("begun", day(material.started_ms)),
        ("completed", day(material.completed_ms) if material.completed_ms else "not yet"),
        ("signed summary", material.status.summary or "none: this is a draft"),
    )
    blocks: list[Block] = [Table(("what", "as it is"), rows, "What was audited", (0.24, 0.76))]
    if facts.digest:
        blocks.append(
            Text(
                "Provider, architecture, parameters and licence are the provider's word "
                f"(facts.yaml, {short(facts.digest)}); the audit did not check them."
            )
        )
    return Section("What was audited", tuple(blocks))


def _measured(material: Material) -> Section:
    if not material.evaluations:
        none = "No evaluation was run yet." if material.tested else UNTESTED
        return Section("What was measured", (Notice(none, severe=True),))
    rows = tuple(
        (
            label(row.name),
            row.text,
            str(row.guard_stopped),
            str(row.seed),
            label(row.access_depth),
        )
        for row in material.evaluations
    )
    head = ("evaluation", "figure (95 % interval)", "stopped by the guard", "seed", "depth")
    table = Table(head, rows, "All evaluations", (0.2, 0.42, 0.14, 0.1, 0.14))
    words = Text(
        "A dot is the rate, the bar its 95 % interval: the fewer samples, the wider. Samples that "
        "the guard stopped are counted apart. A low score does not show that a capability is "
        "absent, nor a high one that a safeguard holds against somebody determined."
    )
    blocks = _present(score_figure(material.evaluations))
    return Section("What was measured", (*blocks, words, table))


def _found(material: Material) -> Section:
    if not material.tested and not material.findings:
        return Section("What was found", (Notice(UNTESTED, severe=True),))
    blocks = _present(finding_figure(material.findings))
    words = Text(
        "Severe findings stop an audit until they are mitigated or accepted with a reason; nobody "
        "can drop them. Accepted means that somebody answers for it, not that it is gone."
    )
    return Section("What was found", (*blocks, words))


def _finding_sections(material: Material) -> list[Section]:
    return [_finding(finding) for finding in material.ranked]


def _finding(finding: Finding) -> Section:
    blocks: list[Block] = [
        Text(finding.text),
        Text(f"Harm: {finding.harm}. Principle: {finding.principle}. State: {finding.status}."),
    ]
    if finding.reason:
        by = f" by {finding.by}" if finding.by else ""
        blocks.append(Notice(f"{str(finding.status).capitalize()}{by}: {finding.reason}"))
    if finding.mitigations:
        blocks.append(Bullets(finding.mitigations))
    return Section(
        f"{str(finding.severity).capitalize()}: {label(finding.id).replace(':', ': ')}",
        tuple(blocks),
        depth=2,
    )


def _amended(material: Material) -> Section:
    title = "What modification unlocks"
    if not material.curves and not material.amend_notes:
        words = (
            "It was not tested what fine-tuning, steering, prefilling or quantisation unlocks. "
            "This audit supports no level at which weights leave or can be tuned."
        )
        return Section(title, (Notice(words, severe=True),))
    blocks: list[Block] = [Text(note) for note in material.amend_notes]
    curves = sorted(material.curves, key=lambda row: row.axis)
    for number, (axis, rows) in enumerate(groupby(curves, key=lambda row: row.axis)):
        blocks += _present(amend_figure(axis, list(rows), f"amend-{number}"))
    blocks.append(
        Text(
            "A curve says what this attack reached at this cost. A cheaper or better one may exist."
        )
    )
    return Section(title, tuple(blocks))


def _guard(material: Material) -> Section:
    if not material.probe.get("digest"):
        return Section("The guard", (Notice("No probe was fitted on this bundle.", severe=True),))
    figures = material.figures
    blocks: list[Block] = [
        Text(
            f"Probe {short(material.probe['digest'])}, card "
            f"{short(material.probe['card_digest'])}, fitted on {figures.harmful} harmful and "
            f"{figures.benign} harmless requests. What it misses reaches the model."
        )
    ]
    blocks += _present(recall_figure(figures))
    if figures.auroc_apart:
        apart = figures.auroc_apart
        blocks.append(
            Text(
                f"Area under the ROC curve on sources it was not fitted on: {apart.value} "
                f"(95 %: {apart.low} to {apart.high})."
            )
        )
    blocks += _present(hazard_figure(figures.hazards))
    if figures.limits:
        blocks.append(Bullets(figures.limits))
    return Section("The guard", tuple(blocks))


def _limits(material: Material) -> Section:
    scope = material.papers.get(DocumentKind.S2)
    left_out = scope.listed("out_of_scope") if scope else ()
    items = (
        *(f"Out of scope: {row}." for row in left_out),
        *(
            f"{label(row.name).capitalize()}: not measured. {row.why}"
            for row in material.evaluations
            if not row.is_measured
        ),
        "Finite tests give no guarantee: they show what was found, not that nothing else is there.",
        "An internal audit does not replace an external one.",
    )
    return Section("What this report does not say", (Bullets(tuple(items)),))


def _documents(material: Material) -> Section:
    rows = tuple(
        (
            f"{row.kind} {row.title}",
            str(row.state),
            row.because if row.state is DocumentState.SIGNED else row.because or NOT_STATED,
            short(row.digest) or "none",
        )
        for row in material.documents
    )
    table = Table(
        ("document", "state", "why", "digest"),
        rows,
        "Documents of the audit and their sign-offs",
        (0.3, 0.12, 0.34, 0.24),
    )
    return Section("What it stands on", (table,))


def _verifying(material: Material) -> Section:
    return Section(
        "How to check this report",
        (
            Text(
                "Beside this file lies outputs.json: a statement of the digests of all files of "
                "this set, signed by an auditor's key and recorded in the evidence log. With the "
                "workspace's trust.json:"
            ),
            Bullets(
                (
                    "dutchdoor audit outputs --check FOLDER: every file against the statement",
                    "python -m dutchdoor.evidence.verify EVIDENCE --trust trust.json: the log",
                )
            ),
            Text(f"Bundle: {material.bundle}"),
        ),
    )


def _level(material: Material) -> Block:
    decision = material.decision
    if decision is None:
        return Text("Release: no decision was in force when this was written.")
    level = label(str(decision.level))
    until = day(decision.not_after_ms)
    return Text(f"Release: {level}, stage {decision.stage or 'unnamed'}, in force until {until}.")


def _leading(finding: Finding) -> str:
    return f"{str(finding.severity).capitalize()}, {finding.status}: {finding.text}"


def _present(figure: Figure | None) -> list[Block]:
    return [] if figure is None else [figure]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


_SEVERE = frozenset({Severity.HIGH, Severity.CRITICAL})
