"""The database, opened: short transactions that are on disk when they return, or did not happen."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dutchdoor.config import missing_hint
from dutchdoor.db.schema import SCHEMA_REVISION
from dutchdoor.errors import Invalid, NotFound, Refused, Unavailable

__all__ = [
    "Database",
    "DatabaseLimits",
    "check_revision",
    "create_sqlite",
    "open_database",
    "parse_url",
    "sqlite_url",
]

_WRITES = "dutchdoor_writes"


@dataclass(frozen=True)
class DatabaseLimits:
    """What a process may ask of the database.

    busy_ms_max: how long a writer waits for the others. connections_max: open at once.
    """

    busy_ms_max: int = 5_000
    connections_max: int = 8


class Database:
    """A database whose transactions are durable; safe to share between threads, not over a fork."""

    def __init__(self, url: str, limits: DatabaseLimits | None = None) -> None:
        self._limits = limits or DatabaseLimits()
        self._engine = _engine(url, self._limits)
        # SQLite waits for a lock by polling, which is unfair; within a process we queue instead.
        self._writer = threading.Lock()
        self._lite = self._engine.dialect.name == "sqlite"
        self._writing = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment and changes nothing.

        Raises Unavailable: the database cannot be read.
        """
        with _driver_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction alone with the database from its first statement; committed at the end.

        Whatever the block raises undoes it.
        Raises Unavailable: the database cannot be written, or others held it too long; nothing
        was written. Invalid: a name that exists already, or one that does not.
        """
        if not self._lite:
            with _driver_errors(), self._writing.begin() as connection:
                yield connection
            return
        if not self._writer.acquire(timeout=self._limits.busy_ms_max / 1000):
            raise _unavailable()
        try:
            with _driver_errors(), self._writing.begin() as connection:
                yield connection
        finally:
            self._writer.release()

    def close(self) -> None:
        """Close every connection; the database itself stays."""
        self._engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of the SQLite database at `path`."""
    return f"sqlite:///{path.resolve()}"


def create_sqlite(path: Path) -> None:
    """Make an empty file for the database that only its owner may read, where there is none.

    SQLite gives its journal the same mode.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise Unavailable(f"{path} cannot be made", code="database_unavailable") from error


def open_database(url: str, limits: DatabaseLimits | None = None) -> Database:
    """The database at `url`, of exactly this program's schema.

    Raises NotFound: there is none. Invalid: its schema is older or newer than this program, or
    the URL is not one we can use. Refused: others may read its files, or write to its folder.
    Unavailable: it cannot be read.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database))
        if not path.is_file():
            hint = missing_hint(path.parent, "its state database")
            raise NotFound("there is no state database here", code="no_database", hint=hint)
        _must_be_private(path)
    database = Database(url, limits)
    try:
        with database.read() as connection:
            has_schema = sqlalchemy.inspect(connection).has_table("alembic_version")
            revision = ""
            if has_schema:
                query = "SELECT version_num FROM alembic_version"
                revision = str(connection.exec_driver_sql(query).scalar_one_or_none() or "")
        check_revision(revision)
    except BaseException:
        database.close()
        raise
    return database


def _must_be_private(path: Path) -> None:
    """Raises Refused where others may read the database's files or put others in their place."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        file = path.with_name(name)
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except FileNotFoundError:
            continue  # Its journals are there only while somebody has it open.
        if mode & 0o077:
            message = f"others may read {name} (mode {mode:04o})"
            raise Refused(message, code="loose_permissions", hint=f"chmod 600 {file}")
    mode = stat.S_IMODE(path.parent.stat().st_mode)
    if mode & 0o002:
        message = f"anybody may write to the folder of {path.name} (mode {mode:04o})"
        raise Refused(message, code="loose_permissions", hint=f"chmod o-w {path.parent}")


def check_revision(revision: str) -> None:
    """Raises Invalid: `revision` ("" for an empty database) is not this program's schema."""
    if revision > SCHEMA_REVISION:
        message = f"the database's schema is newer than this program ({revision})"
        hint = "use the dutchdoor that made it, or a newer one"
        raise Invalid(message, code="schema_newer", hint=hint)
    if revision < SCHEMA_REVISION:
        message = f"the database's schema is older than this program ({revision or 'none'})"
        hint = "stop the server, then bring it up to date with 'dutchdoor upgrade'"
        raise Invalid(message, code="schema_older", hint=hint)


@contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        message = "it exists already, or what it refers to does not"
        raise Invalid(message, code="database_conflict") from error
    except SQLAlchemyError as error:
        raise _unavailable() from error


def _unavailable() -> Unavailable:
    message = "the state database cannot be used now"
    hint = "check that its disk is writable and not full, and that no other program holds it"
    return Unavailable(message, code="database_unavailable", hint=hint)


def parse_url(url: str) -> sqlalchemy.URL:
    """The parts of a database's URL. Raises Invalid: not one, or one that keeps nothing."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        # The URL may hold a password: neither it nor its parser's message goes on.
        raise Invalid("not the URL of a database", code="bad_database") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise Invalid("a database in memory keeps nothing", code="bad_database")
    return parsed


def _engine(url: str, limits: DatabaseLimits) -> Engine:
    parsed = parse_url(url)
    # hide_parameters: an error of the driver never shows what was being stored.
    engine = sqlalchemy.create_engine(
        parsed,
        hide_parameters=True,
        pool_size=limits.connections_max,
        max_overflow=0,
        pool_timeout=limits.busy_ms_max / 1000,
    )
    if engine.dialect.name == "sqlite":
        _make_durable(engine, limits.busy_ms_max)
    return engine


def _make_durable(engine: Engine, busy_ms_max: int) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # The driver's own transactions begin late and lazily; ours begin where we say.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={busy_ms_max}")
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: a commit has reached the disk when it returns, not only the operating system.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        # IMMEDIATE: two writers that both read before they write would else both read the old.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
