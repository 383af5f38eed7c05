"""Who holds a key, and whether they still stand, by one reading of people, keys and grants."""

from __future__ import annotations

from dutchdoor.access.directory import Directory
from dutchdoor.access.model import Caller, Refusal
from dutchdoor.access.rules import first, key_refusal, person_refusal

__all__ = ["caller_refusal", "holder_of"]


def holder_of(directory: Directory, hashed: str, now_ms: int) -> Caller | Refusal:
    """Who holds the key of this hash, or why it opens nothing."""
    record = directory.key_of(hashed)
    person = None if record is None else directory.people.get(record.person)
    refusal = first(key_refusal(record, now_ms), person_refusal(person))
    if refusal is not None:
        return refusal
    assert record is not None
    assert person is not None
    return Caller(person, record.id)


def caller_refusal(directory: Directory, caller: Caller, now_ms: int) -> Refusal | None:
    """Why the caller may do nothing by now, whatever was true when they were authenticated."""
    key = directory.keys.get(caller.key)
    if key is not None and key.person != caller.person.id:
        key = None
    person = directory.people.get(caller.person.id)
    return first(person_refusal(person), key_refusal(key, now_ms))
