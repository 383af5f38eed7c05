"""Who may call, at one moment, ready to be looked up."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dutchdoor.access.model import Grant, KeyRecord, Person
from dutchdoor.ids import BundleDigest, GrantId, KeyId, PersonId

__all__ = ["Directory", "make_directory"]

_HEAD_CHARACTERS = 16


@dataclass(frozen=True)
class Directory:
    """Everything that authentication and decisions look up; never changed, only replaced.

    epoch: the number of the last change it holds. hashes: each key's, by the hash's head.
    grants_of: each person's for a bundle, newest first, revoked ones too.
    """

    epoch: int
    people: Mapping[PersonId, Person]
    keys: Mapping[KeyId, KeyRecord]
    hashes: Mapping[str, tuple[tuple[str, KeyId], ...]]
    grants: Mapping[GrantId, Grant]
    grants_of: Mapping[tuple[PersonId, BundleDigest], tuple[Grant, ...]]

    def key_of(self, keyed_hash: str) -> KeyRecord | None:
        """The key of `keyed_hash`: found by the hash's head, compared whole in constant time."""
        for known, key in self.hashes.get(keyed_hash[:_HEAD_CHARACTERS], ()):
            if hmac.compare_digest(known, keyed_hash):
                return self.keys[key]
        return None


def make_directory(
    epoch: int,
    people: Iterable[Person],
    keys: Iterable[tuple[str, KeyRecord]],
    grants: Iterable[Grant],
) -> Directory:
    """The directory of all these. keys: with their keyed hashes. grants: newest first."""
    by_id: dict[KeyId, KeyRecord] = {}
    hashes: dict[str, list[tuple[str, KeyId]]] = {}
    for keyed_hash, key in keys:
        by_id[key.id] = key
        hashes.setdefault(keyed_hash[:_HEAD_CHARACTERS], []).append((keyed_hash, key.id))
    grants_by_id: dict[GrantId, Grant] = {}
    grants_of: dict[tuple[PersonId, BundleDigest], list[Grant]] = {}
    for grant in grants:
        grants_by_id[grant.id] = grant
        grants_of.setdefault((grant.person, grant.bundle), []).append(grant)
    return Directory(
        epoch=epoch,
        people={person.id: person for person in people},
        keys=by_id,
        hashes={head: tuple(rows) for head, rows in hashes.items()},
        grants=grants_by_id,
        grants_of={place: tuple(rows) for place, rows in grants_of.items()},
    )
