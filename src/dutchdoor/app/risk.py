"""The risk of releasing a bundle, with what the workspace itself shows of custody and audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dutchdoor.app import keys
from dutchdoor.app.bundles import Bundle, find_bundle
from dutchdoor.app.governance import release_of
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.document import (
    Document,
    digest_of,
    read_document,
    write_bytes,
    write_document,
)
from dutchdoor.audit.service import Audit
from dutchdoor.errors import Invalid, NotFound, NotInForce, Refused, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.amend import amend_figures
from dutchdoor.release.risk.assumptions import (
    ASSUMPTIONS_NAME,
    fresh_assumptions,
    load_assumptions,
)
from dutchdoor.release.risk.estimate import Estimate, Subject, estimate
from dutchdoor.release.risk.evidence import Item, evidence_of
from dutchdoor.release.risk.model import Assumptions, CustodyFacts
from dutchdoor.release.risk.page import estimate_page
from dutchdoor.release.risk.plots import drawings
from dutchdoor.release.risk.worksheet import (
    WORKSHEET_NAME,
    Facts,
    Problem,
    fresh_worksheet,
    must_be_complete,
    problems_of,
)

__all__ = [
    "Changes",
    "check_worksheet",
    "custody_facts",
    "make_estimate",
    "must_fit",
    "name_in_proposal",
    "new_assumptions",
    "new_worksheet",
    "worksheet_evidence",
    "write_estimate",
]

ESTIMATE_FOLDER = "estimate"
REFERENCES = ("risk estimate", "risk assumptions", "worksheet of marginal risk")


@dataclass(frozen=True)
class Changes:
    """Settings that a command takes in place of the file's; None leaves the file's."""

    seed: int | None = None
    level: Level | None = None


def worksheet_path(workspace: Workspace) -> Path:
    """Where the worksheet lies."""
    return workspace.places.release / WORKSHEET_NAME


def assumptions_path(workspace: Workspace) -> Path:
    """Where the assumptions lie."""
    return workspace.places.release / ASSUMPTIONS_NAME


def new_worksheet(workspace: Workspace, audit: Audit, level: Level) -> Path:
    """A worksheet to write in. Raises Refused: there is one."""
    path = worksheet_path(workspace)
    _must_be_new(path, "worksheet_exists")
    write_bytes(path, fresh_worksheet(_facts(audit), level, evidence_of(audit)))
    return path


def new_assumptions(workspace: Workspace) -> Path:
    """The assumptions to begin with. Raises Refused: there are some."""
    path = assumptions_path(workspace)
    _must_be_new(path, "assumptions_exist")
    write_bytes(path, fresh_assumptions().encode())
    return path


def worksheet_evidence(audit: Audit) -> tuple[Item, ...]:
    """What a worksheet can point at."""
    return evidence_of(audit)


def check_worksheet(workspace: Workspace, audit: Audit) -> tuple[Problem, ...]:
    """What is wrong with the worksheet. Raises NotFound: there is none."""
    return problems_of(_worksheet(workspace), _facts(audit), evidence_of(audit))


def custody_facts(workspace: Workspace, bundle: Bundle) -> CustodyFacts:
    """Custody as it is configured here, each field with where it was read."""
    custody = bundle.manifest.custody
    local = {key.key_id for key in keys.local_custodians(workspace.places)}
    decision = _in_force(workspace, bundle)
    here = len(local & set(custody.custodians))
    egress = decision.terms.runtime.egress_bytes_day_max if decision else 0
    named = f"read: {decision.id}, in force" if decision else "no decision in force"
    manifest, keyring = "read: manifest of the bundle", "read: keyring of this workspace"
    return CustodyFacts(
        threshold=custody.threshold,
        custodians=len(custody.custodians),
        keys_here=here,
        people=_people(workspace, bundle),
        # A package is no sealed copy: whoever has one was handed the weights.
        copies=sum(row.kind != "package" for row in workspace.copies.known(bundle.digest)),
        egress_bytes_day=egress,
        sealed_bytes=bundle.manifest.sealed_bytes,
        sources={
            "threshold": manifest,
            "custodians": manifest,
            "sealed_bytes": manifest,
            "keys_here": keyring,
            "people": "read: active grants of this workspace",
            "copies": "read: copies that the log knows of",
            "egress_bytes_day": f"{named}: egress_bytes_day_max" if egress else named,
        },
    )


def make_estimate(workspace: Workspace, audit: Audit, changes: Changes) -> Estimate:
    """The estimate of the audited bundle.

    Raises NotFound: no assumptions yet. Raises Invalid: they are not in form, or name a row that
    the worksheet does not have.
    """
    assumptions = load_assumptions(assumptions_path(workspace))
    settings = assumptions.settings
    settings = replace(
        settings,
        seed=settings.seed if changes.seed is None else changes.seed,
        level=changes.level or settings.level,
    )
    assumptions = replace(assumptions, settings=settings)
    bundle = find_bundle(workspace, audit.subject.bundle)
    path = worksheet_path(workspace)
    sheet = ""
    rows: tuple[str, ...] = ()
    if path.is_file():
        rows = _rows_named(assumptions, read_document(path))
        sheet = digest_of(path)
    summary = audit.summary()
    subject = Subject(
        model=audit.subject.model,
        bundle=bundle.digest,
        audit="" if summary is None else summary.digest,
        worksheet=sheet,
        rows=rows,
    )
    facts = custody_facts(workspace, bundle)
    measured = amend_figures(audit.path, bundle.digest)
    with _report_extra():
        return estimate(subject, assumptions, facts, measured)


def write_estimate(workspace: Workspace, made: Estimate) -> Path:
    """Write the canonical result, the page and the drawings; the page's path."""
    folder = workspace.places.release / ESTIMATE_FOLDER
    return write_into(folder, made)


