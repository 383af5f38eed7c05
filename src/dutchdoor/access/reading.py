"""Who may read which document of an audit: a question to the rules in `policies/documents/`.

Whoever can open the audit's folder can read its files: these rules decide what leaves it, by an
export or by the console, and for whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dutchdoor.access.cedar import Policies, Ruling
from dutchdoor.access.model import Person

__all__ = ["FOLDER", "NOBODY", "DocumentReader"]

FOLDER: Final = "documents"
"""The folder of these rules, below that of the others: they have words of their own."""
NOBODY: Final = "nobody"
"""The public: what a person reads whom nobody knows."""


@dataclass(frozen=True)
class DocumentReader:
    """One person before the documents of one audit.

    person: None for the public. roles: theirs in the audit. depths: what their grants on its bundle
    cover now.
    """

    policies: Policies
    audit: str
    bundle: str
    person: Person | None = None
    roles: frozenset[str] = frozenset()
    depths: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Who reads, for people."""
        return "the public" if self.person is None else f"{self.person.name} ({self.person.id})"

    def reads(self, kind: str, sensitivity: str) -> Ruling:
        """Whether they may read the document `kind` of this sensitivity, and by which rule."""
        known = self.person is not None
        identifier = self.person.id if self.person is not None else NOBODY
        attributes: dict[str, Any] = {
            "audience": self.person.audience if self.person is not None else "",
            "organisation": self.person.organisation if self.person is not None else "",
            "active": self.person.active if self.person is not None else True,
        }
        person = {"type": "Person", "id": identifier}
        document = {"type": "Document", "id": f"{self.audit}/{kind}"}
        entities = [
            {"uid": person, "attrs": attributes, "parents": []},
            {
                "uid": document,
                "attrs": {
                    "audit": self.audit,
                    "bundle": self.bundle,
                    "kind": kind,
                    "sensitivity": sensitivity,
                },
                "parents": [],
            },
        ]
        request = {
            "principal": person,
            "action": {"type": "Action", "id": "ReadDocument"},
            "resource": document,
            # Whoever is not known has neither role nor grant, whatever was handed in.
            "context": {
                "roles": sorted(self.roles) if known else [],
                "grant_depths": sorted(self.depths) if known else [],
            },
        }
        return self.policies.ask(request, entities)
