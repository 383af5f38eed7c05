"""Receipts: every part of one is bound to the log, and an old one shows a log cut back."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from dutchdoor import canonical
from dutchdoor.clock import FixedClock
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Opening, commit
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.verifier import verify
from tests.check_log import check_log
from tests.evidence.parts import (
    ORIGIN,
    STRANGER,
    TRUST,
    Workspace,
    begun,
    decision_entry,
    small,
)

TRUST_BYTES = encode_trust(TRUST)
OPENING = Opening(b"0123456789abcdef", b"what was asked")


@pytest.fixture
def log(workspace: Workspace) -> Log:
    log = workspace.create()
    log.append([decision_entry(), begun(prompt=commit(OPENING)), small(1), small(2)])
    return log


def problems(folder: Path, receipt: bytes) -> list[str]:
    report = verify(folder, TRUST_BYTES, {"receipt": receipt})
    assert report.receipts == 1
    return [row.what for row in report.findings if row.where == "receipt"]


def test_a_receipt_holds_with_its_openings(log: Log) -> None:
    check_log(log.folder, TRUST, {"r": log.receipt(2, {"prompt": OPENING}), "s": log.receipt(4)})


def test_no_changed_byte_of_a_receipt_holds(log: Log) -> None:
    receipt = log.receipt(2, {"prompt": OPENING})
    for place in range(0, len(receipt), 3):
        changed = receipt[:place] + bytes([receipt[place] ^ 1]) + receipt[place + 1 :]
        assert problems(log.folder, changed), place


CHANGES: dict[str, dict[str, Any]] = {
    "another index": {"index": 3},
    "an index that is no integer": {"index": True},
    "an index beyond": {"index": 5},
    "another size": {"size": 4},
    "no proof": {"proof": []},
    "proof of another type": {"proof": 5},
    "a longer proof": {"proof": [base64.b64encode(bytes(32)).decode()] * 4},
    "an endless proof": {"proof": [base64.b64encode(bytes(32)).decode()] * 5000},
    "another entry": {"entry": base64.b64encode(small(2).encode()).decode()},
    "entry of another type": {"entry": None},
    "no checkpoint": {"checkpoint": ""},
    "checkpoint of another type": {"checkpoint": []},
    "another version": {"v": 2},
    "a field beside": {"more": 1},
    "openings of another type": {"openings": [1]},
    "an opening of another type": {"openings": {"prompt": "x"}},
    "a wrong opening": {
        "openings": {"prompt": {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "content": ""}}
    },
    "an opening of no commitment": {
        "openings": {"person": {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "content": ""}}
    },
    "a salt that is too short": {"openings": {"prompt": {"salt": "AAAA", "content": ""}}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_receipt_with_anything_else_in_it_does_not_hold(log: Log, name: str) -> None:
    value = canonical.parse(log.receipt(2))
    assert problems(log.folder, canonical.encode({**value, **CHANGES[name]}))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b'{"v":1}'])
def test_what_is_no_receipt_does_not_hold(log: Log, data: bytes) -> None:
    assert problems(log.folder, data)


def test_an_old_receipt_shows_up_a_log_that_was_cut_back(log: Log) -> None:
    saved = {
        path: path.read_bytes()
        for path in (log.folder / "checkpoint", log.folder / "journal/000000")
    }
    log.append([small(3)])
    receipt = log.receipt(5)
    log.close()
    for path, data in saved.items():
        path.write_bytes(data)
    assert verify(log.folder, TRUST_BYTES).holds, "alone, the cut log looks whole"
    (problem,) = problems(log.folder, receipt)
    assert "shorter" in problem


def test_a_receipt_shows_up_a_second_history(log: Log, tmp_path: Path) -> None:
    """The same owner, the same key, and a log written anew with something left out."""
    receipt = log.receipt(2)
    other = Workspace(tmp_path / "other", FixedClock())
    second = other.create()
    second.append([decision_entry(), small(7), small(1), small(2)])
    check_log(second.folder, TRUST)
    (problem,) = problems(second.folder, receipt)
    assert "not the one that gave this receipt" in problem


def test_a_receipt_of_a_stranger_does_not_hold(log: Log, tmp_path: Path) -> None:
    other = Log.create(tmp_path / "other", STRANGER, ORIGIN, FixedClock())
    assert problems(log.folder, other.receipt(0))
