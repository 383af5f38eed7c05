"""The database: durable, strict, closed when in doubt."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from dutchdoor.db.engine import Database, DatabaseLimits, open_database, sqlite_url
from dutchdoor.db.migrate import upgrade
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable


@pytest.fixture
def url(tmp_path: Path) -> str:
    upgrade(sqlite_url(tmp_path / "state.db"))
    return sqlite_url(tmp_path / "state.db")


def scalar(database: Database, statement: str) -> object:
    with database.read() as connection:
        return connection.exec_driver_sql(statement).scalar_one_or_none()


def add(database: Database, name: str) -> None:
    with database.write() as connection:
        connection.execute(
            sa.text("INSERT INTO vector_pools (bundle, released) VALUES (:name, 1)"),
            {"name": name},
        )


def test_every_connection_is_durable_and_keeps_its_references(url: str) -> None:
    database = open_database(url)
    for pragma, value in (
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
    ):
        assert scalar(database, f"PRAGMA {pragma}") == value


def test_the_database_and_its_journal_are_their_owners_alone(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    add(database, "x")
    files = list(tmp_path.glob("state.db*"))
    assert len(files) >= 2, "the write-ahead log is there"
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_block_that_raises_leaves_nothing_behind(url: str) -> None:
    database = open_database(url)

    def interrupted() -> None:
        with database.write() as connection:
            connection.exec_driver_sql(
                "INSERT INTO vector_pools (bundle, released) VALUES ('x', 1)"
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert scalar(database, "SELECT count(*) FROM vector_pools") == 0
    add(database, "x")  # and the writer's place is free again


def test_a_writer_that_waits_too_long_is_refused_and_writes_nothing(url: str) -> None:
    holder = open_database(url)
    other = open_database(url, DatabaseLimits(busy_ms_max=50))
    with holder.write() as connection:
        connection.exec_driver_sql("INSERT INTO vector_pools (bundle, released) VALUES ('x', 1)")
        for late in (other, open_database(url, DatabaseLimits(busy_ms_max=50))):
            with pytest.raises(Unavailable) as unavailable:
                add(late, "y")
            assert unavailable.value.code == "database_unavailable"
    assert scalar(other, "SELECT group_concat(bundle) FROM vector_pools") == "x"


def test_a_writer_in_the_same_process_queues_and_does_not_wait_for_ever(url: str) -> None:
    database = open_database(url, DatabaseLimits(busy_ms_max=50))
    errors: list[DutchdoorError] = []

    def late() -> None:
        try:
            add(database, "y")
        except Unavailable as error:
            errors.append(error)

    with database.write():
        thread = threading.Thread(target=late)
        thread.start()
        thread.join()
    assert [error.code for error in errors] == ["database_unavailable"]
    add(database, "y")


def test_readers_see_one_moment_while_a_writer_writes(url: str) -> None:
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO vector_pools (bundle, released) VALUES ('x', 1)")
        assert scalar(database, "SELECT count(*) FROM vector_pools") == 0
    assert scalar(database, "SELECT count(*) FROM vector_pools") == 1


def test_no_error_shows_what_was_being_stored(url: str) -> None:
    database = open_database(url)
    add(database, "secret-name")
    with pytest.raises(Invalid) as invalid:
        add(database, "secret-name")
    cause: BaseException | None = invalid.value
    while cause is not None:
        assert "secret-name" not in str(cause)
        cause = cause.__cause__


def test_a_reference_to_nobody_is_refused(url: str) -> None:
    database = open_database(url)
    with pytest.raises(Invalid), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO budget_use VALUES ('nobody', 0, 0, 0, 0)")


def test_a_counter_below_zero_is_refused_by_the_database_itself(url: str) -> None:
    database = open_database(url)
    with pytest.raises(Invalid), database.write() as connection:
        connection.exec_driver_sql("INSERT INTO vector_pools (bundle, released) VALUES ('x', -1)")


def test_a_damaged_database_is_unavailable_not_empty(url: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all, but long enough to be one" * 100)
    for leftover in tmp_path.glob("state.db-*"):
        leftover.unlink()
    with pytest.raises(Unavailable):
        open_database(url)


def test_a_missing_database_is_not_silently_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_database(sqlite_url(tmp_path / "state.db"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "not a url", ""])
def test_a_database_that_keeps_nothing_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_database(url)


def test_a_password_in_a_broken_url_is_not_repeated() -> None:
    with pytest.raises(Invalid) as invalid:
        open_database("nonsense:hunter2@@")
    assert "hunter2" not in str(invalid.value)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_database_that_others_may_read_is_not_opened(
    url: str, tmp_path: Path, suffix: str, mode: int
) -> None:
    path = tmp_path / f"state.db{suffix}"
    path.touch()
    path.chmod(mode)
    with pytest.raises(Refused) as caught:
        open_database(url)
    assert caught.value.code == "loose_permissions"
    path.chmod(0o600)
    if suffix:
        path.unlink()  # It was no journal.
    open_database(url).close()


def test_a_database_in_a_folder_that_anybody_writes_is_not_opened(url: str, tmp_path: Path) -> None:
    before = tmp_path.stat().st_mode
    tmp_path.chmod(0o777)
    try:
        with pytest.raises(Refused) as caught:
            open_database(url)
        assert caught.value.code == "loose_permissions"
    finally:
        tmp_path.chmod(before)
    open_database(url).close()
