"""What leaves is counted before it leaves, and no restart, clock or editor gives it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.clock import FixedClock
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.runtime.egress import EgressMeter, open_meter

DAY_MS = 86_400_000
MOST = 1_000


@contextmanager
def metered(path: Path, clock: FixedClock, most: int = MOST) -> Iterator[EgressMeter]:
    with open_meter(path) as handle:
        yield EgressMeter(handle, most, clock)


def test_the_limit_is_the_limit(tmp_path: Path) -> None:
    with metered(tmp_path / "m", FixedClock()) as meter:
        for _ in range(10):
            meter.take(MOST // 10)
        with pytest.raises(Refused) as caught:
            meter.take(1)
        assert caught.value.code == "egress_exhausted"
        with pytest.raises(Refused):
            meter.check()
        assert meter.bytes_today == MOST


def test_a_crash_never_gives_back_what_left(tmp_path: Path) -> None:
    clock, left = FixedClock(), 0
    for _ in range(60):
        with metered(tmp_path / "m", clock) as meter:
            try:
                meter.take(37)
            except Refused:
                break
            left += 37  # And then it dies: nothing is closed, nothing is settled.
    else:
        raise AssertionError("the limit was never reached")
    assert left <= MOST


def test_a_clock_set_back_does_not_give_the_day_again(tmp_path: Path) -> None:
    clock = FixedClock()
    with metered(tmp_path / "m", clock) as meter:
        meter.take(MOST)
    earlier = FixedClock(clock.now_ms() - 2 * DAY_MS)
    with metered(tmp_path / "m", earlier) as meter, pytest.raises(Refused):
        meter.take(1)
    clock.advance(DAY_MS)
    with metered(tmp_path / "m", clock) as meter:
        meter.take(MOST)


def test_a_new_day_begins_while_a_runtime_runs(tmp_path: Path) -> None:
    clock = FixedClock()
    with metered(tmp_path / "m", clock) as meter:
        meter.take(MOST)
        clock.advance(DAY_MS)
        assert meter.bytes_today == 0
        meter.take(MOST)
        with pytest.raises(Refused):
            meter.take(1)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_a_meter_that_no_runtime_wrote_opens_nothing(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m"
        path.write_bytes(data)
        with pytest.raises(Refused) as caught, metered(path, FixedClock()):
            pass
        assert caught.value.code == "egress_meter_changed"


def test_a_number_edited_by_hand_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with metered(path, FixedClock()) as meter:
        meter.take(MOST)
    text = path.read_bytes()
    path.write_bytes(text.replace(b"1000", b"0000"))
    with pytest.raises(Refused), metered(path, FixedClock()):
        pass


def test_a_limit_without_a_place_to_count_opens_nothing() -> None:
    with pytest.raises(Unavailable):
        EgressMeter(-1, MOST, FixedClock())


def test_what_cannot_be_written_down_does_not_leave(tmp_path: Path) -> None:
    import os

    path = tmp_path / "m"
    path.touch()
    handle = os.open(path, os.O_RDONLY)
    try:
        meter = EgressMeter(handle, MOST, FixedClock())
        with pytest.raises(Unavailable):
            meter.take(1)
        assert meter.bytes_today == 0
    finally:
        os.close(handle)


def test_a_link_in_the_meters_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "m").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable), metered(tmp_path / "m", FixedClock()):
        pass
