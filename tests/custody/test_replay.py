"""What a custodian has answered stays answered: over restarts, crashes and a full memory."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import Refused, Tampered, Unavailable


def name(number: int) -> str:
    return f"sha256:{number:064x}"


def test_a_request_is_held_until_it_expires(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    FileSeen(path).remember(name(1), 1000, 0)
    assert FileSeen(path).holds(name(1), 999)
    assert not FileSeen(path).holds(name(1), 1000)
    assert not FileSeen(path).holds(name(2), 0)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused) as caught:
        FileSeen(path).remember(name(1), 1000, 500)
    assert caught.value.code == "request_replayed"


def test_a_full_memory_stops_closed(tmp_path: Path) -> None:
    seen = FileSeen(tmp_path / "seen", CustodyLimits(seen_requests_max=3))
    for number in range(3):
        seen.remember(name(number), 1000, 0)
    with pytest.raises(Unavailable) as caught:
        seen.remember(name(3), 1000, 0)
    assert caught.value.code == "replay_memory_full"
    seen.remember(name(3), 2000, 1000)


def test_expired_requests_are_dropped_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    for number in range(200):
        FileSeen(path).remember(name(number), number + 1, number)
    assert path.stat().st_size < 4096
    assert FileSeen(path).holds(name(199), 199)


def test_a_write_cut_short_by_a_crash_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    seen = FileSeen(path)
    seen.remember(name(1), 1000, 0)
    with path.open("ab") as file:
        file.write(name(2).encode()[:20])
    assert seen.holds(name(1), 0)
    seen.remember(name(3), 1000, 0)
    assert seen.holds(name(1), 0)
    assert seen.holds(name(3), 0)


def test_a_changed_memory_stops_closed(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    path.write_text("something else\n")
    with pytest.raises(Tampered):
        FileSeen(path).holds(name(1), 0)
    with pytest.raises(Tampered):
        FileSeen(path).remember(name(1), 1000, 0)


def test_a_place_that_cannot_be_written_stops_closed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        FileSeen(tmp_path / "missing" / "seen").remember(name(1), 1000, 0)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        FileSeen(tmp_path / "link").remember(name(1), 1000, 0)


def test_of_many_at_once_one_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    outcomes: list[bool] = []

    def attempt() -> None:
        try:
            FileSeen(path).remember(name(1), 1000, 0)
            outcomes.append(True)
        except Refused:
            outcomes.append(False)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]
