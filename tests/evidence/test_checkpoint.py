"""Checkpoints: strict in, the same bytes out."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence.checkpoint import Checkpoint, open_checkpoint
from dutchdoor.evidence.note import VerifierKey, sign_note
from tests.evidence.parts import LOG, STRANGER

ROOT = base64.b64encode(bytes(32)).decode()
KEY = VerifierKey("log.example", LOG.public_key)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_round_trip(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("log.example", size, root)
    assert Checkpoint.from_text(checkpoint.to_text()) == checkpoint
    note = sign_note(checkpoint.to_text(), KEY.name, LOG)
    assert open_checkpoint(note, KEY) == checkpoint


@given(st.lists(st.sampled_from(["log", "0", "12", "012", ROOT, "", "x", ROOT[:-1]]), max_size=6))
@settings(max_examples=300)
def test_an_accepted_checkpoint_reserialises_to_the_same_text(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    try:
        checkpoint = Checkpoint.from_text(text)
    except Invalid:
        return
    assert checkpoint.to_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n1\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1\n{ROOT}",
        f"log\n1\n{ROOT}\n\n",
        f"\n1\n{ROOT}\n",
        f"log\n1 \n{ROOT}\n",
        f"log\n٣\n{ROOT}\n",
        f"log\n{2**63}\n{ROOT}\n",
        f"log\n{'9' * 5000}\n{ROOT}\n",
        f"log\n1\n{ROOT[:-4]}\n",
        "log\n1\nAAAA\n",
    ],
)
def test_a_checkpoint_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Checkpoint.from_text(text)


def test_another_logs_checkpoint_is_refused() -> None:
    text = Checkpoint("other.example", 1, bytes(32)).to_text()
    with pytest.raises(Invalid) as caught:
        open_checkpoint(sign_note(text, KEY.name, LOG), KEY)
    assert caught.value.code == "wrong_origin"
    with pytest.raises(Invalid):
        open_checkpoint(sign_note(text, KEY.name, STRANGER), KEY)
