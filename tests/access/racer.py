"""A process that races others for the budget of one grant: `racer.py FOLDER GRANT NAME COUNT`.

Prints how many reservations it got, after settling none of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dutchdoor.access.model import Amounts, Reservation
from dutchdoor.access.store import AccessStore
from dutchdoor.clock import FixedClock
from dutchdoor.ids import GrantId
from tests.access.house import HIDDEN_SIZE, database


def race(folder: Path, grant: GrantId, name: str, count: int) -> int:
    """How many of `count` reservations of one vector each were given."""
    store = AccessStore(database(folder))
    won = 0
    for number in range(count):
        answer = store.reserve(
            f"inf_{name}_{number}",
            grant,
            Amounts(requests=1, tokens=10, vectors=1),
            vectors_max=70,
            hidden_size=HIDDEN_SIZE,
            now_ms=FixedClock().now_ms(),
        )
        won += isinstance(answer, Reservation)
    return won


if __name__ == "__main__":
    print(race(Path(sys.argv[1]), GrantId(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
