"""Signed notes: what parses is what was written, and only the right key verifies."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence.note import Note, NoteSignature, VerifierKey, sign_note
from tests.evidence.parts import LOG, STRANGER

KEY = VerifierKey("test.example/log", LOG.public_key)
NOTE = sign_note("hello\nworld\n", KEY.name, LOG)
# From the Go package golang.org/x/mod/sumdb/note, whose format C2SP took over.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZ"
    "b6KE6RyyBwJnAM=\n"
)


def test_a_note_of_another_implementation_verifies() -> None:
    key = VerifierKey.from_text(GO_KEY)
    note = Note.parse(GO_NOTE.encode())
    note.verify(key)
    assert note.to_bytes() == GO_NOTE.encode()
    assert key.to_text() == GO_KEY


def test_a_signed_note_verifies_and_round_trips() -> None:
    note = Note.parse(NOTE)
    note.verify(KEY)
    assert note.text == "hello\nworld\n"
    assert note.to_bytes() == NOTE
    assert VerifierKey.from_text(KEY.to_text()) == KEY


def test_a_strangers_signature_under_the_logs_name_is_none() -> None:
    note = Note.parse(sign_note("hello\n", KEY.name, STRANGER))
    with pytest.raises(Invalid) as caught:
        note.verify(KEY)
    assert caught.value.code == "not_signed"


def test_a_strangers_signature_beside_the_logs_changes_nothing() -> None:
    mine = Note.parse(NOTE)
    other = Note.parse(sign_note(mine.text, "other.example", STRANGER))
    Note(mine.text, (*other.signatures, *mine.signatures)).verify(KEY)


def test_one_wrong_signature_by_the_key_is_fatal_even_beside_a_right_one() -> None:
    mine = Note.parse(NOTE)
    wrong = NoteSignature(KEY.name, KEY.key_id, bytes(64))
    with pytest.raises(Invalid) as caught:
        Note(mine.text, (*mine.signatures, wrong)).verify(KEY)
    assert caught.value.code == "bad_signature"


def test_no_changed_byte_of_a_note_verifies() -> None:
    for place in range(len(NOTE)):
        for bit in (1, 32, 128):
            changed = NOTE[:place] + bytes([NOTE[place] ^ bit]) + NOTE[place + 1 :]
            with pytest.raises(Invalid):
                Note.parse(changed).verify(KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+12345678",
        "+12345678+" + base64.b64encode(b"\x01" + LOG.public_key).decode(),
        "a name+12345678+" + base64.b64encode(b"\x01" + LOG.public_key).decode(),
        KEY.to_text().replace("+", "+0", 1),
        KEY.to_text() + "=",
        KEY.to_text().upper(),
        GO_KEY.replace("c74f20a3", "c74f20a4"),
    ],
)
def test_a_key_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        VerifierKey.from_text(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\xe2\x80\x94 name\n",
        b"text\n\n\xe2\x80\x94 name AAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAA\n",
        b"text\n\n- name AAAAAAAA\n",
        b"text\r\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"te\x00xt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 na+me AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAB=\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAA",
        b"\xff\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"x" * 2_000_000,
    ],
)
def test_a_note_out_of_form_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        Note.parse(data)


LINES = st.text("ab \n—=A+/é\x85\u2028", max_size=12)


@given(
    st.one_of(
        st.binary(max_size=80), st.builds(lambda a, b: f"{a}\n\n{b}\n".encode(), LINES, LINES)
    )
)
@settings(max_examples=300)
def test_an_accepted_note_reserialises_to_the_same_bytes(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except Invalid:
        return
    assert note.to_bytes() == data


@given(st.text("ab\ncé", min_size=0, max_size=30))
def test_any_text_can_be_signed(text: str) -> None:
    data = sign_note(text + "\n", KEY.name, LOG)
    note = Note.parse(data)
    note.verify(KEY)
    assert note.text == text + "\n"
