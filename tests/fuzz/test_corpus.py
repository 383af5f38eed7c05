"""Whatever bytes a parser is given, it gives a value or an error of ours: the corpus, replayed.

`run.py` fuzzes for longer, guided by coverage; this holds what it found.
"""

from __future__ import annotations

from random import Random

import pytest

from dutchdoor.errors import DutchdoorError
from tests.fuzz.corpus_files import FOLDER, load
from tests.fuzz.mutate import mutate
from tests.fuzz.targets import TARGETS

CHANGES = 150


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_any_bytes_give_a_value_or_our_own_error(name: str) -> None:
    good = TARGETS[name].seeds()
    for data in good:
        assert run_one(name, data) == "" or name in MAY_REFUSE_SEEDS
    random = Random(7)
    kept = load(name)
    changed = [mutate(random.choice([*good, *kept]), random) for _ in range(CHANGES)]
    for data in (*kept, *changed, b"", b"\0" * 5_000, b"[" * 5_000, b"\xff\xfe"):
        run_one(name, data)


MAY_REFUSE_SEEDS = {
    "from_runtime", "to_runtime", "share_words", "xwing_open", "age_identity", "key_file_locked",
}  # fmt: skip
"""Their seeds are shared with another target, or of the right form only."""


def run_one(name: str, data: bytes) -> str:
    try:
        TARGETS[name].run(data)
    except DutchdoorError as error:
        return error.code or "no code"
    return ""


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(TARGETS)
