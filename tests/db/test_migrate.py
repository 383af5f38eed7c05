"""Migrations: they agree with the tables, happen whole or not, and never run backwards."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from dutchdoor.db import migrate
from dutchdoor.db.engine import open_database, sqlite_url
from dutchdoor.db.migrate import MIGRATIONS, upgrade
from dutchdoor.db.schema import SCHEMA_REVISION, metadata
from dutchdoor.errors import Invalid, Unavailable

SOURCE = Path(__file__).parents[2] / "src" / "dutchdoor"


def all_tables() -> sa.MetaData:
    """The tables of every room that keeps some."""
    for store in sorted(SOURCE.glob("*/store.py")):
        importlib.import_module(f"dutchdoor.{store.parent.name}.store")
    return metadata


def test_tables_and_migrations_agree(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "state.db")
    upgrade(url)
    with open_database(url).read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, all_tables()) == []


def test_named_constraints_agree_too(tmp_path: Path) -> None:
    """What the comparison above does not look at."""
    url = sqlite_url(tmp_path / "state.db")
    upgrade(url)
    with open_database(url).read() as connection:
        inspector = sa.inspect(connection)
        for table in all_tables().sorted_tables:
            mine = {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            there = {str(c["name"]) for c in inspector.get_check_constraints(table.name)}
            assert mine == there, table.name


def test_the_newest_migration_is_the_schema_this_program_speaks() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]
    names = sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert names[-1] == SCHEMA_REVISION, "text order is time order"


def test_every_table_can_be_made_on_postgresql() -> None:
    for table in all_tables().sorted_tables:
        dialect: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
        statement = str(CreateTable(table).compile(dialect=dialect))
        assert statement.strip().startswith("CREATE TABLE"), table.name


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "state.db")
    assert upgrade(url) == upgrade(url) == SCHEMA_REVISION
    with open_database(url).read() as connection:
        assert connection.exec_driver_sql("SELECT epoch FROM access_epoch").scalars().all() == [1]


def test_a_schema_newer_than_this_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "state.db")
    upgrade(url)
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for opened in (upgrade, open_database):
        with pytest.raises(Invalid) as invalid:
            opened(url)
        assert invalid.value.code == "schema_newer"
    with database.read() as connection:
        query = "SELECT version_num FROM alembic_version"
        assert connection.exec_driver_sql(query).scalar_one() == "9999"


def test_an_empty_or_older_database_is_refused_until_it_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.touch(mode=0o600)
    with pytest.raises(Invalid) as invalid:
        open_database(sqlite_url(path))
    assert invalid.value.code == "schema_older"
    upgrade(sqlite_url(path))
    open_database(sqlite_url(path)).close()


def test_a_migration_that_fails_in_the_middle_leaves_the_old_schema_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    for file in sorted((MIGRATIONS / "versions").glob("*.py")):
        broken = file.read_text().replace('"id = 1"', '"no such column = 1"')
        (versions / file.name).write_text(broken)
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "migrations")
    url = sqlite_url(tmp_path / "state.db")
    with pytest.raises(Unavailable):
        upgrade(url)
    monkeypatch.undo()
    engine = sa.create_engine(url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    upgrade(url)


def test_programs_that_start_together_migrate_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "state.db")
    code = f"from dutchdoor.db.migrate import upgrade; print(upgrade({url!r}))"
    programs = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [program.communicate(timeout=60)[0].strip() for program in programs]
    assert outputs == [SCHEMA_REVISION] * 4
    open_database(url).close()
