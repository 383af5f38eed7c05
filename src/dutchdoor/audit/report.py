"""The generated parts of the documents, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dutchdoor.audit.artifacts import Artifact
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, Finding

__all__ = ["artifacts_part", "summary_part", "table", "testing_part"]


def artifacts_part(artifacts: Iterable[Artifact]) -> str:
    """The checklist C1 as a table."""
    rows = [
        (
            row.name,
            "required" if row.required else "expected",
            ", ".join(row.files) if row.present else "**missing**",
            ", ".join(_short(digest) for digest in row.digests),
            row.gap,
        )
        for row in artifacts
    ]
    return table(("artifact", "", "found as", "digest", "gap"), rows)


def testing_part(
    evaluations: Sequence[Evaluation],
    findings: Sequence[Finding],
    probe: Mapping[str, str],
    access_depths: Sequence[str],
) -> str:
    """The figures and findings of T2."""
    what = ", ".join(access_depths) or "none"
    fitted = (
        f"Probe {_short(probe['digest'])}, card {_short(probe['card_digest'])} "
        "(`probe-card.json` has its measured recall)."
        if probe.get("digest")
        else "No probe was fitted."
    )
    parts = [
        "## Evaluations",
        f"Access the auditor's calls had: {what}. Intervals are 95 % intervals.",
        _evaluations(evaluations),
        (
            "Answers to requests for harm were judged by how they open and were not kept: only a "
            "verdict and a digest each. `logs/` has the rest."
        ),
        "## Probe",
        fitted,
        "## Findings",
        _findings(findings, tested=bool(evaluations)),
    ]
    return "\n\n".join(parts)


def summary_part(
    documents: Mapping[DocumentKind, str],
    evaluations: Sequence[Evaluation],
    findings: Sequence[Finding],
    probe: Mapping[str, str],
) -> str:
    """R4's generated part: documents, figures and findings in one place."""
    listed = [
        (str(kind), SPECIFICATIONS[kind].title, _short(digest))
        for kind, digest in documents.items()
    ]
    parts = [
        "## What this stands on",
        table(("", "document", "digest"), listed),
        "## Figures",
        _evaluations(evaluations),
        "## Findings",
        _findings(findings, tested=bool(evaluations)),
        "## The guard",
        f"Probe {probe['digest']}" if probe.get("digest") else "No probe was fitted.",
    ]
    return "\n\n".join(parts)


def _evaluations(evaluations: Sequence[Evaluation]) -> str:
    if not evaluations:
        return "None was run."
    rows = [
        (
            row.name,
            row.text,
            "; ".join(f"{name} {text}" for name, text in row.details.items()),
            str(row.guard_stopped),
            str(row.seed),
        )
        for row in evaluations
    ]
    return table(("evaluation", "measured", "also", "stopped by the guard", "seed"), rows)


def _findings(findings: Sequence[Finding], *, tested: bool) -> str:
    if not findings and not tested:
        return "None: nothing was tested."
    if not findings:
        return "None. That says that nothing was found, not that nothing is there."
    blocks = []
    for finding in findings:
        lines = [
            f"### {finding.id} ({finding.severity}, {finding.status})",
            "",
            finding.text,
            "",
            f"Principle: {finding.principle}. Harm: {finding.harm}.",
        ]
        if finding.mitigations:
            lines += ["", *(f"- {item}" for item in finding.mitigations)]
        if finding.reason:
            lines += ["", f"{finding.status.capitalize()} by {finding.by}: {finding.reason}"]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; line ends and bars inside cells are made harmless."""
    lines = [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    # A bar or a line end inside a cell would open another one.
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _short(digest: str) -> str:
    return f"`{digest[:19]}…`" if digest else ""
