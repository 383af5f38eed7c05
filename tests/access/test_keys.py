"""API keys: their form, their checksum, and that they show up nowhere."""

from __future__ import annotations

import logging
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.access.keys import ApiKey, HashKey
from dutchdoor.errors import Refused
from tests.access.house import House

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_a_key_has_the_published_form_and_parses_to_itself() -> None:
    text = ApiKey.new().reveal()
    prefix, environment, body, checksum = text.split("_")
    assert (prefix, environment, len(body), len(checksum)) == ("dd", "live", 30, 6)
    assert ApiKey.parse(text).reveal() == text


def test_a_known_key_keeps_its_checksum() -> None:
    """A vector: scanners elsewhere compute the same CRC-32."""
    head = "dd_live_" + "0" * 30
    assert ApiKey.parse(head + "_0bAJc7").reveal().startswith(head)


@given(st.data())
def test_every_single_typo_is_refused_by_the_checksum(data: st.DataObject) -> None:
    text = ApiKey.new().reveal()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from(BASE62).filter(lambda c: c != text[place]))
    with pytest.raises(Refused) as refused:
        ApiKey.parse(text[:place] + letter + text[place + 1 :])
    assert refused.value.code == "invalid_api_key"


@given(st.data())
def test_swapped_neighbours_are_refused_by_the_checksum(data: st.DataObject) -> None:
    text = ApiKey.new().reveal()
    place = data.draw(st.integers(8, 36))
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if swapped != text:
        with pytest.raises(Refused):
            ApiKey.parse(swapped)


@given(st.text(max_size=100))
def test_no_other_text_gets_through_the_parser_or_into_its_error(text: str) -> None:
    with pytest.raises(Refused) as refused:
        ApiKey.parse(text)
    assert refused.value.code == "invalid_api_key"
    assert len(text) < 8 or text not in refused.value.message


@pytest.mark.parametrize("tail", ["\n", " ", "\x00", "é", "_"])
def test_a_key_with_something_behind_it_is_refused(tail: str) -> None:
    with pytest.raises(Refused):
        ApiKey.parse(ApiKey.new().reveal() + tail)


def test_keys_do_not_repeat() -> None:
    assert len({ApiKey.new().reveal() for _ in range(1000)}) == 1000


def test_the_hash_depends_on_key_and_workspace() -> None:
    first, second = HashKey(bytes(32)), HashKey(bytes(31) + b"1")
    key, other = ApiKey.new(), ApiKey.new()
    assert key.keyed_hash(first) == ApiKey.parse(key.reveal()).keyed_hash(first)
    assert len({key.keyed_hash(first), key.keyed_hash(second), other.keyed_hash(first)}) == 3


def test_a_key_never_appears_in_repr_str_log_exception_or_pickle(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    issued = house.access.issue_key(house.person().id, record=house.record)
    text = issued.secret.reveal()
    secret_part = text.split("_")[2]
    shown = [repr(issued), str(issued), f"{issued.secret}", f"{issued.secret!s:>80}"]
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("issued %s %r", issued.secret, issued)
        for wrong in (text[:-1] + ("0" if text[-1] != "0" else "1"), text + "x", text.upper()):
            with pytest.raises(Refused) as refused:
                house.access.authenticate(wrong)
            shown.append("".join(traceback.format_exception(refused.value)))
            shown.append(repr(refused.value) + refused.value.diagnostics())
        house.access.revoke_key(issued.record.id, "lost", record=house.record)
        with pytest.raises(Refused) as refused:
            house.access.authenticate(text)
        shown.append("".join(traceback.format_exception(refused.value)))
    shown.append(caplog.text)
    shown.extend(entry.encode().decode() for entry in house.entries)
    for output in shown:
        assert secret_part not in output
    for secret in (issued.secret, house.hash_key):
        with pytest.raises(AssertionError):
            pickle.dumps(secret)


def test_neither_key_nor_unkeyed_hash_is_in_the_database(house: House) -> None:
    text = house.key(house.person())
    stored = b"".join(path.read_bytes() for path in house.folder.glob("state.db*"))
    assert text.encode() not in stored
    assert text.split("_")[2].encode() not in stored


def test_the_hash_key_shows_itself_nowhere() -> None:
    assert repr(HashKey(bytes(32))) == "<HashKey, hidden>"


def test_a_hash_key_never_is_short() -> None:
    with pytest.raises(AssertionError):
        HashKey(b"short")
