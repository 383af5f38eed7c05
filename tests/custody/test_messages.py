"""Messages come back in one form, or are refused with our own errors."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.clock import FixedClock
from dutchdoor.custody.messages import OpenRequest, ShareRelease
from dutchdoor.custody.opening import Opening
from dutchdoor.errors import Invalid
from dutchdoor.ids import DecisionId
from tests.custody.parts import BUNDLE

REQUEST = OpenRequest.decode(Opening(BUNDLE, FixedClock()).request)
RELEASE = ShareRelease(
    bundle=BUNDLE,
    request=REQUEST.digest,
    decision=DecisionId("decision_one"),
    custodian="xwing:0123456789abcdef",
    index=0,
    threshold=2,
    sealed=b"sealed",
)
READERS: list[Callable[[bytes], OpenRequest | ShareRelease]] = [
    OpenRequest.decode,
    ShareRelease.decode,
]
LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def test_messages_come_back() -> None:
    assert OpenRequest.decode(REQUEST.encode()) == REQUEST
    assert ShareRelease.decode(RELEASE.encode()) == RELEASE


def test_two_requests_never_share_a_digest() -> None:
    assert OpenRequest.decode(Opening(BUNDLE, FixedClock()).request).digest != REQUEST.digest


@pytest.mark.parametrize("message", [REQUEST, RELEASE], ids=["request", "release"])
@given(data=st.data())
def test_a_message_with_any_field_replaced_is_the_same_or_refused(
    message: OpenRequest | ShareRelease, data: st.DataObject
) -> None:
    value = canonical.parse(message.encode())
    field = data.draw(st.sampled_from(sorted(value)))
    value[field] = data.draw(JSON)
    encoded = canonical.encode(value)
    with suppress(Invalid):
        assert type(message).decode(encoded).encode() == encoded


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'"x"', b"\xff", b"[" * 20_000])
def test_other_bytes_are_refused(
    read: Callable[[bytes], OpenRequest | ShareRelease], data: bytes
) -> None:
    with pytest.raises(Invalid):
        read(data)


def test_one_kind_is_not_read_as_the_other() -> None:
    with pytest.raises(Invalid):
        ShareRelease.decode(REQUEST.encode())
    with pytest.raises(Invalid):
        OpenRequest.decode(RELEASE.encode())


def test_a_short_key_and_a_free_form_digest_are_refused() -> None:
    for changed in (
        replace(REQUEST, public_key=b"short"),
        replace(REQUEST, nonce="A" * 64),
        replace(REQUEST, bundle="../secret"),  # type: ignore[arg-type]
    ):
        with pytest.raises(Invalid) as caught:
            OpenRequest.decode(changed.encode())
        assert caught.value.code == "bad_request"
