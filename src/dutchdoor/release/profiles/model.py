"""A deployment profile, and what a decision made under it must hold."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dutchdoor.errors import Invalid
from dutchdoor.evidence.terms import Contact, OutsideTerms, Terms

__all__ = [
    "DAY_MS",
    "NO_PROFILE",
    "Profile",
    "RequiredApproval",
    "must_be_met",
    "must_be_written",
    "named",
    "prefilled",
]

DAY_MS = 86_400_000
_PLACE_TO_WRITE = "[write here"
_OUTSIDE_FIELDS = {
    "by": "who imposes it or signs: the name of the authority",
    "text": "what they impose or sign to, in a sentence",
    "key": "their key's id as 'dutchdoor release outside-list' shows it, after outside-add",
}
_CONTACT_FIELDS = {
    "name": "who answers for it: a person or an office",
    "address": "where they are reached: an e-mail address, a telephone number or a page",
}
NO_PROFILE = "none"


@dataclass(frozen=True)
class RequiredApproval:
    """Somebody outside must sign. duty: `licence` or `non_objection`. text: what they sign to."""

    duty: str
    text: str


@dataclass(frozen=True)
class Profile:
    """What holds for every decision made under it.

    approvals: signatures from outside, beside those of the approvers. conditions: imposed from
    outside on each such decision, word for word. contacts: roles that must be named.
    review_days_max: the decision names a day of review at most so far from its first; 0: need not.
    """

    name: str
    title: str
    what: str
    approvals: tuple[RequiredApproval, ...] = ()
    conditions: tuple[OutsideTerms, ...] = ()
    contacts: tuple[str, ...] = ()
    review_days_max: int = 0


def prefilled(profile: Profile, terms: Terms, place_to_write: str) -> tuple[OutsideTerms, ...]:
    """The rows of `terms.outside`, with those that the profile demands and that are not there.

    place_to_write: stands where a person has to say who.
    """
    rows = list(terms.outside)
    rows += [row for row in profile.conditions if row not in rows]
    duties = {row.duty for row in rows}
    rows += [
        OutsideTerms(place_to_write, approval.duty, approval.text, place_to_write)
        for approval in profile.approvals
        if approval.duty not in duties
    ]
    return tuple(rows)


def named(profile: Profile, terms: Terms, place_to_write: str) -> tuple[Contact, ...]:
    """The rows of `terms.contacts`, with those that the profile demands and that are not there."""
    roles = {row.role for row in terms.contacts}
    missing = [role for role in profile.contacts if role not in roles]
    return (*terms.contacts, *(Contact(role, place_to_write, place_to_write) for role in missing))


def must_be_met(profile: Profile, terms: Terms, begins_ms: int, outside: Collection[str]) -> None:
    """Check that `terms` hold what `profile` demands.

    begins_ms: of the decision. outside: key ids of those outside whom the workspace trusts.
    Raises Invalid: a signature, a contact, a condition or a day of review is missing, or somebody
    is to sign whom the workspace does not know.
    """
    for row in terms.outside:
        if row.key and row.key not in outside:
            message = f"{row.by or 'somebody outside'} is to sign with an unknown key, '{row.key}'"
            hint = "the holder adds it first: dutchdoor release outside-add; write its id as 'key'"
            raise Invalid(message, code="outside_key_unknown", hint=hint)
    for approval in profile.approvals:
        if not any(row.duty == approval.duty and row.key for row in terms.outside):
            hint = f"add a row to terms.outside: by, duty: {approval.duty}, text, key"
            raise _unmet(profile, f"nobody is to sign to {approval.text}", hint)
    for role in profile.contacts:
        rows = [row for row in terms.contacts if row.role == role]
        if not any(row.name.strip() and row.address.strip() for row in rows):
            hint = f"add a row to terms.contacts: role: {role}, name, address"
            raise _unmet(profile, f"nobody answers for {role}", hint)
    for condition in profile.conditions:
        if condition not in terms.outside:
            hint = f"add it to terms.outside, word for word: {condition.text}"
            raise _unmet(profile, f"a condition of {condition.by} is not in it", hint)
    latest_ms = begins_ms + profile.review_days_max * DAY_MS
    if profile.review_days_max and not 0 < terms.review_by_ms <= latest_ms:
        hint = f"set terms.review_by to at most {profile.review_days_max} days after its beginning"
        raise _unmet(profile, "it is not to be reviewed in time", hint)


def must_be_written(terms: Terms) -> None:
    """Raises Invalid: a place to write in is left; says which field, and what goes there."""
    fields = [
        (f"outside[{place}].{name} ({row.duty})", value, _OUTSIDE_FIELDS[name])
        for place, row in enumerate(terms.outside)
        for name, value in (("by", row.by), ("text", row.text), ("key", row.key))
    ]
    fields += [
        (f"contacts[{place}].{name} ({row.role})", value, _CONTACT_FIELDS[name])
        for place, row in enumerate(terms.contacts)
        for name, value in (("name", row.name), ("address", row.address))
    ]
    for where, value, what in fields:
        if value.startswith(_PLACE_TO_WRITE):
            message = f"decision.md, terms.{where}: it still says '{value}'"
            raise Invalid(message, code="bad_terms", hint=f"write there {what}")


def _unmet(profile: Profile, why: str, hint: str) -> Invalid:
    return Invalid(f"profile {profile.name}: {why}", code="profile_unmet", hint=hint)
