"""Nobody is drawn by anything but list and seed, and anybody can draw again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.release.panels.draw import Row, draw, must_have_seats, read_list

NAMES = [f"person-{n:02d}" for n in range(40)]
ROWS = tuple(Row(name, "") for name in NAMES)
REGIONS = tuple(Row(name, "north" if n % 4 else "south") for n, name in enumerate(NAMES))
SEEDS = ("a3f1", "0042")


def drawn(rows: tuple[Row, ...] = ROWS, **terms: object) -> tuple[str, ...]:
    given_terms = {"panel": "panel_x", "seeds": SEEDS, "seats": 7, "quotas": {}, **terms}
    return draw(rows, **given_terms)  # type: ignore[arg-type]


def test_the_same_list_and_seed_draw_the_same_people_whatever_the_order() -> None:
    assert drawn() == drawn(tuple(reversed(ROWS)))
    assert len(set(drawn())) == 7


def test_another_seed_another_panel_or_another_order_of_seeds_draws_others() -> None:
    base = set(drawn())
    assert set(drawn(seeds=("a3f1", "0043"))) != base
    assert set(drawn(seeds=SEEDS[::-1])) != base
    assert set(drawn(panel="panel_y")) != base


def test_anybody_draws_again_with_a_shell(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("name,region\n" + "".join(f"{row.name},{row.stratum}\n" for row in REGIONS))
    script = (
        "tail -n +2 people.csv | cut -d, -f1 | while read -r name; do "
        "printf 'dutchdoor-panel-draw-1\\n%s\\n%s\\n%s\\n%s' panel_x a3f1 0042 \"$name\" "
        '| sha256sum | cut -c1-64 | tr "\\n" " "; echo "$name"; done | sort | head -n 7 '
        "| cut -d' ' -f2"
    )
    ran = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert tuple(ran.stdout.split()) == drawn(read_list(people.read_bytes()))


def test_each_stratum_gets_its_quota() -> None:
    seated = drawn(REGIONS, seats=6, quotas={"north": 2, "south": 4})
    strata = dict(REGIONS)
    assert sorted(strata[name] for name in seated) == ["north"] * 2 + ["south"] * 4


def test_who_declines_is_followed_by_the_next_of_the_same_stratum() -> None:
    quotas = {"north": 2, "south": 4}
    first = drawn(REGIONS, seats=6, quotas=quotas)
    second = drawn(REGIONS, seats=6, quotas=quotas, declined=[first[0]])
    assert set(first) - set(second) == {first[0]}
    (new,) = set(second) - set(first)
    assert dict(REGIONS)[new] == dict(REGIONS)[first[0]]


def test_nobody_who_was_not_drawn_can_be_struck_as_declining() -> None:
    last = next(name for name in NAMES if name not in drawn(seats=30))
    with pytest.raises(Invalid, match="cannot decline"):
        drawn(declined=[last])


def test_an_exhausted_stratum_seats_nobody_from_another() -> None:
    with pytest.raises(Invalid, match="exhausted"):
        drawn(REGIONS, seats=12, quotas={"north": 1, "south": 11})
    with pytest.raises(Invalid, match="10 people for 11 seats"):
        must_have_seats(REGIONS, 12, {"north": 1, "south": 11})


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "first column"),
        (b"id\na\n", "first column"),
        (b"name\n", "no people"),
        (b"name\na\na\n", "twice"),
        (b"name,region\na\n", "another length"),
        (b"name\n\xff\n", "UTF-8"),
        (b'name\n"a\n', "CSV"),
        (b"name,name\na,b\n", "twice"),
    ],
)
def test_a_list_that_could_be_read_in_two_ways_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        read_list(data)


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(Invalid, match="no column"):
        read_list(b"name\na\n", "region")


@given(st.integers(1, 40), st.text("0123456789abcdef", min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_larger_panel_keeps_all_of_a_smaller_one(seats: int, seed: str) -> None:
    smaller, larger = (drawn(seats=n, seeds=(seed,)) for n in (max(1, seats - 1), seats))
    assert larger[: len(smaller)] == smaller