def write_into(folder: Path, made: Estimate) -> Path:
    """The same, into any folder."""
    with _report_extra():
        drawn = drawings(made.body)
    write_bytes(folder / "estimate.json", made.data)
    for row in drawn:
        write_bytes(folder / f"{row.name}.png", row.png)
    page = folder / "estimate.html"
    write_bytes(page, estimate_page(made.body, made.digest, drawn).encode())
    return page


def must_fit(workspace: Workspace, audit: Audit, proposal: str, made: Estimate) -> Document:
    """The proposal's document, where the estimate and the worksheet are about the same.

    Raises NotFound: no such proposal or no worksheet. Raises Refused: another bundle or level, or a
    proposal of before there were terms. Raises Invalid: the worksheet is not complete.
    """
    document = read_document(release_of(workspace).document(proposal))
    front = document.front
    if not isinstance(front.get("terms"), dict):
        message = f"{proposal} has no terms that could name an estimate"
        raise Refused(message, code="no_terms", hint="propose anew: dutchdoor release propose")
    if front.get("bundle") != made.body["bundle"]:
        raise Refused(f"{proposal} is about another bundle", code="other_bundle")
    level = front.get("level")
    if level != made.body["settings"]["level"]:
        message = f"{proposal} is about level {level}, the estimate about another"
        raise Refused(message, code="other_level", hint=f"estimate with --level {level}")
    sheet = _worksheet(workspace)
    must_be_complete(sheet, _facts(audit), evidence_of(audit))
    if sheet.front["level"] != level:
        message = f"the worksheet is about level {sheet.front['level']}"
        raise Refused(message, code="other_level", hint="think it through for this level too")
    return document


def name_in_proposal(workspace: Workspace, audit: Audit, proposal: str, made: Estimate) -> None:
    """Put the digests of estimate, assumptions and worksheet into a proposal's references.

    The proposal's text changes by it: approvals given before are void. Raises as `must_fit`.
    Raises Invalid: the proposal would not read any more; it is then as it was.
    """
    document = must_fit(workspace, audit, proposal, made)
    rests_on: Mapping[str, str] = made.body["rests_on"]
    digests = (made.digest, rests_on["assumptions"], rests_on["worksheet"])
    terms = document.front["terms"]
    rows = terms.get("references")
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    kept = [row for row in named if row.get("name") not in REFERENCES]
    added = [
        {"name": name, "digest": digest} for name, digest in zip(REFERENCES, digests, strict=True)
    ]
    path = release_of(workspace).document(proposal)
    before, read = path.read_bytes(), _reads(workspace, proposal)
    write_document(path, document.with_front(terms={**terms, "references": [*kept, *added]}))
    if read and not _reads(workspace, proposal):
        write_bytes(path, before)
        message = f"{proposal} has no room for three more references"
        raise Invalid(message, code="bad_proposal", hint="shorten its terms first")


def _reads(workspace: Workspace, proposal: str) -> bool:
    """Whether the proposal states a decision; a draft with places left to write in does not."""
    try:
        release_of(workspace).proposal(proposal)
    except Invalid:
        return False
    return True


@contextmanager
def _report_extra() -> Iterator[None]:
    """Says which extra to install where a library of it is not here."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"an estimate needs {error.name}, which is not installed"
        hint = "install the extra: pip install 'dutchdoor[report]'"
        raise Unavailable(message, code="report_extra_missing", hint=hint) from error


def _facts(audit: Audit) -> Facts:
    subject = audit.subject
    return Facts(subject.model, subject.bundle, subject.audit)


def _people(workspace: Workspace, bundle: Bundle) -> int:
    now_ms = workspace.clock.now_ms()
    active = {person.id for person in workspace.access.list_people() if person.active}
    return len(
        {
            grant.person
            for grant in workspace.access.list_grants()
            if grant.active
            and grant.bundle == bundle.digest
            and grant.person in active
            and grant.not_after_ms > now_ms
        }
    )


def _in_force(workspace: Workspace, bundle: Bundle) -> Decision | None:
    try:
        register = workspace.register
        return register.in_force(bundle.digest, workspace.clock.now_ms()).decision
    except NotInForce:
        return None


def _worksheet(workspace: Workspace) -> Document:
    """The worksheet. Raises NotFound: there is none."""
    path = worksheet_path(workspace)
    if not path.is_file():
        hint = "begin with 'dutchdoor release worksheet make'"
        raise NotFound("there is no worksheet yet", code="no_worksheet", hint=hint)
    return read_document(path)


def _rows_named(assumptions: Assumptions, document: Document) -> tuple[str, ...]:
    """The ids of the worksheet's rows. Raises Invalid: a threat names one that is not there."""
    rows = document.front.get("rows")
    named = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    known = {str(row.get("id")) for row in named}
    lost = sorted({row.row for row in assumptions.threats if row.row} - known)
    if lost:
        message = f"{ASSUMPTIONS_NAME} names rows that {WORKSHEET_NAME} lacks: {', '.join(lost)}"
        hint = "write the row, or leave 'row' empty: ''"
        raise Invalid(message, code="no_worksheet_row", hint=hint)
    return tuple(sorted(known))


def _must_be_new(path: Path, code: str) -> None:
    if path.exists():
        message = f"{path.name} is there already"
        raise Refused(message, code=code, hint=f"edit {path}, or move it away first")
