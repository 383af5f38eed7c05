"""Budgets in slices: what a grant may spend is set aside on disk for many requests at once.

A slice is an open reservation like any other, on disk before anything is spent of it, so that all
processes together never overshoot. One inference at a time holds a slice: it is one of the grant's
places, too. While it has enough left, inferences come and go without a transaction. A slice that
its process takes along when it dies counts as used in full.

Only requests and tokens are sliced. Whatever releases vectors keeps a transaction of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from dutchdoor.access.model import Amounts, Grant, Refusal, Reservation
from dutchdoor.access.store import AccessStore
from dutchdoor.ids import GrantId, random_part

__all__ = ["SLICE_MARK", "Slices", "holder_of_slice"]

SLICE_MARK = "slice."
REQUESTS_MAX = 256
"""So many requests a slice holds at most."""
SHARE = 16
"""A slice takes at most this part of what its grant has left, so that others find something."""
IDLE_S_MAX = 2.0


@dataclass
class _Slice:
    """held: on disk. spent: of that. since_s: when it became idle."""

    id: str
    grant: GrantId
    held: Amounts
    left: Amounts
    spent: Amounts = field(default_factory=Amounts)
    since_s: float = 0.0


@dataclass(frozen=True)
class _Lent:
    slice: _Slice
    amounts: Amounts


def holder_of_slice(identifier: str) -> str:
    """Which process holds the slice of this reservation; "" where it is no slice."""
    mark, _, rest = identifier.partition(".")
    return rest.partition(".")[0] if mark + "." == SLICE_MARK else ""


class Slices:
    """The slices of one process. Safe to share between threads."""

    def __init__(self, store: AccessStore, holder: str, ticks: Callable[[], float]) -> None:
        """holder: the process's name, without a dot. ticks: seconds that only go forward."""
        assert "." not in holder, "a holder's name has no dot"
        self._store = store
        self._holder = holder
        self._ticks = ticks
        self._lock = threading.Lock()
        self._idle: dict[GrantId, list[_Slice]] = {}
        self._lent: dict[str, _Lent] = {}

    def take(self, identifier: str, grant: Grant, asked: Amounts) -> Reservation | None:
        """A reservation out of a slice at hand; None where there is none with enough left."""
        with self._lock:
            if identifier in self._lent:
                return None  # Whoever asks the store hears that it is reserved already.
            for place, found in enumerate(self._idle.get(grant.id, ())):
                left = found.left
                if left.requests >= asked.requests and left.tokens >= asked.tokens:
                    del self._idle[grant.id][place]
                    return self._lend(identifier, grant, found, asked)
        return None

    def lease(
        self, identifier: str, grant: Grant, asked: Amounts, *, now_ms: int
    ) -> Reservation | Refusal:
        """A reservation out of a new slice, on disk; or the store's refusal. Blocking."""
        used_up = self._used_up(grant.id)
        if used_up is not None:
            self._give_back([used_up])
        used = self._store.used(grant.id)
        left = Amounts(grant.budget.requests - used.requests, grant.budget.tokens - used.tokens)
        answer = self._reserve(grant, asked, left, now_ms)
        if isinstance(answer, Refusal):
            # What is idle here holds places and amounts that this request could have.
            self._give_back(self._all_idle(grant.id))
            answer = self._reserve(grant, asked, Amounts(), now_ms)
        if isinstance(answer, Refusal):
            return answer
        fresh = _Slice(answer.id, grant.id, answer.amounts, answer.amounts)
        with self._lock:
            return self._lend(identifier, grant, fresh, asked)

    def settle(self, identifier: str, used: Amounts) -> bool:
        """Charge the slice with what was used; False where nothing was lent to `identifier`."""
        with self._lock:
            lent = self._lent.pop(identifier, None)
            if lent is None:
                return False
            found = lent.slice
            found.spent = _sum(found.spent, used)
            found.left = Amounts(
                found.held.requests - found.spent.requests, found.held.tokens - found.spent.tokens
            )
            found.since_s = self._ticks()
            self._idle.setdefault(found.grant, []).append(found)
            return True

    def holds(self, identifier: str) -> bool:
        """Whether a slice is lent to `identifier`."""
        return identifier in self._lent

    def unspent(self, grant: GrantId) -> Amounts:
        """What stands as used on disk, and is neither spent nor set aside for an inference."""
        with self._lock:
            rows = [found.left for found in self._idle.get(grant, ())]
            rows += [
                Amounts(
                    lent.slice.left.requests - lent.amounts.requests,
                    lent.slice.left.tokens - lent.amounts.tokens,
                )
                for lent in self._lent.values()
                if lent.slice.grant == grant
            ]
        total = Amounts()
        for row in rows:
            total = _sum(total, row)
        return total

    def tidy(self) -> None:
        """Give back what has been idle for two seconds. Blocking. Raises Unavailable."""
        before_s = self._ticks() - IDLE_S_MAX
        with self._lock:
            old = [f for rows in self._idle.values() for f in rows if f.since_s <= before_s]
        self._give_back(self._claim(old))

    def give_back(self, grant: GrantId | None = None) -> bool:
        """Give back all that is idle, of one grant or of all; whether there was any. Blocking."""
        grants = list(self._idle) if grant is None else [grant]
        rows = [found for each in grants for found in self._all_idle(each)]
        self._give_back(rows)
        return bool(rows)

    def _lend(self, identifier: str, grant: Grant, found: _Slice, asked: Amounts) -> Reservation:
        self._lent[identifier] = _Lent(found, asked)
        return Reservation(id=identifier, grant=grant.id, bundle=grant.bundle, amounts=asked)

    def _reserve(
        self, grant: Grant, asked: Amounts, left: Amounts, now_ms: int
    ) -> Reservation | Refusal:
        """A new slice: a share of what is `left`, and what is asked at least."""
        requests = max(min(REQUESTS_MAX, left.requests // SHARE), asked.requests)
        tokens = max(min(asked.tokens * requests, left.tokens // SHARE), asked.tokens)
        whole = Amounts(requests, tokens)
        return self._store.reserve(
            f"{SLICE_MARK}{self._holder}.{random_part(12)}",
            grant.id,
            whole,
            vectors_max=0,
            hidden_size=0,
            now_ms=now_ms,
        )

    def _used_up(self, grant: GrantId) -> _Slice | None:
        """A slice that is idle because too little is left of it; no longer at hand."""
        with self._lock:
            rows = self._idle.get(grant)
            return rows.pop(0) if rows else None

    def _all_idle(self, grant: GrantId) -> list[_Slice]:
        with self._lock:
            return self._idle.pop(grant, [])

    def _claim(self, rows: list[_Slice]) -> list[_Slice]:
        """Those of `rows` that are idle still; no longer at hand."""
        claimed = []
        with self._lock:
            for found in rows:
                idle = self._idle.get(found.grant, [])
                if found in idle:
                    idle.remove(found)
                    claimed.append(found)
        return claimed

    def _give_back(self, rows: list[_Slice]) -> None:
        """Settle slices that nobody can take any more. Raises Unavailable: they stay idle."""
        rest = list(rows)
        try:
            while rest:
                self._store.settle(rest[0].id, partial(_spent, rest[0]))
                rest.pop(0)
        finally:
            with self._lock:
                for found in rest:
                    self._idle.setdefault(found.grant, []).append(found)


def _spent(found: _Slice, _held: Amounts) -> Amounts:
    return found.spent


def _sum(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(one.requests + other.requests, one.tokens + other.tokens)
