"""What the console shows and takes: audits, their documents, one document to edit.

Each request asks anew: is the session's key still open, does a grant that covers the audit hold,
do the rules let this person read this document. Whatever cannot be known is a no.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from dutchdoor.access.model import Person
from dutchdoor.access.reading import DocumentReader
from dutchdoor.app.dues import dues_of
from dutchdoor.app.governance import find_audit
from dutchdoor.app.reading import reader_of, reading_rules
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.documents.export import sensitivity_of
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.audit.editing import Changed, Draft, Problem, open_draft, problems, save_draft
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import SPECIFICATIONS, AuditStatus, DocumentKind
from dutchdoor.audit.people import load_people
from dutchdoor.audit.service import Audit, list_audits
from dutchdoor.clock import to_iso
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.server.console.page import render, style
from dutchdoor.server.console.requests import Answer, Request, redirect, set_cookie
from dutchdoor.server.console.sessions import SESSION_MS_MAX, Session, Sessions

__all__ = ["Desk"]

_AUDIT = re.compile(r"/audits/([A-Za-z0-9_-]{1,64})")
_DOCUMENT = re.compile(r"/audits/([A-Za-z0-9_-]{1,64})/([A-Z][0-9])")
_STATUS = {"refused": 403, "invalid": 400, "not_found": 404, "unavailable": 503}
_STATUS_OF_CODE = {
    **dict.fromkeys(("invalid_api_key", "key_revoked", "key_expired", "not_logged_in"), 401),
    "wrong_host": 421,
    "document_moved": 409,
    "method_not_allowed": 405,
}


@dataclass(frozen=True)
class Desk:
    """The console of one workspace. hosts: the names by which it may be reached."""

    workspace: Workspace
    hosts: frozenset[str]
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sessions", Sessions(self.workspace.clock))

    def answer(self, request: Request) -> Answer:
        """The answer to any request; refusals are pages too. Blocking."""
        try:
            request.must_be_ours(self.hosts)
            return self._route(request)
        except DutchdoorError as error:
            return self._refused(error, request)

    def _route(self, request: Request) -> Answer:
        if request.path == "/console/status.css":
            return Answer(200, style() + style("console.css"), "text/css; charset=utf-8")
        if request.path == "/login" and request.method == "POST":
            return self._log_in(request)
        if request.path in {"/", "/login"} and request.method == "GET":
            known = self.sessions.find(request.token) is not None
            return redirect("/audits") if known else self._login_page(200)
        session = self.sessions.find(request.token)
        if session is None:
            message = "you are not logged in, or not any more"
            raise Refused(message, code="not_logged_in", hint="log in with your API key")
        if request.method == "POST":
            session.must_be_of_form(request.form.get("csrf", ""))
        if request.path == "/logout" and request.method == "POST":
            self.sessions.end(request.token)
            return redirect("/", set_cookie("", 0))
        if request.path == "/audits" and request.method == "GET":
            return self._audits(session)
        if (found := _AUDIT.fullmatch(request.path)) and request.method == "GET":
            return self._documents(session, found[1])
        if found := _DOCUMENT.fullmatch(request.path):
            visit = self._visit(session, found[1])
            kind = visit.kind(found[2])
            return (
                self._save(visit, kind, request)
                if request.method == "POST"
                else (self._edit(visit, kind))
            )
        raise NotFound("there is nothing at this path", code="not_found", hint="open /audits")

    def _log_in(self, request: Request) -> Answer:
        caller = self.workspace.access.authenticate(request.form.get("key", ""))
        if not any(self._grant(caller.person, name) for name in self._bundles()):
            raise _no_grant()
        self.sessions.end(request.token)
        token = self.sessions.begin(caller)
        return redirect("/audits", set_cookie(token, SESSION_MS_MAX // 1000))

    def _audits(self, session: Session) -> Answer:
        rows = []
        for name in list_audits(self.workspace.places.audits):
            audit = find_audit(self.workspace, name)
            if self._may_enter(session, audit):
                rows.append(
                    {"name": name, "model": audit.subject.model, "scale": audit.subject.scale}
                )
        if not rows:
            raise _no_grant()
        return Answer(200, render("audits.html", {**_facts(session), "audits": rows}))

    def _documents(self, session: Session, name: str) -> Answer:
        visit = self._visit(session, name)
        status = visit.audit.status()
        dues, trouble = dues_of(self.workspace, visit.audit.subject.bundle)
        facts = {
            **_facts(session),
            "status": status,
            "roles": ", ".join(sorted(visit.reader.roles)) or "none",
            "rows": _rows(visit, status),
            "dues": [(row, state, to_iso(row.due.due_ms)[:10]) for row, state in dues],
            "trouble": trouble,
        }
        return Answer(200, render("documents.html", facts))

    def _edit(self, visit: _Visit, kind: DocumentKind) -> Answer:
        visit.must_read(kind)
        return _page(visit, kind, open_draft(visit.audit, kind), 200)

    def _save(self, visit: _Visit, kind: DocumentKind, request: Request) -> Answer:
        visit.must_read(kind)
        form = request.form
        if not {"front", "body", "digest"} <= set(form):
            raise Invalid("the form is not whole", code="bad_form", hint="open the page again")
        draft = Draft(form["front"], form["body"], form["digest"])
        try:
            visit.must_edit()
            save_draft(visit.audit, kind, draft)
        except Changed as error:
            # Saving again is a choice then: the new digest goes with it, and both texts are shown.
            kept = replace(draft, digest=error.stored.digest)
            return _page(visit, kind, kept, 409, error=error, stored=error.stored)
        except DutchdoorError as error:
            return _page(visit, kind, draft, _status_of(error), error=error)
        return redirect(f"/audits/{visit.audit.subject.audit}/{kind}")

    def _visit(self, session: Session, name: str) -> _Visit:
        audit = find_audit(self.workspace, name)
        if not self._may_enter(session, audit):
            raise _no_grant()
        reader = reader_of(
            self.workspace, audit, self._person(session), reading_rules(self.workspace)
        )
        return _Visit(session, audit, reader)

    def _may_enter(self, session: Session, audit: Audit) -> bool:
        grant = self._grant(self._person(session), audit.subject.bundle)
        if grant is None:
            return False
        return self.workspace.access.revoked(grant, session.caller.key) is None

    def _person(self, session: Session) -> Person:
        return self.workspace.access.find_person(session.caller.person.id)

    def _bundles(self) -> set[str]:
        places = self.workspace.places.audits
        names = list_audits(places)
        return {AuditFolder(places / name).subject().bundle for name in names}

    def _grant(self, person: Person, bundle: str) -> Any:
        """A grant of this person that covers the audit of this bundle now; None without one."""
        now_ms = self.workspace.clock.now_ms()
        for grant in self.workspace.access.list_grants(person.id):
            covers = grant.bundle == bundle and Depth.AUDIT in grant.depths
            if covers and grant.active and grant.not_before_ms <= now_ms < grant.not_after_ms:
                return grant.id
        return None

    def _login_page(self, status: int, error: DutchdoorError | None = None) -> Answer:
        return Answer(status, render("login.html", {"error": error}))

    def _refused(self, error: DutchdoorError, request: Request) -> Answer:
        status = _status_of(error)
        if status == 401:
            # Somebody's session ended while they wrote: their text is shown, to be taken along.
            lost = {name: request.form[name] for name in ("front", "body") if name in request.form}
            if lost:
                return Answer(status, render("lost.html", {"error": error, "lost": lost}))
            return self._login_page(status, error)
        return Answer(status, render("refused.html", {"error": error}))


@dataclass(frozen=True)
class _Visit:
    """Somebody let into one audit."""

    session: Session
    audit: Audit
    reader: DocumentReader

    @property
    def folder(self) -> AuditFolder:
        return AuditFolder(self.audit.path)

    def kind(self, name: str) -> DocumentKind:
        """Raises NotFound: the audit has no such document."""
        found = next((kind for kind in self.folder.kinds if str(kind) == name), None)
        if found is None:
            raise NotFound(f"this audit has no document {name}", code="no_document")
        return found

    def sensitivity(self, kind: DocumentKind) -> str:
        """The document's level; one that cannot be read as a document has the highest."""
        try:
            return sensitivity_of(kind, self.folder)
        except DutchdoorError:
            return SENSITIVITIES[-1]

    def may_read(self, kind: DocumentKind) -> bool:
        return self.reader.reads(str(kind), self.sensitivity(kind)).permits

    def must_read(self, kind: DocumentKind) -> None:
        """Raises Refused: the rules do not let them read it."""
        reading = self.reader.reads(str(kind), self.sensitivity(kind))
        if not reading.permits:
            message = f"{kind} is {self.sensitivity(kind)}: {reading.reason} [{reading.rule}]"
            hint = "policies/documents says who reads what"
            raise Refused(message, code="not_for_you", hint=hint)

    def must_edit(self) -> None:
        """Raises Refused: people.yaml is there and names others."""
        people = load_people(self.audit.path)
        if people is not None and people.of_person(self.session.caller.person.id) is None:
            message = "you are not among the people of this audit"
            hint = "dutchdoor audit people add NAME --role auditor --person NAME"
            raise Refused(message, code="not_in_role", hint=hint)


