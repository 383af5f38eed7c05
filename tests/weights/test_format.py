"""The byte layout, written a second time from the specification, and read from any bytes."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import key_commitment, wrap_shares
from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.weights.format import (
    ALIGNMENT_BYTES,
    SLOT_BYTES,
    SLOT_PLAIN_BYTES,
    FileCipher,
    Header,
    Index,
    encode_head,
    parse_head,
)
from dutchdoor.weights.model import Custody, Manifest
from dutchdoor.weights.reader import SealedBundle
from tests.weights.parts import CUSTODIANS, HOLDER, TRUST, Sealed, read_all, seal
from tests.weights.two_keys import ciphertext_of_two_keys

KEY = ContentKey(bytes(range(32)))
HEADER = Header("ab" * 32, 3, "cd" * 32, "ef" * 7, 5, 4096)
HEAD = encode_head(HEADER, bytes(32))


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, by hand: a second source for what the specification says."""
    secret = hmac.digest(salt, key, "sha256")
    output, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(secret, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


def file_keys(key: ContentKey, head: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Data key, index key, commitment and header hash, from the specification's text alone."""
    length = int.from_bytes(head[8:12], "big")
    header = json.loads(head[12 : 12 + length])
    header_hash = hashlib.sha256(head[: 12 + length]).digest()
    info = b"dutchdoor sealed file v1\0" + header_hash
    keys = hkdf(bytes(key.reveal()), bytes.fromhex(header["salt"]), info, 96)
    return keys[:32], keys[32:64], keys[64:], header_hash


def test_a_second_reader_from_the_specification_reads_the_same(sealed: Sealed) -> None:
    for number, name in enumerate(sorted(sealed.files)):
        data = (sealed.path / f"{number:04d}.sealed").read_bytes()
        assert data[:8] == b"DDSEAL\0\1"
        length = int.from_bytes(data[8:12], "big")
        header = json.loads(data[12 : 12 + length])
        data_key, index_key, commitment, header_hash = file_keys(sealed.key, data)
        assert data[12 + length : 12 + length + 32] == commitment
        prefix = bytes.fromhex(header["nonce_prefix"])
        index_end = 4096 + header["index_bytes"]
        index = AESGCM(index_key).decrypt(
            prefix + bytes(4) + b"\1", data[4096:index_end], header_hash
        )
        text = index[4 : 4 + int.from_bytes(index[:4], "big")]
        assert json.loads(text)["name"] == name
        slots = max(1, -(-header["size"] // (2**20 - 16)))
        end = index_end + header["size"] + 16 * slots
        plain, digests = b"", [data[:4096], data[4096:index_end]]
        for slot in range(slots):
            start = index_end + slot * 2**20
            digests.append(data[start : min(start + 2**20, end)])
            nonce = prefix + slot.to_bytes(4, "big") + bytes([slot == slots - 1])
            plain += AESGCM(data_key).decrypt(nonce, digests[-1], header_hash)
        assert plain == sealed.files[name]
        assert data[end:] == b"".join(blake3(region).digest() for region in digests)


def test_the_bundle_digest_is_the_content_s(sealed: Sealed) -> None:
    content = sealed.manifest.content
    data = canonical.encode(content.to_value())
    assert sealed.manifest.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    rows = [[n, name, len(sealed.files[name])] for n, name in enumerate(sorted(sealed.files))]
    key = hkdf(
        bytes(sealed.key.reveal()), bytes.fromhex(content.content_id), b"dutchdoor file set v1", 32
    )
    assert content.file_set == "sha256:" + hmac.digest(key, canonical.encode(rows), "sha256").hex()
    commitment = hkdf(
        bytes(sealed.key.reveal()), bytes(32), b"dutchdoor content key commitment v1", 32
    )
    assert content.commitment == commitment.hex()


@pytest.mark.parametrize(
    ("size", "slots"),
    [
        (0, 1),
        (1, 1),
        (SLOT_PLAIN_BYTES, 1),
        (SLOT_PLAIN_BYTES + 1, 2),
        (2 * SLOT_PLAIN_BYTES, 2),
    ],
)
def test_slots_are_aligned_and_cover_the_file(size: int, slots: int) -> None:
    header = replace(HEADER, size=size)
    assert header.slots == slots
    assert header.head_bytes == ALIGNMENT_BYTES
    for number in range(slots):
        assert header.slot(number).offset == 2 * ALIGNMENT_BYTES + number * SLOT_BYTES
    assert sum(header.plain(number).size for number in range(slots)) == size
    assert header.footer.end == 2 * ALIGNMENT_BYTES + size + 16 * slots + 32 * (2 + slots)


@pytest.mark.parametrize(
    "size", [0, 1, SLOT_PLAIN_BYTES - 1, SLOT_PLAIN_BYTES, SLOT_PLAIN_BYTES + 1]
)
def test_files_at_the_edges_of_a_slot_come_back(tmp_path: Path, size: int) -> None:
    sealed = seal(tmp_path, {"data": bytes(n % 251 for n in range(size))})
    assert read_all(sealed.open()) == sealed.files


def test_a_head_comes_back() -> None:
    assert parse_head(HEAD) == (HEADER, bytes(32))


def test_no_two_slots_have_one_nonce_and_the_last_differs() -> None:
    header = replace(HEADER, size=3 * SLOT_PLAIN_BYTES)
    cipher = FileCipher(KEY, header)
    nonces = {cipher._slot_nonce(number) for number in range(3)}
    assert len(nonces) == 3
    shorter = FileCipher(KEY, replace(header, size=2 * SLOT_PLAIN_BYTES))
    assert shorter._slot_nonce(1) not in nonces


@pytest.mark.parametrize("field", ["content_id", "file", "salt", "nonce_prefix", "size"])
def test_every_field_of_the_header_changes_the_keys(field: str) -> None:
    value = {"content_id": "0" * 64, "file": 4, "salt": "0" * 64, "nonce_prefix": "0" * 14}
    changed = replace(HEADER, **{field: {**value, "size": 6}[field]})  # type: ignore[arg-type]
    assert FileCipher(KEY, changed).commitment != FileCipher(KEY, HEADER).commitment


@given(st.data())
def test_any_changed_head_is_refused_or_another(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(HEAD) - 1))
    changed = bytearray(HEAD)
    changed[position] = data.draw(st.integers(0, 255))
    with suppress(DutchdoorError):
        header, commitment = parse_head(bytes(changed))
        assert encode_head(header, commitment) == bytes(changed)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_refused(data: bytes) -> None:
    for tail in (data, b"DDSEAL\0\1" + len(data).to_bytes(4, "big") + data):
        with suppress(DutchdoorError):
            parse_head(tail)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_refused(data: bytes) -> None:
    padded = (len(data).to_bytes(4, "big") + data).ljust(4080, b"\0")
    for attempt in (data, padded):
        with suppress(DutchdoorError):
            assert Index.decode(attempt).encode() == attempt


def test_an_index_of_another_form_is_refused() -> None:
    good = Index("config.json", 2, None).encode()
    assert Index.decode(good) == Index("config.json", 2, None)
    for bad in (
        good[:-1] + b"\1",
        good + bytes(4096),
        good.replace(b'"v":1', b'"v":2'),
        good.replace(b'"size":2', b'"size":"'),
    ):
        with pytest.raises(Invalid):
            Index.decode(bad)


def test_one_ciphertext_never_opens_under_two_keys(tmp_path: Path) -> None:
    """A holder makes weights that read one way for the auditor and another for the public."""
    sealed = seal(tmp_path, {"config.json": bytes(32)})
    file = sealed.path / "0000.sealed"
    head = file.read_bytes()
    header, _ = parse_head(head[:65_536])
    other = ContentKey.generate()
    data_key, _, _, header_hash = file_keys(sealed.key, head)
    other_key = file_keys(other, head)[0]
    nonce = bytes.fromhex(header.nonce_prefix) + bytes(4) + b"\1"
    slot = ciphertext_of_two_keys((data_key, other_key), nonce, header_hash)
    one = AESGCM(data_key).decrypt(nonce, slot, header_hash)
    two = AESGCM(other_key).decrypt(nonce, slot, header_hash)
    assert one != two, "AES-GCM alone gives each key its own weights"

    span = header.slot(0)
    regions = [head[:4096], head[4096 : span.offset], slot]
    footer = b"".join(blake3(region).digest() for region in regions)
    file.write_bytes(b"".join(regions) + footer)
    for key in (sealed.key, other):
        publish(sealed, key, footer)
        if key is sealed.key:
            assert read_all(sealed.open()) == {"config.json": one}
        else:
            with pytest.raises(Invalid) as caught:
                SealedBundle.open(sealed.path, key, TRUST)
            assert caught.value.code == "wrong_key"


def publish(sealed: Sealed, key: ContentKey, footer: bytes) -> None:
    """The holder signs the crafted file under a manifest that commits to `key`."""
    content = sealed.manifest.content
    ciphertext = "sha256:" + hashlib.sha256(footer).hexdigest()
    row = replace(content.files[0], ciphertext=ciphertext)
    content = replace(content, files=(row,), commitment=key_commitment(key))
    public = [custodian.public for custodian in CUSTODIANS]
    shares = wrap_shares(key, bundle=content.digest, custodians=public, threshold=2).encode()
    digest = "sha256:" + hashlib.sha256(shares).hexdigest()
    custody = Custody(2, sealed.manifest.custody.custodians, digest)
    (sealed.path / "shares.json").write_bytes(shares)
    (sealed.path / "manifest.json").write_bytes(Manifest(content, custody, 0).sign(HOLDER))
