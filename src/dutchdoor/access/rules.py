"""The rules that need no policy file: standing, dates, depths, budgets. Pure: values in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dutchdoor.access.extraction import pool_text, vectors_worth
from dutchdoor.access.model import (
    AccessRequest,
    Amounts,
    Grant,
    KeyRecord,
    Person,
    Refusal,
)
from dutchdoor.clock import to_iso

__all__ = [
    "Spending",
    "budget_refusal",
    "first",
    "furthest",
    "grant_refusal",
    "holder_refusal",
    "key_refusal",
    "person_refusal",
    "standing_refusal",
]


@dataclass(frozen=True)
class Spending:
    """How things stand when a reservation is asked for.

    used: what the grant has spent or set aside. open_count: its reservations not yet settled.
    released, numbers: the bundle's pool, vectors and single numbers. vectors_max: what the decision
    in force allows of both together.
    """

    used: Amounts
    open_count: int
    released: int
    numbers: int
    vectors_max: int
    hidden_size: int


def person_refusal(person: Person | None) -> Refusal | None:
    """Why this person may do nothing; None where they may."""
    return holder_refusal(active=person is not None and person.active)


def holder_refusal(*, active: bool) -> Refusal | None:
    """The same, of what alone matters."""
    if active:
        return None
    return Refusal(
        code="person_inactive",
        message="this person no longer has access here",
        rule="access.person_active",
        hint="ask the holder of this server to be let in again",
    )


def key_refusal(key: KeyRecord | None, now_ms: int) -> Refusal | None:
    """Why this key opens nothing; None where it does."""
    if key is None:
        message, code = "this API key is not known here", "invalid_api_key"
    elif key.revoked_ms is not None:
        message, code = f"the API key {key.id} has been revoked", "key_revoked"
    elif key.not_after_ms is not None and now_ms >= key.not_after_ms:
        message, code = f"the API key {key.id} expired at {to_iso(key.not_after_ms)}", "key_expired"
    else:
        return None
    hint = "ask the holder of this server for a new key"
    return Refusal(code=code, message=message, rule=f"access.{code}", hint=hint)


def grant_refusal(grant: Grant, request: AccessRequest, now_ms: int) -> Refusal | None:
    """Why `grant` does not cover `request`; None where it does, as far as no policy is needed."""
    standing = standing_refusal(grant, now_ms)
    if standing is not None:
        return standing
    for granted, rule, whose in (
        (frozenset(grant.depths), "grant.depths", "your grant"),
        (request.audience_depths, "decision.audiences", "the decision in force for you"),
    ):
        missing = tuple(sorted(str(depth) for depth in request.depths - granted))
        if missing:
            return Refusal(
                code="depth_not_granted",
                message=f"{whose} does not cover {' and '.join(missing)}",
                rule=rule,
                hint="leave these out of the request, or apply for a deeper grant",
                missing=missing,
                grant=grant,
            )
    return None


def standing_refusal(grant: Grant, now_ms: int) -> Refusal | None:
    """Why `grant` is not in force at `now_ms`; None where it is."""
    if not grant.active:
        code, message = "grant_revoked", f"the grant {grant.id} has been revoked"
        hint = "ask the holder of this server why, or apply again"
    elif now_ms < grant.not_before_ms:
        begins = to_iso(grant.not_before_ms)
        code, message = "grant_not_yet", f"the grant {grant.id} begins at {begins}"
        hint = f"come back after {begins}"
    elif now_ms >= grant.not_after_ms:
        ended = to_iso(grant.not_after_ms)
        code, message = "grant_expired", f"the grant {grant.id} ended at {ended}"
        hint = "apply for a renewal"
    else:
        return None
    return Refusal(code=code, message=message, rule=f"access.{code}", hint=hint, grant=grant)


def budget_refusal(grant: Grant, asked: Amounts, spending: Spending) -> Refusal | None:
    """Why `asked` cannot be set aside under `grant`; None where it can."""
    if spending.open_count >= grant.concurrency_max:
        return Refusal(
            code="too_many_at_once",
            message=f"the grant {grant.id} allows {grant.concurrency_max} requests at once",
            rule="grant.concurrency_max",
            hint="wait until one of the running requests has ended",
            missing=("concurrency",),
            grant=grant,
        )
    budget, used, h = grant.budget, spending.used, spending.hidden_size
    asks = asked.vectors > 0 or asked.numbers > 0
    had = vectors_worth(used.vectors, used.numbers, h) if asks else 0
    for name, want, have, most in (
        ("requests", asked.requests, used.requests, budget.requests),
        ("tokens", asked.tokens, used.tokens, budget.tokens),
        ("vectors", _more(used, asked, h) - had if asks else 0, had, budget.vectors),
    ):
        if want > 0 and have + want > most:
            left = max(most - have, 0)
            return Refusal(
                code=f"budget_{name}",
                message=f"this needs {want} {name}, the grant has {left} of {most} left",
                rule=f"grant.budget.{name}",
                hint="ask for less at once, or apply for a larger budget",
                missing=(name,),
                grant=grant,
            )
    return _pool_refusal(grant, asked, spending) if asks else None


def _pool_refusal(grant: Grant, asked: Amounts, spending: Spending) -> Refusal | None:
    pool = Amounts(vectors=spending.released, numbers=spending.numbers)
    h, most = spending.hidden_size, spending.vectors_max
    released = vectors_worth(pool.vectors, pool.numbers, h)
    after = _more(pool, asked, h)
    if after <= most:
        return None
    return Refusal(
        code="vectors_exhausted",
        message=(
            f"{pool_text(released, h)}, the decision allows {most}, this needs "
            f"{after - released} more"
        ),
        rule="decision.vectors_max",
        hint="they are pooled over all people and never come back; text stays available",
        missing=("vectors",),
        grant=grant,
    )


def _more(before: Amounts, asked: Amounts, hidden_size: int) -> int:
    """`before` and `asked` together, in whole vectors: rounded up once, over all that was asked."""
    vectors, numbers = before.vectors + asked.vectors, before.numbers + asked.numbers
    return vectors_worth(vectors, numbers, hidden_size)


def first(*refusals: Refusal | None) -> Refusal | None:
    """The first of `refusals` that is one; None where none is."""
    return next((refusal for refusal in refusals if refusal is not None), None)


def furthest(refusals: Sequence[Refusal]) -> Refusal:
    """Of several grants' refusals, the one that came closest to a yes; the first among equals."""
    order = (
        "policy_denied",
        "depth_not_granted",
        "grant_not_yet",
        "grant_expired",
        "grant_revoked",
    )
    return min(refusals, key=lambda refusal: order.index(refusal.code))
