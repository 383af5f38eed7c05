"""trust.json: strict, because whoever changes it decides whose decisions count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound, Unavailable
from dutchdoor.evidence.trust import encode_trust, load_trust, log_key, parse_trust, save_trust
from dutchdoor.evidence.verify.keys import read_trust
from tests.evidence.parts import ALICE, ORIGIN, TRUST

VALUE = json.loads(encode_trust(TRUST))


def test_trust_round_trips_in_both_forms(tmp_path: Path) -> None:
    save_trust(tmp_path / "trust.json", TRUST)
    assert load_trust(tmp_path / "trust.json") == TRUST
    assert parse_trust(canonical.encode(VALUE)) == TRUST
    assert log_key(TRUST).name == ORIGIN
    nobody = replace(TRUST, approvers={}, holder={}, approvals_min=1)
    assert parse_trust(encode_trust(nobody)) == nobody


CHANGES: dict[str, dict[str, Any]] = {
    "another version": {"v": 2},
    "a field beside": {"more": 1},
    "no minimum": {"approvals_min": 0},
    "a minimum that is none": {"approvals_min": True},
    "a log that is none": {"log": "x"},
    "a log of another type": {"log": 5},
    "holder of another type": {"holder": []},
    "a key under another id": {"holder": {"ed25519:0000000000000000": "A" * 43 + "="}},
    "a key that is none": {"holder": {"ed25519:0000000000000000": 5}},
    "a key too short": {"holder": {"ed25519:0000000000000000": "AAAA"}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_wrong_field_is_refused_by_both_implementations(name: str) -> None:
    data = canonical.encode({**VALUE, **CHANGES[name]})
    with pytest.raises(Invalid):
        parse_trust(data)
    if name != "a field beside":
        with pytest.raises(Invalid):
            read_trust(data)


def test_a_key_written_twice_is_refused() -> None:
    text = encode_trust(TRUST).decode()
    key = next(iter(VALUE["holder"]))
    other = next(iter(VALUE["approvers"]))
    doubled = text.replace('"holder": {', f'"holder": {{"{key}": "{VALUE["holder"][key]}",')
    for data in (doubled, text.replace(other, key), text + " ", text.replace("2", "2.0")):
        with pytest.raises(Invalid):
            parse_trust(data.encode())


@given(st.binary(max_size=60))
def test_noise_raises_only_our_errors(data: bytes) -> None:
    for parse in (parse_trust, read_trust):
        with pytest.raises(Invalid):
            parse(data)


def test_missing_and_unwritable_files_have_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        load_trust(tmp_path / "trust.json")
    assert caught.value.hint
    with pytest.raises(Unavailable):
        load_trust(tmp_path)
    with pytest.raises(Unavailable):
        save_trust(tmp_path / "nowhere" / "trust.json", TRUST)


def test_both_implementations_read_the_same_keys() -> None:
    second = read_trust(encode_trust(TRUST))
    assert (second.origin, second.log, second.approvals_min) == (ORIGIN, TRUST.log_key, 2)
    assert (second.holder, second.approvers) == (TRUST.holder, TRUST.approvers)
    assert ALICE.public_key in second.approvers.values()
