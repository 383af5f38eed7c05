"""What a workspace shows of its holder's practice, gathered for the ten looks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.document import write_bytes
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.audit.documents.reading import front_of
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.service import list_audits
from dutchdoor.audit.summary import audit_keys, find_summary
from dutchdoor.errors import DutchdoorError, NotInForce
from dutchdoor.evidence.model import Entry
from dutchdoor.guard.rules import RuleSet
from dutchdoor.guard.starter import starter_digest
from dutchdoor.release.practice.document import Practice, read_practice, write_templates
from dutchdoor.release.practice.looks import checklist
from dutchdoor.release.practice.model import DecisionFact, Facts, Row
from dutchdoor.release.practice.moderation import export_moderation
from dutchdoor.release.practice.page import practice_page

__all__ = ["Checklist", "check_practice", "export_guard_data", "practice_folder", "write_practice"]

PAGE_NAME = "practice.md"


class Checklist(NamedTuple):
    """The ten rows of one bundle, and the page of them."""

    facts: Facts
    practice: Practice
    rows: tuple[Row, ...]
    page: str


def practice_folder(workspace: Workspace) -> Path:
    """Where practice.yaml lies."""
    return workspace.places.root / "practice"


def check_practice(workspace: Workspace, bundle: str | None) -> Checklist:
    """The checklist of one bundle, as it stands now.

    Raises NotFound: no such bundle. Raises Invalid: practice.yaml.
    """
    facts = _facts(workspace, find_bundle(workspace, bundle).digest)
    practice = read_practice(practice_folder(workspace))
    rows = checklist(facts, practice, workspace.places.root)
    return Checklist(facts, practice, rows, practice_page(rows, facts))


def write_practice(workspace: Workspace, found: Checklist) -> tuple[Path, ...]:
    """Write the page, and the templates that are not there yet; the files written."""
    folder = practice_folder(workspace)
    written = [folder / name for name in write_templates(folder)]
    write_bytes(folder / PAGE_NAME, found.page.encode())
    return (*written, folder / PAGE_NAME)


def export_guard_data(workspace: Workspace, folder: Path) -> dict[str, Any]:
    """Write the guard's rules and labelled prompts. Raises Refused: the folder holds something."""
    return export_moderation(folder, _rules(workspace))


def _facts(workspace: Workspace, bundle: str) -> Facts:
    register = workspace.register
    register.refresh()
    now_ms = workspace.clock.now_ms()
    try:
        in_force = register.in_force(bundle, now_ms).decision
    except NotInForce:
        in_force = None
    audits, known = _audits_in_log(workspace), register.history(bundle)
    decisions = tuple(
        DecisionFact(
            step.decision.id,
            str(step.decision.level),
            audits.get((step.decision.bundle, step.decision.audit), step.index) < step.index,
        )
        for step in known
        if step.decision is not None
    )
    grants = [row for row in workspace.access.list_grants() if row.bundle == bundle]
    active = [row for row in grants if row.active and row.not_after_ms > now_ms]
    people = {row.id: row for row in workspace.access.list_people()}
    before_ms = in_force.not_before_ms if in_force else now_ms
    early = {row.person for row in grants if row.not_before_ms < before_ms}
    folders = [
        AuditFolder(workspace.places.audits / n) for n in list_audits(workspace.places.audits)
    ]
    mine = [folder for folder in folders if folder.subject().bundle == bundle]
    digests = [digest for name, digest in audits if name == bundle]
    return Facts(
        bundle=bundle,
        now_ms=now_ms,
        decisions=decisions,
        in_force=in_force,
        review=register.review(bundle),
        scales=_scales(workspace, digests),
        outsiders=tuple(
            (people[name].audience, people[name].organisation)
            for name in sorted(early)
            if name in people
        ),
        grants=len(active),
        agentic=sum(row.agentic for row in active),
        marked=_marked(mine),
        panels=sum(
            row.closed >= 0 and row.opening is not None and row.opening.bundle == bundle
            for row in register.panels()
        ),
        rules=_rules(workspace).version,
        prompts=starter_digest(),
    )


def _audits_in_log(workspace: Workspace) -> dict[tuple[str, str], int]:
    """Of each completed audit, bundle and summary, where the log first has it."""
    rejected = {row.index for row in workspace.register.rejected}
    found: dict[tuple[str, str], int] = {}
    for index, data in workspace.reader.entries():
        if b'"kind":"audit_signed"' in data[-80:] and index not in rejected:
            body = Entry.decode(data).body
            found.setdefault((str(body["bundle"]), str(body["summary"])), index)
    return found


def _scales(workspace: Workspace, digests: Iterable[str]) -> tuple[Any, ...]:
    keys, found = audit_keys(workspace.trust), []
    for digest in digests:
        try:
            found.append(find_summary(workspace.places.audits, digest, keys).scale)
        except DutchdoorError:
            continue  # Audited elsewhere: it counts as an audit, and its scale is not known here.
    return tuple(found)


def _marked(folders: Iterable[AuditFolder]) -> tuple[tuple[str, int], ...]:
    counts = dict.fromkeys((*SENSITIVITIES, "unmarked"), 0)
    for folder in folders:
        for kind in folder.kinds:
            mark = front_of(folder, kind).get("sensitivity")
            counts[mark if mark in SENSITIVITIES else "unmarked"] += 1
    return tuple((name, number) for name, number in counts.items() if number)


def _rules(workspace: Workspace) -> RuleSet:
    name = workspace.config.guard.rules
    return RuleSet.load(workspace.places.root / name if name else None)