def _rows(visit: _Visit, status: AuditStatus) -> list[dict[str, Any]]:
    return [
        {
            "kind": str(row.kind),
            "title": row.title,
            "stage": str(SPECIFICATIONS[row.kind].stage),
            "state": str(row.state),
            "because": row.because,
            "sensitivity": visit.sensitivity(row.kind),
            "readable": visit.may_read(row.kind),
            "digest": row.digest[:19],
        }
        for row in status.documents
    ]


def _page(
    visit: _Visit,
    kind: DocumentKind,
    draft: Draft,
    status: int,
    *,
    error: DutchdoorError | None = None,
    stored: Draft | None = None,
) -> Answer:
    found: tuple[Problem, ...] = () if error else problems(visit.audit, kind)
    facts = {
        **_facts(visit.session),
        "audit": visit.audit.subject.audit,
        "kind": str(kind),
        "title": SPECIFICATIONS[kind].title,
        "sensitivity": visit.sensitivity(kind),
        "draft": draft,
        "error": error,
        "stored": stored,
        "problems": found,
    }
    return Answer(status, render("document.html", facts))


def _facts(session: Session) -> dict[str, Any]:
    return {"who": session.caller.person.name, "csrf": session.csrf}


def _no_grant() -> Refused:
    message = "you hold no grant that covers the audit here"
    hint = "the holder gives one: dutchdoor grants make NAME --purpose audit --depth audit"
    return Refused(message, code="no_audit_grant", hint=hint)


def _status_of(error: DutchdoorError) -> int:
    known = _STATUS_OF_CODE.get(error.code)
    if known is not None:
        return known
    return 404 if isinstance(error, NotFound) else _STATUS.get(error.family, 400)
