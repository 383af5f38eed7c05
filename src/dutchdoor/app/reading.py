"""Who somebody is in an audit, and what they may read of it: people, grants and rules together."""

from __future__ import annotations

from dataclasses import dataclass

from dutchdoor.access.cedar import PolicyBook
from dutchdoor.access.model import Grant, Person
from dutchdoor.access.reading import FOLDER, DocumentReader
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.folder import AuditSubject
from dutchdoor.audit.people import Role, load_people
from dutchdoor.audit.service import Audit
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.decision import Depth

__all__ = ["GrantLeases", "reader_of", "reading_rules", "roles_of"]


@dataclass(frozen=True)
class GrantLeases:
    """Whether the grant of an external auditor holds now: asked anew each time."""

    workspace: Workspace

    def refusal(self, grant: str, person: str, bundle: str) -> str | None:
        """Why the grant does not let this person audit this bundle now; None where it does.

        Raises Unavailable: who was granted what cannot be read.
        """
        try:
            holder = self.workspace.access.find_person(person)
        except NotFound:
            return "nobody here is this person"
        rows = [row for row in self.workspace.access.list_grants(holder.id) if row.id == grant]
        if holder.id != person or not rows:
            return "it is not this person's"
        if rows[0].bundle != bundle:
            return "it is for another bundle"
        if not holder.active:
            return "the person has left"
        if Depth.AUDIT not in rows[0].depths:
            return "it does not cover the audit"
        now_ms = self.workspace.clock.now_ms()
        return None if _holds(rows[0], now_ms) else "it has ended, or has not begun"


def roles_of(audit: Audit, person: Person | None) -> frozenset[str]:
    """The person's roles in the audit: by people.yaml, else who audit.yaml names audits.

    Raises Invalid, Refused: people.yaml is not in form.
    """
    people = load_people(audit.path)
    if person is None:
        return frozenset()
    if people is None:
        return _by_subject(audit.subject, person)
    member = people.of_person(person.id)
    return frozenset() if member is None else frozenset(str(role) for role in member.roles)


def reading_rules(workspace: Workspace) -> PolicyBook:
    """The rules of `policies/documents/`. Raises Invalid: they are gone or not right."""
    folder = workspace.places.policies / FOLDER
    if not folder.is_dir():
        message = f"there are no rules on who reads documents: {folder} is not there"
        hint = "copy policies/documents from a new workspace (dutchdoor init), and read them"
        raise Invalid(message, code="no_reading_rules", hint=hint)
    return PolicyBook(folder)


def reader_of(
    workspace: Workspace, audit: Audit, person: Person | None, rules: PolicyBook | None = None
) -> DocumentReader:
    """Somebody before the documents of `audit`; None for the public.

    Raises Invalid: the rules or people.yaml are not right. Raises Unavailable: grants cannot be
    read.
    """
    now_ms = workspace.clock.now_ms()
    bundle = audit.subject.bundle
    grants = () if person is None else workspace.access.list_grants(person.id)
    depths = {
        str(depth)
        for grant in grants
        if grant.bundle == bundle and _holds(grant, now_ms)
        for depth in grant.depths
    }
    book = rules or reading_rules(workspace)
    return DocumentReader(
        policies=book.current,
        audit=audit.subject.audit,
        bundle=bundle,
        person=person,
        roles=roles_of(audit, person),
        depths=frozenset(depths),
    )


def _holds(grant: Grant, now_ms: int) -> bool:
    return grant.active and grant.not_before_ms <= now_ms < grant.not_after_ms


def _by_subject(subject: AuditSubject, person: Person) -> frozenset[str]:
    return frozenset({str(Role.AUDITOR)}) if person.name == subject.auditor else frozenset()
