"""Checks a full audit's documents against their forms, each other, and the catalogues.

1. The document has its form, a sensitivity, effort and dissent in form.
2. Every principle that it cites is in S0 and in a catalogue, every harm in a catalogue.
3. What it says of other documents' rows is there.
4. What is derived is what follows.
What stops the whole audit, `stops` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dutchdoor.audit.catalogues.load import Catalogues, load
from dutchdoor.audit.document import Document
from dutchdoor.audit.documents import failures
from dutchdoor.audit.documents.fields import Cell, Shape, check_form, unfinished
from dutchdoor.audit.documents.forms import FORMS, HEAD, SENSITIVITIES
from dutchdoor.audit.documents.people import check_people
from dutchdoor.audit.documents.reading import findings, front_of, impacts, rows, trials
from dutchdoor.audit.documents.risks import Rating, chart
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import BLOCKING, DocumentKind
from dutchdoor.errors import Refused

__all__ = ["catalogues_of", "check_cited", "check_document", "must_be_mitigated", "must_not_stop"]

_K = DocumentKind
_STOPPING_OUTCOMES = ("escalate", "stop")


def catalogues_of(folder: AuditFolder) -> Catalogues:
    """What an audit may cite: packaged catalogues and the workspace's. Raises as `load`."""
    return load(folder.catalogues)


def check_cited(folder: AuditFolder, pairs: Iterable[tuple[str, str]]) -> None:
    """Raises Invalid where a (principle, harm) is cited that no catalogue, nor S0, has."""
    known = catalogues_of(folder)
    own = {str(row.get("id")) for row in rows(front_of(folder, _K.S0), "principles")}
    for principle, harm in pairs:
        if principle not in own:
            known.principle(principle)
        known.harm(harm)


def check_document(kind: DocumentKind, document: Document, folder: AuditFolder) -> None:
    """Raises Invalid where the document of a full audit may not be signed as it is."""
    front = document.front
    check_form(str(kind), FORMS[kind], front, document.body, HEAD)
    if front.get("sensitivity") not in SENSITIVITIES:
        raise unfinished(str(kind), "its sensitivity is none of " + ", ".join(SENSITIVITIES))
    check_people(str(kind), front)
    _check_citations(kind, front, folder)
    check = _CHECKS.get(kind)
    if check is not None:
        check(front, folder)


def must_not_stop(folder: AuditFolder) -> None:
    """Raises Refused where a review or an open severe failure stops a full audit."""
    outcome = front_of(folder, _K.S3).get("outcome")
    if outcome in _STOPPING_OUTCOMES or outcome is None:
        message = f"the ethical review says: {outcome}"
        raise Refused(message, code="review_stops", hint="review the use again, or stop here")
    severe = failures.open_severe(rows(front_of(folder, _K.R1), "failures"))
    if severe:
        message = f"failures of severity {failures.STOPPING_SEVERITY} or more are open: "
        hint = "change the system until they are less severe, or close them and say how"
        raise Refused(message + ", ".join(severe), code="severity_open", hint=hint)


def must_be_mitigated(folder: AuditFolder) -> tuple[str, ...]:
    """What R2 has to have a row for: severe findings, high risks, failures of priority high."""
    testing = front_of(folder, _K.T2)
    severe = [finding.id for finding in findings(testing) if finding.severity in BLOCKING]
    risks = chart(impacts(front_of(folder, _K.S4)), trials(testing))
    high = [risk.id for risk in risks if risk.rating is Rating.HIGH]
    scored = failures.scored(rows(front_of(folder, _K.R1), "failures"))
    urgent = [str(row["id"]) for row in scored if row.get("priority") == failures.Priority.HIGH]
    return tuple(dict.fromkeys((*severe, *high, *urgent)))


def _check_citations(kind: DocumentKind, front: Mapping[str, Any], folder: AuditFolder) -> None:
    known = catalogues_of(folder)
    own = {str(row.get("id")) for row in rows(front_of(folder, _K.S0), "principles")}
    for field in FORMS[kind].fields:
        for column in field.columns if field.shape is Shape.ROWS else ():
            for row in rows(front, field.name):
                cited = str(row.get(column.name))
                if column.cell is Cell.HARM:
                    known.harm(cited)
                if column.cell is Cell.PRINCIPLE and cited not in own:
                    raise unfinished(str(kind), f"'{cited}' is no principle of S0")
    if kind is _K.S0:
        for cited in own:
            known.principle(cited)
    if kind is _K.S2:
        for harm in front["harms"]:
            known.harm(harm)
        _must_exist(kind, "principle", front["principles"], own)


def _must_exist(kind: DocumentKind, what: str, cited: Iterable[Any], known: Iterable[str]) -> None:
    there = set(known)
    lacking = sorted({str(item) for item in cited} - there)
    if lacking:
        raise unfinished(str(kind), f"there is no {what} '{lacking[0]}'")


def _ids(folder: AuditFolder, kind: DocumentKind, field: str) -> list[str]:
    return [str(row.get("id")) for row in rows(front_of(folder, kind), field)]


