"""Bring a database to this program's schema: all of a migration, or nothing of it."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy

from dutchdoor.db.engine import Database, check_revision, create_sqlite, parse_url
from dutchdoor.db.schema import SCHEMA_REVISION
from dutchdoor.errors import Invalid

__all__ = ["upgrade"]

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(url: str) -> str:
    """Bring the database at `url` to this program's schema; the revision it has now.

    Makes an SQLite file that is not there yet. Does nothing where the schema is right already.
    Raises Invalid: the schema is newer than this program. Unavailable: it cannot be written.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        create_sqlite(Path(parsed.database))
    database = Database(url)
    try:
        # One transaction around everything: a crash in the middle leaves the old schema whole,
        # and two programs that start together do it once.
        with database.write() as connection:
            revision = _revision(connection)
            if revision > SCHEMA_REVISION:
                check_revision(revision)
            if revision < SCHEMA_REVISION:
                _run(connection)
    finally:
        database.close()
    return SCHEMA_REVISION


def _revision(connection: sqlalchemy.Connection) -> str:
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return ""
    rows = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
    if len(rows) > 1:
        raise Invalid("the database has two schemas at once", code="bad_database")
    return str(rows[0]) if rows else ""


def _run(connection: sqlalchemy.Connection) -> None:
    # Imported here: a gateway that finds the right schema never pays for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA_REVISION)
