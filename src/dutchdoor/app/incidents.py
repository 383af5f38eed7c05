"""Incidents of a workspace: told in a document of its own, recorded by digest, acted on at once."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor import canonical
from dutchdoor.app.stages import record_pending
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, write_bytes
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.evidence.incidents import (
    INCIDENT_KIND,
    Incident,
    IncidentClass,
    IncidentNature,
    open_incident,
)
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.stages import Fall, Placed
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import random_part
from dutchdoor.release.stages.clocks import FIELDS, UNKNOWN, Clock, clocks

__all__ = ["Noted", "Told", "incidents", "record_incident", "report_of"]


@dataclass(frozen=True)
class Told:
    """One incident as it stands. document: where it is told; at_hand: it is the one recorded."""

    revisions: tuple[Placed, ...]
    clocks: tuple[Clock, ...]
    document: Path
    at_hand: bool

    @property
    def now(self) -> Incident:
        """Its latest revision."""
        return self.revisions[-1].incident


class Noted(NamedTuple):
    """An incident that was recorded.

    falls: what the plan rolled back for it, whoever wrote that down; it holds in any case.
    problem: why that could not be written down yet, or the policies did not follow.
    """

    incident: Incident
    falls: tuple[Fall, ...]
    problem: DutchdoorError | None = None


def record_incident(
    workspace: Workspace,
    bundle: str,
    signer: Signer,
    *,
    grade: IncidentClass | None = None,
    nature: IncidentNature | None = None,
    told: Mapping[str, str] | None = None,
    incident: str = "",
    aware_ms: int | None = None,
    resolved_ms: int | None = None,
    report: str = "",
) -> Noted:
    """Record an incident, or more about one; gives it, and what the plan rolled back for it.

    told: fields of `clocks.FIELDS`; what nobody says is recorded as unknown, or as it was said
    before. incident: its id, where it is known already; then what is None stays as it was.
    Raises Invalid: an unknown field, or terms that no incident has. Raises NotFound: no such
    incident. Raises Refused: the signer is neither holder, approver nor auditor.
    """
    before = _before(workspace, bundle, incident)
    fields = dict.fromkeys(FIELDS, UNKNOWN)
    if before is not None and before.at_hand:
        fields |= report_of(before)
    wrong = sorted(set(told or {}) - set(FIELDS))
    if wrong:
        hint = "known: " + ", ".join(FIELDS)
        raise Invalid(f"no field '{wrong[0]}'", code="unknown_field", hint=hint)
    fields |= {name: text.strip() or UNKNOWN for name, text in (told or {}).items()}
    now_ms = workspace.clock.now_ms()
    last = None if before is None else before.now
    name = last.id if last else "incident_" + random_part()
    number = last.revision + 1 if last else 1
    document = canonical.encode({"incident": name, "revision": number, "told": fields})
    found = Incident(
        id=name,
        revision=number,
        bundle=bundle,
        grade=grade or (last.grade if last else IncidentClass.MINOR),
        nature=nature or (last.nature if last else IncidentNature.OTHER),
        aware_ms=(last.aware_ms if last else now_ms) if aware_ms is None else aware_ms,
        resolved_ms=(last.resolved_ms if last else 0) if resolved_ms is None else resolved_ms,
        report=report,
        details="sha256:" + canonical.sha256_hex(document),
    )
    found.check()
    found.follows(last)
    if max(found.aware_ms, found.resolved_ms) > now_ms:
        raise Invalid("an incident lies in the future", code="bad_incident")
    envelope = sign_statement(INCIDENT_KIND, found.to_body(), [signer])
    body = {**found.to_body(), "envelope": base64.b64encode(envelope).decode()}
    try:
        open_incident(body, workspace.trust)
    except Invalid as error:
        message = f"the key of {signer.name} may not record an incident"
        hint = "the holder, an approver or an auditor does"
        raise Refused(message, code="signer_unknown", hint=hint) from error
    path = _path(workspace, name, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, document)
    return _recorded(workspace, found, Entry(EntryKind.INCIDENT_RECORDED, now_ms, body))


def _recorded(workspace: Workspace, found: Incident, entry: Entry) -> Noted:
    register, bundle = workspace.register, found.bundle
    register.refresh()
    fallen = [fall.claim for fall in register.falls(bundle, entry.time_ms)]
    workspace.record(entry)
    problem: DutchdoorError | None = None
    try:
        record_pending(workspace, bundle)
    except DutchdoorError as error:
        # The incident stands in the log whatever happens after it: its id must be told.
        problem = error
    register.refresh()
    after = register.falls(bundle, workspace.clock.now_ms())
    return Noted(found, tuple(fall for fall in after if fall.claim not in fallen), problem)


def incidents(workspace: Workspace) -> tuple[Told, ...]:
    """All incidents, in the order in which they were first recorded, with what is owed on each."""
    register = workspace.register
    register.refresh()
    rows: dict[str, list[Placed]] = {}
    for bundle in register.incident_bundles():
        for placed in register.incidents(bundle):
            rows.setdefault(placed.incident.id, []).append(placed)
    found = []
    for revisions in sorted(rows.values(), key=lambda row: row[0].index):
        last = revisions[-1].incident
        path = _path(workspace, last.id, last.revision)
        at_hand = _digest(path) == last.details
        found.append(Told(tuple(revisions), clocks(revisions), path, at_hand))
    return tuple(found)


def report_of(told: Told) -> dict[str, str]:
    """What the document says, field by field. Raises NotFound: it is gone, or another."""
    try:
        with told.document.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
    except OSError as error:
        raise NotFound(f"{told.document} cannot be read", code="no_document") from error
    if "sha256:" + canonical.sha256_hex(data) != told.now.details:
        message = f"{told.document} is not what was recorded"
        raise NotFound(message, code="no_document", hint="restore it, or record a new revision")
    fields = canonical.parse(data)["told"]
    return {name: str(fields.get(name, UNKNOWN)) for name in FIELDS}


def _before(workspace: Workspace, bundle: str, incident: str) -> Told | None:
    if not incident:
        return None
    for told in incidents(workspace):
        if told.now.id == incident and told.now.bundle == bundle:
            return told
    message = f"no incident '{incident}' on this bundle"
    raise NotFound(message, code="no_incident", hint="see 'dutchdoor incidents list'")


def _path(workspace: Workspace, incident: str, revision: int) -> Path:
    return workspace.places.incidents / incident / f"{revision:03d}.json"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "sha256:" + canonical.sha256_hex(file.read(DOCUMENT_BYTES_MAX))
    except OSError:
        return ""
