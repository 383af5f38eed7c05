"""`people.yaml`: who acts in an audit, in which role, with which key, under which lease.

    people:
    - name: Ada
      roles: [auditor]
      person: person_3k…            who they are to the server; left out where they never call
      key: ed25519:0011223344556677 the key they sign with; left out where they never sign
    - name: Ext
      roles: [external_auditor]
      person: person_9x…
      key: ed25519:8899aabbccddeeff
      grant: grant_5f…              an external auditor's lease, without which they do not sign

Where the file is there, only who it names signs, and only in their role. Whether a key counts at
all is trust.json's to say. Each sign-off names the file's digest: taking the file away afterwards
stops the audit.
Trusted: whoever changes this file says who is who in the audit; a sign-off shows what it said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from dutchdoor.audit.document import (
    DOCUMENT_BYTES_MAX,
    digest_of,
    read_yaml,
    write_yaml,
)
from dutchdoor.errors import Invalid, NotFound, Refused

__all__ = [
    "AUDITING",
    "PEOPLE_NAME",
    "Member",
    "People",
    "Role",
    "load_people",
    "missing",
    "must_be_apart",
    "must_decide",
    "write_people",
]

PEOPLE_NAME = "people.yaml"
PEOPLE_MAX = 200
TEXT_CHARACTERS_MAX = 200


class Role(StrEnum):
    """What somebody is in an audit.

    auditor: of the own house. external_auditor: of another, under a lease. maker: of the product's
    people, who sign with the holder's key. decider: who approves releases, and signs principles.
    """

    AUDITOR = "auditor"
    EXTERNAL_AUDITOR = "external_auditor"
    MAKER = "maker"
    DECIDER = "decider"


AUDITING = frozenset({Role.AUDITOR, Role.EXTERNAL_AUDITOR})
"""The roles that look; nobody in one of them has one of the others on the same bundle."""


@dataclass(frozen=True)
class Member:
    """Somebody in the audit. person, key, grant: ids, "" where there is none."""

    name: str
    roles: frozenset[Role]
    person: str = ""
    key: str = ""
    grant: str = ""

    @property
    def audits(self) -> bool:
        """Whether they are on the side that looks."""
        return bool(self.roles & AUDITING)

    def is_also(self, other: Member) -> bool:
        """Whether both are one person, by their id, their key or their name."""
        same = self.name.casefold() == other.name.casefold()
        same = same or (bool(self.person) and self.person == other.person)
        return same or (bool(self.key) and self.key == other.key)

    def to_value(self) -> dict[str, Any]:
        """Plain values for the file."""
        value: dict[str, Any] = {"name": self.name, "roles": sorted(map(str, self.roles))}
        ids = {"person": self.person, "key": self.key, "grant": self.grant}
        return {**value, **{name: text for name, text in ids.items() if text}}


@dataclass(frozen=True)
class People:
    """Everybody in one audit, checked. digest: of the file, "" for one that is not written."""

    members: tuple[Member, ...] = ()
    digest: str = ""

    def of_key(self, key: str) -> Member | None:
        """Who signs with this key."""
        return next((row for row in self.members if row.key and row.key == key), None)

    def of_person(self, person: str) -> Member | None:
        """Who is this person to the server."""
        return next((row for row in self.members if row.person and row.person == person), None)

    def with_member(self, member: Member) -> People:
        """The people with one more, or with another of this name; checked.

        Raises Invalid: out of form. Raises Refused: somebody would look and decide.
        """
        others = [row for row in self.members if row.name.casefold() != member.name.casefold()]
        found = People((*others, member))
        _check(found)
        return found


def load_people(folder: Path) -> People | None:
    """Who acts in the audit in `folder`; None where the file is not there.

    Raises Invalid: it is not in form. Raises Refused: somebody looks and decides.
    """
    path = folder / PEOPLE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
        text = data.decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _bad("it cannot be read as text") from error
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _bad("it is too large")
    value = read_yaml(text, where=PEOPLE_NAME)
    if not isinstance(value, dict) or set(value) != {"people"}:
        raise _bad("it has one setting, 'people'")
    rows = value["people"]
    if not isinstance(rows, list) or len(rows) > PEOPLE_MAX:
        raise _bad(f"'people' is no list of at most {PEOPLE_MAX}")
    found = People(tuple(_member(row) for row in rows), digest_of(path))
    _check(found)
    return found


def write_people(folder: Path, people: People) -> People:
    """Write the file, whole or not at all; the people with its digest."""
    write_yaml(folder / PEOPLE_NAME, {"people": [row.to_value() for row in people.members]})
    return replace(people, digest=digest_of(folder / PEOPLE_NAME))


def must_be_apart(here: People, others: Iterable[People]) -> None:
    """Raises Refused where somebody audits here and decides there, or the other way round.

    others: the people of the other audits of the same bundle.
    """
    for people in others:
        for mine in here.members:
            for theirs in people.members:
                _must_not_be_both(mine, theirs)


def must_decide(
    audits: Path, bundle: str, audit: str, keys: Iterable[str], approvers: Iterable[str]
) -> None:
    """Raises Refused where one of `keys` belongs to somebody who may not decide on this bundle.

    audits: the folder of all audits. audit: the one that the decision rests on; where its people
    name who decides, no other of the `approvers` (keys of trust.json) does.
    Raises Invalid: a people.yaml is not in form.
    """
    given = frozenset(keys)
    for path in sorted(audits.glob(f"*/{PEOPLE_NAME}")):
        if _bundle_of(path.parent) != bundle:
            continue
        people = load_people(path.parent) or People()
        for member in people.members:
            if member.key in given and member.audits:
                raise _both(member.name)
        deciders = {row.key for row in people.members if Role.DECIDER in row.roles and row.key}
        if path.parent.name == audit and deciders and not given & set(approvers) <= deciders:
            message = f"an approval is by nobody whom {PEOPLE_NAME} of {audit} names as decider"
            hint = "dutchdoor audit people add NAME --role decider --key KEY, before it completes"
            raise Refused(message, code="not_in_role", hint=hint)


def _bundle_of(folder: Path) -> str:
    value = read_yaml((folder / "audit.yaml").read_text(encoding="utf-8"), where="audit.yaml")
    return str(value.get("bundle", "")) if isinstance(value, dict) else ""


def _check(people: People) -> None:
    for number, member in enumerate(people.members):
        for other in people.members[:number]:
            if member.is_also(other):
                raise _bad(f"'{other.name}' and '{member.name}' share a name, a key or a person")
        if not member.roles:
            raise _bad(f"'{member.name}' has no role")
        if member.audits and not member.roles <= AUDITING:
            raise _both(member.name)
        if Role.EXTERNAL_AUDITOR in member.roles and not (member.grant and member.person):
            raise _bad(f"'{member.name}' comes from outside without a person and a grant")


def _must_not_be_both(one: Member, other: Member) -> None:
    decides = one.audits and Role.DECIDER in other.roles
    if one.is_also(other) and (decides or (other.audits and Role.DECIDER in one.roles)):
        raise _both(one.name)


def _both(name: str) -> Refused:
    message = f"{name} would audit and decide, or make, the same bundle"
    hint = "another person takes one of the roles"
    return Refused(message, code="duties_not_separate", hint=hint)


def _member(row: Any) -> Member:
    if not isinstance(row, dict) or not {"name", "roles"} <= set(row) <= _FIELDS:
        raise _bad(f"a row has name, roles, and besides only {', '.join(sorted(_FIELDS))}")
    roles = row["roles"]
    if not isinstance(roles, list) or not all(isinstance(item, str) for item in roles):
        raise _bad("'roles' is no list of words")
    try:
        return Member(
            name=_text(row, "name"),
            roles=frozenset(Role(item) for item in roles),
            **{name: _text(row, name) for name in ("person", "key", "grant") if name in row},
        )
    except ValueError as error:
        raise _bad(f"roles are {', '.join(Role)}") from error


_FIELDS = {"name", "roles", "person", "key", "grant"}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip() or len(value) > TEXT_CHARACTERS_MAX:
        raise _bad(f"'{name}' is no text of 1 to {TEXT_CHARACTERS_MAX} characters")
    return value.strip()


def _bad(why: str) -> Invalid:
    hint = "docs/concepts/auditors.md has its form; or: dutchdoor audit people add"
    return Invalid(f"{PEOPLE_NAME}: {why}", code="bad_people", hint=hint)


def missing() -> NotFound:
    """The error that a file is gone which a sign-off names."""
    hint = "restore it; the sign-offs name its digest"
    return NotFound(f"{PEOPLE_NAME} is gone", code="people_missing", hint=hint)
