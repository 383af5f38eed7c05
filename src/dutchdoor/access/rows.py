"""Rows of the access tables to values and back."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Row

from dutchdoor.access.extraction import vectors_worth
from dutchdoor.access.model import (
    Amounts,
    Budget,
    ContentMode,
    Grant,
    KeyRecord,
    MonitorMode,
    Person,
)
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import BundleDigest, GrantId, KeyId, PersonId

__all__ = [
    "Pool",
    "amounts_of",
    "amounts_row",
    "grant_of",
    "grant_row",
    "key_of",
    "person_of",
    "person_row",
]


class Pool(NamedTuple):
    """What of a bundle is released or set aside. hidden: 0 where nothing ever was."""

    vectors: int = 0
    numbers: int = 0
    hidden: int = 0

    def after(self, asked: Amounts, hidden_size: int) -> int:
        """All of it and `asked`, in whole vectors."""
        h = hidden_size or self.hidden or 1
        return vectors_worth(self.vectors + asked.vectors, self.numbers + asked.numbers, h)


def amounts_of(row: Row[Any]) -> Amounts:
    return Amounts(row.requests, row.tokens, row.vectors, row.numbers)


def amounts_row(amounts: Amounts) -> dict[str, int]:
    return {
        "requests": amounts.requests,
        "tokens": amounts.tokens,
        "vectors": amounts.vectors,
        "numbers": amounts.numbers,
    }


def person_row(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "organisation": person.organisation,
        "audience": person.audience,
        "added_ms": person.added_ms,
        "active": person.active,
    }


def person_of(row: Row[Any]) -> Person:
    return Person(
        id=PersonId(row.id),
        name=row.name,
        organisation=row.organisation,
        audience=row.audience,
        added_ms=row.added_ms,
        active=row.active,
    )


def key_of(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=KeyId(row.id),
        person=PersonId(row.person),
        issued_ms=row.issued_ms,
        not_after_ms=row.not_after_ms,
        revoked_ms=row.revoked_ms,
    )


def grant_row(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.id,
        "person": grant.person,
        "bundle": grant.bundle,
        "purpose": grant.purpose,
        "depths": ",".join(str(depth) for depth in grant.depths),
        "requests_max": grant.budget.requests,
        "tokens_max": grant.budget.tokens,
        "vectors_max": grant.budget.vectors,
        "not_before_ms": grant.not_before_ms,
        "not_after_ms": grant.not_after_ms,
        "content_mode": str(grant.content_mode),
        "monitor_mode": str(grant.monitor_mode),
        "agentic": grant.agentic,
        "concurrency_max": grant.concurrency_max,
        "active": grant.active,
    }


def grant_of(row: Row[Any]) -> Grant:
    try:
        return Grant(
            id=GrantId(row.id),
            person=PersonId(row.person),
            bundle=BundleDigest(row.bundle),
            purpose=row.purpose,
            depths=tuple(Depth(name) for name in row.depths.split(",") if name),
            budget=Budget(row.requests_max, row.tokens_max, row.vectors_max),
            not_before_ms=row.not_before_ms,
            not_after_ms=row.not_after_ms,
            content_mode=ContentMode(row.content_mode),
            monitor_mode=MonitorMode(row.monitor_mode),
            agentic=row.agentic,
            concurrency_max=row.concurrency_max,
            active=row.active,
        )
    except ValueError as error:
        # A word this program does not know, written by hand or by another program.
        raise Invalid(f"the grant {row.id} is not readable", code="bad_grant") from error
