"""The access room's tables, and the transactions on them: strict, durable, never overshooting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from dutchdoor.access.directory import Directory, make_directory
from dutchdoor.access.extraction import vectors_worth
from dutchdoor.access.model import (
    Amounts,
    Budget,
    Grant,
    KeyRecord,
    Person,
    Refusal,
    Reservation,
)
from dutchdoor.access.rows import (
    Pool,
    amounts_of,
    amounts_row,
    grant_of,
    grant_row,
    key_of,
    person_of,
    person_row,
)
from dutchdoor.access.rules import Spending, budget_refusal, first, holder_refusal, standing_refusal
from dutchdoor.db.engine import Database
from dutchdoor.db.schema import metadata
from dutchdoor.errors import NotFound
from dutchdoor.ids import BundleDigest, GrantId, KeyId, PersonId

__all__ = ["AccessStore", "Change"]

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("organisation", sa.String(200), nullable=False),
    sa.Column("audience", sa.String(40), nullable=False),
    sa.Column("added_ms", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
)
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("keyed_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("issued_ms", sa.BigInteger, nullable=False),
    sa.Column("not_after_ms", sa.BigInteger),
    sa.Column("revoked_ms", sa.BigInteger),
)
grants = sa.Table(
    "grants",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("person", sa.ForeignKey("people.id"), nullable=False, index=True),
    sa.Column("bundle", sa.String(71), nullable=False),
    sa.Column("purpose", sa.String(2000), nullable=False),
    sa.Column("depths", sa.String(400), nullable=False),
    sa.Column("requests_max", sa.BigInteger, nullable=False),
    sa.Column("tokens_max", sa.BigInteger, nullable=False),
    sa.Column("vectors_max", sa.BigInteger, nullable=False),
    sa.Column("not_before_ms", sa.BigInteger, nullable=False),
    sa.Column("not_after_ms", sa.BigInteger, nullable=False),
    sa.Column("content_mode", sa.String(20), nullable=False),
    sa.Column("monitor_mode", sa.String(20), nullable=False),
    sa.Column("agentic", sa.Boolean, nullable=False),
    sa.Column("concurrency_max", sa.Integer, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("made_ms", sa.BigInteger, nullable=False),
)
budget_use = sa.Table(
    "budget_use",
    metadata,
    sa.Column("grant_id", sa.ForeignKey("grants.id"), primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("vectors", sa.BigInteger, nullable=False),
    sa.Column("numbers", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("requests >= 0 AND tokens >= 0 AND vectors >= 0", name="not_negative"),
)
vector_pools = sa.Table(
    "vector_pools",
    metadata,
    sa.Column("bundle", sa.String(71), primary_key=True),
    sa.Column("released", sa.BigInteger, nullable=False),
    # Single numbers beside the vectors, and how many of them make one: the smallest hidden size
    # that a reservation named, so that no later one makes them cheaper.
    sa.Column("numbers", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("hidden", sa.BigInteger, nullable=False, server_default="0"),
    sa.CheckConstraint("released >= 0", name="not_negative"),
)
reservations = sa.Table(
    "reservations",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("grant_id", sa.ForeignKey("grants.id"), nullable=False, index=True),
    sa.Column("bundle", sa.String(71), nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("vectors", sa.BigInteger, nullable=False),
    sa.Column("numbers", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reserved_ms", sa.BigInteger, nullable=False),
)
access_epoch = sa.Table(
    "access_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)

_STANDING = (
    # All that a reservation depends on, in one look. FOR UPDATE is nothing to SQLite, which is
    # locked already, and the lock on PostgreSQL.
    sa.select(
        grants,
        people.c.active.label("holder_active"),
        budget_use.c.requests.label("used_requests"),
        budget_use.c.tokens.label("used_tokens"),
        budget_use.c.vectors.label("used_vectors"),
        budget_use.c.numbers.label("used_numbers"),
        sa.select(sa.func.count())
        .where(reservations.c.grant_id == grants.c.id)
        .scalar_subquery()
        .label("open_count"),
    )
    .join_from(grants, people)
    .join(budget_use, budget_use.c.grant_id == grants.c.id)
    .where(grants.c.id == sa.bindparam("grant"))
    .with_for_update(of=[grants, budget_use])
)


class Change:
    """One change to people, keys or grants, in the transaction of `AccessStore.change`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_person(self, person: Person) -> None:
        self._connection.execute(people.insert().values(**person_row(person)))

    def deactivate_person(self, person: PersonId) -> Person:
        """The person, no longer active. Raises NotFound: there is no such person."""
        before = self.person(person)
        query = people.update().where(people.c.id == person).values(active=False)
        self._connection.execute(query)
        return before

    def person(self, person: PersonId) -> Person:
        """Raises NotFound: there is no such person."""
        row = self._connection.execute(people.select().where(people.c.id == person)).first()
        if row is None:
            hint = "see 'dutchdoor people'"
            raise NotFound(f"there is no person '{person}'", code="no_person", hint=hint)
        return person_of(row)

    def add_key(self, key: KeyRecord, keyed_hash: str) -> None:
        self._connection.execute(
            api_keys.insert().values(
                id=key.id,
                person=key.person,
                keyed_hash=keyed_hash,
                issued_ms=key.issued_ms,
                not_after_ms=key.not_after_ms,
                revoked_ms=key.revoked_ms,
            )
        )

    def revoke_key(self, key: KeyId, now_ms: int) -> tuple[KeyRecord, bool]:
        """The key as it was, and whether this revoked it. Raises NotFound: there is none."""
        row = self._connection.execute(api_keys.select().where(api_keys.c.id == key)).first()
        if row is None:
            raise NotFound(f"there is no API key '{key}'", code="no_key")
        if row.revoked_ms is not None:
            return key_of(row), False
        query = api_keys.update().where(api_keys.c.id == key).values(revoked_ms=now_ms)
        self._connection.execute(query)
        return key_of(row), True

    def add_grant(self, grant: Grant, now_ms: int) -> None:
        self._connection.execute(grants.insert().values(**grant_row(grant), made_ms=now_ms))
        zero = amounts_row(Amounts())
        self._connection.execute(budget_use.insert().values(grant_id=grant.id, **zero))

    def revoke_grant(self, grant: GrantId) -> tuple[Grant, bool]:
        """The grant as it was, and whether this revoked it. Raises NotFound: there is none."""
        query = grants.select().where(grants.c.id == grant).with_for_update()
        row = self._connection.execute(query).first()
        if row is None:
            raise _no_grant(grant)
        before = grant_of(row)
        if before.active:
            self._connection.execute(
                grants.update().where(grants.c.id == grant).values(active=False)
            )
        return before, before.active


