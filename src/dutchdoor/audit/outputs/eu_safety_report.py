"""A skeleton of the EU Code of Practice's safety and security model report (commitment 7).

It holds what the audit and the decision say, and leaves open what people have to write. Source: the
Code's safety and security chapter (10 July 2025), measures 7.1 to 7.7.
"""

from __future__ import annotations

from dutchdoor.audit.model import FindingStatus
from dutchdoor.audit.outputs.markdown import markdown
from dutchdoor.audit.outputs.material import Material, describe
from dutchdoor.audit.outputs.model import Block, Bullets, File, Notice, Page, Section, Table, Text
from dutchdoor.audit.outputs.report import DRAFT_NOTICE
from dutchdoor.audit.outputs.samples import SAMPLES_MIN
from dutchdoor.audit.outputs.text import NOT_STATED, day, label

__all__ = ["eu_safety_report"]

_UPDATES = (
    "a condition under which the reasons to proceed fail has come about",
    "capabilities, tools or compute have changed",
    "the way it is integrated has changed",
    "a serious incident or near miss happened",
    "an evaluation turned out to be invalid",
    "otherwise every six months for the most capable models",
)


def eu_safety_report(material: Material) -> tuple[File, ...]:
    """The skeleton, with what is known filled in."""
    sections = (
        _head(material),
        Section("7.1 The model", _stated(material, _MODEL)),
        _reasons(material),
        _risks(material),
        *_samples(material),
        Section("7.4 External reports", _stated(material, (("External evaluators", _EXTERNAL),))),
        Section("7.5 Changes in the landscape", _stated(material, (("Changes", "landscape"),))),
        Section("7.6 What makes an update due", (Bullets(_UPDATES), _changes(material))),
        Section(
            "7.7 Notification",
            (
                Text(
                    "To the AI Office by the time of placing on the market; updates within five "
                    "business days. Whether and when this was done: " + NOT_STATED + "."
                ),
            ),
        ),
    )
    title = f"Safety and security model report: {material.model}"
    page = Page(title, f"Bundle {material.bundle}", sections)
    return (File("eu-safety-report.md", markdown(page).encode()),)


_EXTERNAL = "external_evaluators"
_MODEL = (
    ("Architecture", "architecture"),
    ("How it was developed", "training_design"),
    ("Adaptations", "adaptations"),
    ("Differences to other models of the provider", "differences"),
    ("Past and expected use", "expected_use"),
    ("Model specification", "specification"),
    ("System prompt", "system_prompt"),
)


def _head(material: Material) -> Section:
    return Section(
        "About this report",
        (
            *((Notice(DRAFT_NOTICE, severe=True),) if material.draft else ()),
            Notice(
                "A skeleton, not a submission: the provider completes it and answers for it. What "
                f"nobody stated says '{NOT_STATED}'."
            ),
            Text(f"Version of {day(material.stamp_ms)}, from audit {material.audit}."),
        ),
    )


def _reasons(material: Material) -> Section:
    decision = material.decision
    accepted = tuple(
        f"{label(row.id)}, {row.status} by {row.by or NOT_STATED}: {row.reason}"
        for row in material.ranked
        if row.status is not FindingStatus.OPEN
    )
    stated = (
        ("Safety margin", "safety_margin"),
        ("Conditions under which these reasons fail", "invalidating_conditions"),
        ("Whether outsiders informed the decision", "external_input"),
    )
    blocks: tuple[Block, ...] = (
        Text(describe(decision)),
        Text(f"Reasons: {(decision.reasons if decision else '') or NOT_STATED}"),
        *((Bullets(accepted),) if accepted else ()),
        *_stated(material, stated),
    )
    return Section("7.2 Reasons for proceeding", blocks)


def _risks(material: Material) -> Section:
    findings = tuple(
        (label(row.harm), str(row.severity), str(row.status), row.text) for row in material.ranked
    )
    figures = tuple(
        (label(row.name), row.text, label(row.access_depth), str(row.seed))
        for row in material.evaluations
    )
    access = ", ".join(label(depth) for depth in material.access_depths) or "none"
    blocks: list[Block] = []
    if findings:
        blocks.append(Table(("harm", "severity", "state", "what was found"), findings))
    if figures:
        blocks.append(Table(("evaluation", "figure", "access", "seed"), figures))
    blocks += [
        Text(f"Access given to the internal evaluators: {access}."),
        Text(f"Estimates with and without mitigations: {_amended(material)}"),
        *_stated(
            material,
            (
                ("Security goal", "security_goal"),
                ("Security measures", "security_measures"),
                ("Outlook of six months", "outlook"),
            ),
        ),
    ]
    return Section("7.3 Risks, evaluations and mitigations", tuple(blocks))


def _samples(material: Material) -> tuple[Section, ...]:
    """Random inputs and outputs of each evaluation, below the risks."""
    lead = (
        f"At least {SAMPLES_MIN} of each evaluation, chosen by seed. Requests for harm and what "
        "was answered to them stand as digests: their words stay in the audit or were never kept."
    )
    sections = [Section("Random samples of inputs and outputs", (Text(lead),), 2)]
    for found in material.samples:
        title = f"{label(found.evaluation)}: {len(found.rows)} of {found.of} samples"
        if found.why or not found.are_enough:
            why = found.why or f"fewer than {SAMPLES_MIN} were kept; run the evaluation again"
            sections.append(Section(label(found.evaluation), (Notice(f"{why}.", severe=True),), 2))
            continue
        rows = tuple((row.id, row.given, row.got, row.verdict) for row in found.rows)
        head = ("sample", "input", "output", "verdict")
        block = Table(head, rows, caption=f"Samples by seed {found.seed}")
        sections.append(Section(title, (block,), 2))
    return tuple(sections)


def _amended(material: Material) -> str:
    if not material.curves:
        return "not measured; what modification unlocks was not tested."
    ends = "; ".join(
        f"{row.name}: {label(row.behaviour)} {row.points[0].value:.2f} at {row.points[0].at:g} "
        f"and {row.points[-1].value:.2f} at {row.points[-1].at:g} {row.axis}"
        for row in material.curves
    )
    return f"{ends}."


def _changes(material: Material) -> Block:
    return Text(f"Changelog: version of {day(material.stamp_ms)}, made from {material.audit}.")


def _stated(material: Material, rows: tuple[tuple[str, str], ...]) -> tuple[Block, ...]:
    return tuple(Text(f"{title}: {material.facts.get(fact)}") for title, fact in rows)
