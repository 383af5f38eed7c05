"""Statements: one sequence of bytes, enough trusted signatures, and nothing else gets in."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.statement import (
    add_signature,
    key_id,
    open_statement,
    sign_statement,
)
from tests.evidence.parts import ALICE, BOB, STRANGER

KEYS = {key_id(signer.public_key): signer.public_key for signer in (ALICE, BOB)}
BODY = {"what": "it holds", "count": 3}


def opened(envelope: bytes, least: int = 1, kind: str = "test") -> Any:
    return open_statement(envelope, kind=kind, keys=KEYS, signatures_min=least).body


def test_a_statement_opens_with_its_signers() -> None:
    envelope = sign_statement("test", BODY, [BOB, ALICE])
    statement = open_statement(envelope, kind="test", keys=KEYS, signatures_min=2)
    assert statement.body == BODY
    assert statement.signers == tuple(sorted(KEYS))


def test_signing_one_after_the_other_gives_the_same_bytes() -> None:
    together = sign_statement("test", BODY, [ALICE, BOB])
    one = add_signature(sign_statement("test", BODY, [BOB]), ALICE)
    assert add_signature(one, ALICE) == one == together


@pytest.mark.parametrize(("signers", "least"), [([ALICE], 2), ([STRANGER], 1), ([], 1)])
def test_too_few_trusted_signatures_do_not_open(signers: list[Any], least: int) -> None:
    with pytest.raises(Invalid) as caught:
        opened(sign_statement("test", BODY, signers), least)
    assert caught.value.code == "too_few_signatures"
    assert caught.value.hint


def test_one_wrong_signature_by_a_trusted_key_is_fatal() -> None:
    value = json.loads(sign_statement("test", BODY, [ALICE, BOB]))
    value["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    with pytest.raises(Invalid) as caught:
        opened(canonical.encode(value))
    assert caught.value.code == "bad_signature"


def test_another_kind_does_not_open() -> None:
    with pytest.raises(Invalid):
        opened(sign_statement("other", BODY, [ALICE]))


def test_no_changed_byte_opens() -> None:
    envelope = sign_statement("test", BODY, [ALICE])
    for place in range(len(envelope)):
        for bit in (1, 4, 128):
            changed = envelope[:place] + bytes([envelope[place] ^ bit]) + envelope[place + 1 :]
            with pytest.raises(Invalid):
                opened(changed)


def change(**fields: Any) -> bytes:
    return canonical.encode({**json.loads(sign_statement("test", BODY, [ALICE, BOB])), **fields})


ROWS = json.loads(change())["signatures"]


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"5",
        change(more=1),
        change(payloadType="text/plain"),
        change(payload="é"),
        change(payload=5),
        change(payload="eyJ4IjoxfQ"),
        change(signatures=5),
        change(signatures={}),
        change(signatures=[5]),
        change(signatures=[{}]),
        change(signatures=ROWS[::-1]),
        change(signatures=[*ROWS, ROWS[0]]),
        change(signatures=[{**ROWS[0], "more": 1}]),
        change(signatures=[{**ROWS[0], "sig": ROWS[0]["sig"] + "\n"}]),
        change(signatures=[{**ROWS[0], "keyid": 5}]),
        change(signatures=[{"keyid": f"k{n:03d}", "sig": ""} for n in range(65)]),
    ],
)
def test_an_envelope_out_of_form_does_not_open(envelope: bytes) -> None:
    with pytest.raises(Invalid):
        opened(envelope)
    with pytest.raises(Invalid):
        add_signature(envelope, ALICE)


@given(st.binary(max_size=60))
def test_noise_raises_only_our_errors(data: bytes) -> None:
    with pytest.raises(Invalid):
        opened(data)


@pytest.mark.parametrize("payload", [b"[]", b"{}", b"x", b'{"body":1,"kind":"test","v":1}'])
def test_a_signed_payload_that_is_no_statement_does_not_open(payload: bytes) -> None:
    kind = b"application/vnd.dutchdoor.statement+json"
    signature = ALICE.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    row = {
        "keyid": key_id(ALICE.public_key),
        "sig": base64.b64encode(signature).decode(),
    }
    text = base64.b64encode(payload).decode()
    with pytest.raises(Invalid):
        opened(
            canonical.encode({"payload": text, "payloadType": kind.decode(), "signatures": [row]})
        )
