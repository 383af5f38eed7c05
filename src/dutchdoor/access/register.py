"""The register of people, keys and grants: each change is recorded as evidence or does not happen.

A change is made in a transaction, recorded, and only then committed. Where it cannot be recorded,
it is undone. Where the commit fails after that, the log holds a change that is not in force: the
caller gets an error and repeats it.

Names stay in the database, where they can be erased; the log, which forgets nothing, gets the
person's identifier, organisation and audience.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from dutchdoor.access.keys import ApiKey, HashKey
from dutchdoor.access.model import (
    AccessLimits,
    Budget,
    ContentMode,
    Grant,
    KeyRecord,
    MonitorMode,
    Person,
)
from dutchdoor.access.ports import Record
from dutchdoor.access.rules import person_refusal
from dutchdoor.access.store import AccessStore
from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.ids import (
    BundleDigest,
    GrantId,
    KeyId,
    PersonId,
    new_grant_id,
    new_key_id,
    new_person_id,
)

__all__ = ["IssuedKey", "Register"]

_AUDIENCE = re.compile(r"[a-z][a-z0-9_]{0,39}")
_BUNDLE = re.compile(r"sha256:[0-9a-f]{64}")


class IssuedKey(NamedTuple):
    """A fresh key. secret: to be shown to its owner now; nothing keeps it."""

    record: KeyRecord
    secret: ApiKey


class Register:
    """Who is who, and what they were granted."""

    def __init__(
        self,
        store: AccessStore,
        clock: Clock,
        *,
        hash_key: HashKey,
        limits: AccessLimits | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._hash_key = hash_key
        self._limits = limits or AccessLimits()

    def add_person(self, name: str, organisation: str, audience: str, *, record: Record) -> Person:
        """A new person, who may do nothing yet.

        Raises Invalid: a name empty, too long or with control characters; an audience that is no
        lower-case word. What `record` raises: the person is not added.
        """
        self._check_text("name", name, self._limits.name_characters_max)
        self._check_text("organisation", organisation, self._limits.name_characters_max)
        if not _AUDIENCE.fullmatch(audience):
            hint = "an audience is a word of the decision, for instance researcher"
            raise Invalid(f"'{audience}' is not an audience", code="bad_person", hint=hint)
        now_ms = self._clock.now_ms()
        person = Person(new_person_id(), name, organisation, audience, added_ms=now_ms)
        body = {"person": person.id, "organisation": organisation, "audience": audience}
        with self._store.change() as change:
            change.add_person(person)
            record(Entry(EntryKind.PERSON_ADDED, now_ms, body))
        self._changed()
        return person

    def remove_person(self, person: PersonId, reason: str, *, record: Record) -> Person:
        """The person as they were; from now on none of their keys and grants opens anything.

        Raises NotFound: no such person. What `record` raises: nothing changed.
        """
        self._check_reason(reason)
        entry = self._entry(EntryKind.PERSON_REMOVED, {"person": person, "reason": reason})
        with self._store.change() as change:
            before = change.deactivate_person(person)
            record(entry)
        self._changed()
        return before

    def issue_key(
        self, person: PersonId, *, record: Record, not_after_ms: int | None = None
    ) -> IssuedKey:
        """A fresh API key for `person`; its text exists in the result alone.

        not_after_ms: from when it opens nothing; None: until revoked.
        Raises NotFound: no such person. Refused: they are not active. Invalid: it ends in the
        past. What `record` raises: there is no key.
        """
        now_ms = self._clock.now_ms()
        if not_after_ms is not None and not_after_ms <= now_ms:
            raise Invalid("the API key would end before it begins", code="bad_key")
        secret = ApiKey.new()
        key = KeyRecord(new_key_id(), person, issued_ms=now_ms, not_after_ms=not_after_ms)
        body: dict[str, Any] = {"key": key.id, "person": person, "not_after_ms": not_after_ms}
        with self._store.change() as change:
            _check_active(change.person(person))
            change.add_key(key, secret.keyed_hash(self._hash_key))
            record(Entry(EntryKind.KEY_ISSUED, now_ms, body))
        self._changed()
        return IssuedKey(key, secret)

    def revoke_key(self, key: KeyId, reason: str, *, record: Record) -> KeyRecord:
        """The key as it was; within a second it opens nothing in any process.

        Raises NotFound: no such key. Invalid: revoked already. What `record` raises: it still
        opens.
        """
        self._check_reason(reason)
        now_ms = self._clock.now_ms()
        with self._store.change() as change:
            before, changed = change.revoke_key(key, now_ms)
            if not changed:
                raise Invalid(f"the API key {key} is revoked already", code="revoked_already")
            body = {"key": key, "person": before.person, "reason": reason}
            record(Entry(EntryKind.KEY_REVOKED, now_ms, body))
        self._changed()
        return before

    def make_grant(
        self,
        person: PersonId,
        bundle: BundleDigest,
        *,
        purpose: str,
        depths: Sequence[Depth],
        budget: Budget,
        not_after_ms: int,
        record: Record,
        not_before_ms: int | None = None,
        content_mode: ContentMode = ContentMode.COMMITMENT,
        monitor_mode: MonitorMode = MonitorMode.BLOCK,
        agentic: bool = False,
        concurrency_max: int = 4,
    ) -> Grant:
        """A new grant; it opens no more than a decision in force opens to the person besides.

        not_before_ms: None for now. depths: at least one, each once.
        Raises NotFound: no such person. Refused: they are not active. Invalid: a value out of
        bounds. What `record` raises: there is no grant.
        """
        now_ms = self._clock.now_ms()
        grant = Grant(
            id=new_grant_id(),
            person=person,
            bundle=bundle,
            purpose=purpose,
            depths=tuple(Depth(depth) for depth in depths),
            budget=budget,
            not_before_ms=now_ms if not_before_ms is None else not_before_ms,
            not_after_ms=not_after_ms,
            content_mode=content_mode,
            monitor_mode=monitor_mode,
            agentic=agentic,
            concurrency_max=concurrency_max,
        )
        self._check_grant(grant)
        with self._store.change() as change:
            _check_active(change.person(person))
            change.add_grant(grant, now_ms)
            record(Entry(EntryKind.GRANT_MADE, now_ms, grant.to_body()))
        self._changed()
        return grant

    def revoke_grant(self, grant: GrantId, reason: str, *, record: Record) -> Grant:
        """The grant as it was; within a second it opens nothing in any process.

        Raises NotFound: no such grant. Invalid: revoked already. What `record` raises: it still
        opens.
        """
        self._check_reason(reason)
        with self._store.change() as change:
            before, changed = change.revoke_grant(grant)
            if not changed:
                raise Invalid(f"the grant {grant} is revoked already", code="revoked_already")
            body = {"grant": grant, "person": before.person, "reason": reason}
            record(self._entry(EntryKind.GRANT_REVOKED, body))
        self._changed()
        return before

    def list_people(self) -> tuple[Person, ...]:
        """All people, those who left too, in the order they were added."""
        everyone = self._store.directory().people.values()
        return tuple(sorted(everyone, key=lambda person: (person.added_ms, person.id)))

    def list_keys(self, person: PersonId | None = None) -> tuple[KeyRecord, ...]:
        """What is kept of all API keys, or of one person's, in the order they were issued."""
        keys = self._store.directory().keys.values()
        chosen = (key for key in keys if person in (None, key.person))
        return tuple(sorted(chosen, key=lambda key: (key.issued_ms, key.id)))

    def list_grants(self, person: PersonId | None = None) -> tuple[Grant, ...]:
        """All grants, or one person's, in the order of their beginning, revoked ones too."""
        grants = self._store.directory().grants.values()
        chosen = (grant for grant in grants if person in (None, grant.person))
        return tuple(sorted(chosen, key=lambda grant: (grant.not_before_ms, grant.id)))

    def find_person(self, text: str) -> Person:
        """The person whose identifier or name `text` is.

        Raises NotFound: nobody. Invalid: several people have that name.
        """
        found = [person for person in self.list_people() if text in (person.id, person.name)]
        if not found:
            hint = "see 'dutchdoor people'"
            raise NotFound(f"there is no person '{text}'", code="no_person", hint=hint)
        if len(found) > 1:
            message = f"{len(found)} people are called '{text}'"
            raise Invalid(message, code="person_ambiguous", hint="use the identifier")
        return found[0]

    def _changed(self) -> None:
        """Somebody who keeps a copy overrides this to read it again at once."""

    def _entry(self, kind: EntryKind, body: dict[str, Any]) -> Entry:
        return Entry(kind, self._clock.now_ms(), body)

    def _check_text(self, what: str, text: str, characters_max: int) -> None:
        if not text.strip() or len(text) > characters_max or not text.isprintable():
            message = (
                f"the {what} is empty, longer than {characters_max} characters, or unprintable"
            )
            raise Invalid(message, code="bad_text")

    def _check_reason(self, reason: str) -> None:
        self._check_text("reason", reason, self._limits.purpose_characters_max)

    def _check_grant(self, grant: Grant) -> None:
        limits, budget = self._limits, grant.budget
        self._check_text("purpose", grant.purpose, limits.purpose_characters_max)
        amounts = (budget.requests, budget.tokens, budget.vectors)
        for broken, message in (
            (not _BUNDLE.fullmatch(grant.bundle), "a bundle is named sha256: and 64 digits"),
            (not grant.depths, "a grant names at least one depth"),
            (len(set(grant.depths)) != len(grant.depths), "a depth is named twice"),
            (grant.not_after_ms <= grant.not_before_ms, "the grant ends before it begins"),
            (grant.not_after_ms > limits.amount_max, "the grant ends too far in the future"),
            (grant.not_before_ms < 0, "the grant begins before all time"),
            (min(amounts) < 0, "a budget is negative"),
            (max(amounts) > limits.amount_max, "a budget is too large"),
            (
                not 1 <= grant.concurrency_max <= limits.concurrency_max,
                f"between 1 and {limits.concurrency_max} requests at once can be granted",
            ),
        ):
            if broken:
                raise Invalid(message, code="bad_grant")


def _check_active(person: Person) -> None:
    refusal = person_refusal(person)
    if refusal is not None:
        raise Refused(refusal.message, code=refusal.code, hint="let the person in again first")