def _review(front: Mapping[str, Any], folder: AuditFolder) -> None:
    asked = {row["principle"] for row in rows(front, "alignment")}
    _must_exist(_K.S3, "row about", front_of(folder, _K.S2).get("principles") or (), asked)
    if front["outcome"] == "proceed with conditions" and not front.get("conditions"):
        raise unfinished("S3", "it proceeds with conditions and lists none")


def _stakeholders(front: Mapping[str, Any], folder: AuditFolder) -> None:
    groups = [row["group"] for row in rows(front, "stakeholders") if row["group"]]
    known = [impact.group for impact in impacts(front_of(folder, _K.S4))]
    _must_exist(_K.M1, "group of S4", groups, known)


def _system(front: Mapping[str, Any], folder: AuditFolder) -> None:
    known = [str(row["id"]) for row in rows(front, "components")]
    ends = [row[end] for row in rows(front, "flows") for end in ("source", "target")]
    _must_exist(_K.M2, "component", ends, known)


def _field_study(front: Mapping[str, Any], folder: AuditFolder) -> None:
    interviews = rows(front, "interviews")
    known = _ids(folder, _K.M1, "stakeholders")
    _must_exist(_K.M4, "stakeholder", [row["stakeholder"] for row in interviews], known)
    if not all(row["consent"] is True for row in interviews):
        raise unfinished("M4", "somebody is listed who did not consent")


def _first_failures(front: Mapping[str, Any], folder: AuditFolder) -> None:
    given = rows(front, "failures")
    _must_exist(_K.M5, "impact", [row["impact"] for row in given], _ids(folder, _K.S4, "impacts"))
    _must_be_scored(_K.M5, given)


def _must_be_scored(kind: DocumentKind, given: tuple[dict[str, Any], ...]) -> None:
    if list(given) != failures.scored(given):
        raise unfinished(str(kind), "rpn or priority do not follow from the scores")


def _tests(front: Mapping[str, Any], folder: AuditFolder) -> None:
    given = rows(front, "tests")
    known = _ids(folder, _K.M5, "failures")
    _must_exist(_K.T2, "failure", [row["failure"] for row in given], known)
    _must_exist(_K.T2, "impact", [row["impact"] for row in given], _ids(folder, _K.S4, "impacts"))
    for row, test in zip(given, trials(front), strict=True):
        if row["failed"] > row["tried"]:
            raise unfinished("T2", f"test {row['id']} failed more often than it was tried")
        if (row["tried"], row["failed"]) != (test.tried, test.failed):
            raise unfinished("T2", f"the figures of test {row['id']} are not those measured")


def _risks(front: Mapping[str, Any], folder: AuditFolder) -> None:
    made = chart(impacts(front_of(folder, _K.S4)), trials(front_of(folder, _K.T2)))
    if front.get("risks") != [risk.to_row() for risk in made]:
        raise unfinished("T3", "its chart is not what follows from S4 and T2")


def _final_failures(front: Mapping[str, Any], folder: AuditFolder) -> None:
    given = rows(front, "failures")
    _must_exist(_K.R1, "row for", _ids(folder, _K.M5, "failures"), [row["id"] for row in given])
    _must_be_scored(_K.R1, given)
    low = failures.too_low(given, trials(front_of(folder, _K.T2)))
    if low:
        raise unfinished("R1", low[0])
    for row in given:
        if row["status"] == "closed" and not row["action"].strip():
            raise unfinished("R1", f"{row['id']} is closed, and nothing says by what")


def _mitigations(front: Mapping[str, Any], folder: AuditFolder) -> None:
    planned = [row["concerns"] for row in rows(front, "mitigations")]
    _must_exist(_K.R2, "row for", must_be_mitigated(folder), planned)
    known = [
        *_ids(folder, _K.T2, "findings"),
        *_ids(folder, _K.R1, "failures"),
        *_ids(folder, _K.S4, "impacts"),
    ]
    _must_exist(_K.R2, "finding, risk or failure", planned, known)


def _decision(front: Mapping[str, Any], folder: AuditFolder) -> None:
    if front["decision"] == "go with conditions" and not front.get("conditions"):
        raise unfinished("P1", "it goes with conditions and lists none")
    if front["summary"] != folder.summary_digest():
        raise unfinished("P1", "its summary is not the signed summary of this audit")


def _tracking(front: Mapping[str, Any], folder: AuditFolder) -> None:
    tracked = rows(front, "tracking")
    planned = {row.get("concerns") for row in rows(front_of(folder, _K.R2), "mitigations")}
    _must_exist(_K.P2, "row for", planned, [row["concerns"] for row in tracked])
    for row in tracked:
        if row["status"] == "verified" and not row["verified_by"].strip():
            raise unfinished("P2", f"{row['concerns']} is verified, and nothing says by whom")


_CHECKS: dict[DocumentKind, Callable[[Mapping[str, Any], AuditFolder], None]] = {
    _K.S3: _review,
    _K.M1: _stakeholders,
    _K.M2: _system,
    _K.M4: _field_study,
    _K.M5: _first_failures,
    _K.T2: _tests,
    _K.T3: _risks,
    _K.R1: _final_failures,
    _K.R2: _mitigations,
    _K.P1: _decision,
    _K.P2: _tracking,
}