class AccessStore:
    """People, keys, grants, what was spent, and what is set aside, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def epoch(self) -> int:
        """The number of the last change to people, keys or grants, by whichever process."""
        with self._database.read() as connection:
            return _epoch(connection)

    def directory(self) -> Directory:
        """All people, keys and grants at one moment."""
        with self._database.read() as connection:
            epoch = _epoch(connection)
            found_people = [person_of(row) for row in connection.execute(people.select())]
            keys = [(row.keyed_hash, key_of(row)) for row in connection.execute(api_keys.select())]
            newest = grants.select().order_by(grants.c.made_ms.desc(), grants.c.id)
            found_grants = [grant_of(row) for row in connection.execute(newest)]
        return make_directory(epoch, found_people, keys, found_grants)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """A change to people, keys or grants; other processes see it by the epoch it raises."""
        with self._database.write() as connection:
            # Before the change is made and recorded, so that it cannot fail after the recording.
            connection.execute(access_epoch.update().values(epoch=access_epoch.c.epoch + 1))
            yield Change(connection)

    def reserve(
        self,
        identifier: str,
        grant: GrantId,
        asked: Amounts,
        *,
        vectors_max: int,
        hidden_size: int,
        now_ms: int,
    ) -> Reservation | Refusal:
        """Set `asked` aside, all of it or nothing; durable when this returns.

        What the caller knew of the grant is not trusted: it is read again, alone with the
        database, so that a revocation or a race in between changes the answer.
        Raises NotFound: no such grant. Invalid: a reservation of that id is open.
        """
        with self._database.write() as connection:
            row = connection.execute(_STANDING, {"grant": grant}).first()
            if row is None:
                raise _no_grant(grant)
            found = grant_of(row)
            refusal = first(
                standing_refusal(found, now_ms), holder_refusal(active=row.holder_active)
            )
            if refusal is not None:
                return refusal
            used = Amounts(row.used_requests, row.used_tokens, row.used_vectors, row.used_numbers)
            # For PostgreSQL: this look locks the pool, which other grants share.
            asks = asked.vectors > 0 or asked.numbers > 0
            pool = _pool(connection, found.bundle) if asks else Pool()
            spending = Spending(
                used=used,
                open_count=row.open_count,
                released=pool.vectors,
                numbers=pool.numbers,
                vectors_max=vectors_max,
                hidden_size=min(hidden_size, pool.hidden or hidden_size),
            )
            refusal = budget_refusal(found, asked, spending)
            if refusal is not None:
                return refusal
            connection.execute(
                reservations.insert().values(
                    id=identifier,
                    grant_id=grant,
                    bundle=found.bundle,
                    reserved_ms=now_ms,
                    **amounts_row(asked),
                )
            )
            _spend(connection, grant, asked)
            _release(connection, found.bundle, asked, spending.hidden_size)
        return Reservation(
            id=identifier,
            grant=grant,
            bundle=found.bundle,
            amounts=asked,
            vectors_released=pool.after(asked, spending.hidden_size),
            vectors_max=vectors_max,
            hidden_size=spending.hidden_size,
            details=_left(found.budget, used, asked, spending.hidden_size),
        )

    def settle(self, identifier: str, used_of: Callable[[Amounts], Amounts]) -> bool:
        """Close the reservation with what was used; False where it is closed already.

        used_of: from what was set aside to what was used. Each amount may be less, and the rest
        goes back, or more, and is charged all the same.
        """
        with self._database.write() as connection:
            query = reservations.delete().where(reservations.c.id == identifier)
            row = connection.execute(query.returning(*reservations.c)).first()
            if row is None:
                return False
            held = amounts_of(row)
            used = used_of(held)
            change = used.less(held)
            _spend(connection, GrantId(row.grant_id), change)
            _release(connection, row.bundle, change, 0)
        return True

    def open_reservations(self) -> tuple[Reservation, ...]:
        """All that is set aside and not settled, oldest first."""
        with self._database.read() as connection:
            query = reservations.select().order_by(reservations.c.reserved_ms, reservations.c.id)
            rows = connection.execute(query).all()
        return tuple(
            Reservation(
                id=row.id,
                grant=GrantId(row.grant_id),
                bundle=BundleDigest(row.bundle),
                amounts=amounts_of(row),
            )
            for row in rows
        )

    def used(self, grant: GrantId) -> Amounts:
        """What the grant has spent or set aside. Raises NotFound: no such grant."""
        with self._database.read() as connection:
            query = budget_use.select().where(budget_use.c.grant_id == grant)
            row = connection.execute(query).first()
            if row is None:
                raise _no_grant(grant)
            return amounts_of(row)

    def released(self, bundle: BundleDigest) -> int:
        """The independent vectors of `bundle` released or set aside, over all people."""
        with self._database.read() as connection:
            return _pool(connection, bundle).after(Amounts(), 0)


def _epoch(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT epoch FROM access_epoch").scalar_one())


def _no_grant(grant: GrantId) -> NotFound:
    hint = "see 'dutchdoor grants'"
    return NotFound(f"there is no grant '{grant}'", code="no_grant", hint=hint)


def _pool(connection: Connection, bundle: str) -> Pool:
    columns = (vector_pools.c.released, vector_pools.c.numbers, vector_pools.c.hidden)
    query = sa.select(*columns).where(vector_pools.c.bundle == bundle)
    row = connection.execute(query.with_for_update()).first()
    return Pool() if row is None else Pool(*row)


def _spend(connection: Connection, grant: GrantId, change: Amounts) -> None:
    values = {name: budget_use.c[name] + more for name, more in amounts_row(change).items()}
    connection.execute(budget_use.update().where(budget_use.c.grant_id == grant).values(**values))


def _release(connection: Connection, bundle: str, change: Amounts, hidden_size: int) -> None:
    """Add `change` to the pool. hidden_size: of a reservation; 0 at its settlement."""
    if change.vectors == 0 and change.numbers == 0:
        return
    values: dict[str, Any] = {
        "released": vector_pools.c.released + change.vectors,
        "numbers": vector_pools.c.numbers + change.numbers,
    }
    if hidden_size:
        values["hidden"] = hidden_size
    query = vector_pools.update().where(vector_pools.c.bundle == bundle).values(values)
    if connection.execute(query).rowcount == 0:
        connection.execute(
            vector_pools.insert().values(
                bundle=bundle, released=change.vectors, numbers=change.numbers, hidden=hidden_size
            )
        )


def _left(budget: Budget, used: Amounts, asked: Amounts, hidden_size: int) -> dict[str, int]:
    vectors, numbers = used.vectors + asked.vectors, used.numbers + asked.numbers
    return {
        "requests_left": budget.requests - used.requests - asked.requests,
        "tokens_left": budget.tokens - used.tokens - asked.tokens,
        "vectors_left": budget.vectors - vectors_worth(vectors, numbers, max(hidden_size, 1)),
    }
