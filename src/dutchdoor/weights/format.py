"""One sealed file, byte by byte: header, keys, nonces, and where each region lies.

A sealed file is four regions: the head (magic, header in canonical JSON, key commitment, zeros to
4,096), the encrypted index (the plain file's name), slots of 1 MiB of AES-256-GCM, and a footer
with the digest of each region before it: BLAKE3, in version 1 SHA-256. Every key comes from the
content key, a random salt and the hash of the header, so that a changed header changes all keys;
the header's hash is also the associated data of every slot. `docs/spec/sealed-bundle.md` has the
table and an example.
Source: STREAM (Hoang, Reyhanitabar, Rogaway, Vizar 2015) for the nonces; the key commitment as in
the AWS Encryption SDK's suite 0x0578.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import Invalid
from dutchdoor.weights.digests import Digest, blake3_digest, sha256_digest

__all__ = [
    "ALIGNMENT_BYTES",
    "COMMITMENT_BYTES",
    "DIGEST_BYTES",
    "MAGIC",
    "SLOT_BYTES",
    "SLOT_PLAIN_BYTES",
    "SUITES",
    "TAG_BYTES",
    "VERSION",
    "FileCipher",
    "Header",
    "Index",
    "Span",
    "encode_head",
    "file_set_digest",
    "new_header",
    "parse_head",
    "region_digest",
]

MAGIC = b"DDSEAL\x00\x01"
VERSION = 2
SUITES = {1: "A256GCM-HKDF-SHA256-STREAM1M", 2: "A256GCM-HKDF-SHA256-STREAM1M-BLAKE3"}
SLOT_BYTES = 1 << 20
TAG_BYTES = 16
SLOT_PLAIN_BYTES = SLOT_BYTES - TAG_BYTES
ALIGNMENT_BYTES = 4_096
COMMITMENT_BYTES = 32
DIGEST_BYTES = 32
HEAD_BYTES_MAX = 65_536
INDEX_BYTES_MAX = 64 << 20
SIZE_BYTES_MAX = 1 << 48

_DIGESTS: dict[int, Digest] = {1: sha256_digest, 2: blake3_digest}
_INDEX_VERSION = 1
_SALT_BYTES = 32
_PREFIX_BYTES = 7
_KEYS_INFO = b"dutchdoor sealed file v1\x00"
_FILE_SET_INFO = b"dutchdoor file set v1"


class Span(NamedTuple):
    """A stretch of a sealed file, in bytes."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


@dataclass(frozen=True)
class Header:
    """What a sealed file says of itself in clear; all of it is bound into every key and tag.

    content_id: 64 hexadecimal digits, the same in all files of one bundle and in no other.
    file: place of the file in its bundle. salt: 64 and nonce_prefix: 14 hexadecimal digits.
    size: bytes of the plain file. index_bytes: of the encrypted index, a multiple of 4,096.
    version: of the file's form; it says how the footer's digests are taken.
    """

    content_id: str
    file: int
    salt: str
    nonce_prefix: str
    size: int
    index_bytes: int
    version: int = VERSION

    @cached_property
    def slots(self) -> int:
        """How many slots there are; an empty file has one, so that its end is authenticated."""
        return max(1, -(-self.size // SLOT_PLAIN_BYTES))

    @cached_property
    def head_bytes(self) -> int:
        """Bytes of the head, a multiple of 4,096."""
        return _aligned(len(self.prefix()) + COMMITMENT_BYTES)

    @cached_property
    def index(self) -> Span:
        """Where the encrypted index lies."""
        return Span(self.head_bytes, self.index_bytes)

    def slot(self, number: int) -> Span:
        """Where slot `number` lies, its tag included; the last one may be short."""
        assert 0 <= number < self.slots, "no such slot"
        plain = self.plain(number)
        return Span(self.index.end + number * SLOT_BYTES, plain.size + TAG_BYTES)

    def plain(self, number: int) -> Span:
        """Which bytes of the plain file slot `number` holds."""
        offset = number * SLOT_PLAIN_BYTES
        return Span(offset, min(SLOT_PLAIN_BYTES, self.size - offset))

    @property
    def footer(self) -> Span:
        """Where the digests of head, index and slots lie, 32 bytes each."""
        return Span(self.slot(self.slots - 1).end, DIGEST_BYTES * (2 + self.slots))

    def prefix(self) -> bytes:
        """Magic, length and canonical header: the bytes whose hash binds everything."""
        form = {"v": self.version, "suite": SUITES[self.version]}
        value = {**form, "content_id": self.content_id, "file": self.file}
        random = {"salt": self.salt, "nonce_prefix": self.nonce_prefix}
        sizes = {"size": self.size, "index_bytes": self.index_bytes}
        data = canonical.encode({**value, **random, **sizes})
        return MAGIC + len(data).to_bytes(4, "big") + data

    @property
    def hash(self) -> bytes:
        """SHA-256 of `prefix`, 32 bytes."""
        return hashlib.sha256(self.prefix()).digest()


@dataclass(frozen=True)
class Index:
    """What a sealed file hides besides its content.

    name: relative path of the plain file. safetensors: the header's text where it is one.
    """

    name: str
    size: int
    safetensors: str | None

    def encode(self) -> bytes:
        """Length, canonical JSON, and zeros: with its tag a multiple of 4,096 bytes.

        Raises Invalid: longer than 64 MiB.
        """
        value = {"v": _INDEX_VERSION, "name": self.name, "size": self.size}
        data = canonical.encode({**value, "safetensors": self.safetensors})
        total = _aligned(4 + len(data) + TAG_BYTES)
        if total > INDEX_BYTES_MAX:
            message = f"the index of {self.name} is longer than {INDEX_BYTES_MAX} bytes"
            raise Invalid(message, code="bad_safetensors", hint="shard the weights")
        return (len(data).to_bytes(4, "big") + data).ljust(total - TAG_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """The index of authenticated bytes: a holder's own mistake is still refused.

        Raises Invalid: malformed.
        """
        length = int.from_bytes(data[:4], "big")
        value = canonical.parse(data[4 : 4 + length])
        try:
            index = cls(value["name"], value["size"], value["safetensors"])
            text = index.safetensors
            sound = isinstance(index.name, str) and (text is None or isinstance(text, str))
        except (KeyError, TypeError) as error:
            raise Invalid("not an index", code="bad_index") from error
        if not sound or not isinstance(index.size, int) or index.encode() != data:
            raise Invalid("an index of another form", code="bad_index")
        return index


class FileCipher:
    """Seals and opens one file's index and slots, once the key commitment has matched."""

    __slots__ = ("_data", "_hash", "_header", "_index", "_prefix", "commitment")

    def __init__(self, key: ContentKey, header: Header) -> None:
        """Derives the data key, the index key and the commitment of this very header."""
        self._header = header
        self._hash = header.hash
        self._prefix = bytes.fromhex(header.nonce_prefix)
        salt = bytes.fromhex(header.salt)
        derive = HKDF(hashes.SHA256(), length=96, salt=salt, info=_KEYS_INFO + self._hash)
        keys = bytearray(96)
        derive.derive_into(key.reveal(), keys)
        view = memoryview(keys)
        self._data = AESGCM(view[:32])
        self._index = AESGCM(view[32:64])
        self.commitment = bytes(view[64:])
        keys[:] = bytes(96)

    def commits_to(self, commitment: bytes) -> bool:
        """Whether `commitment` (32 bytes) is this key's, compared in constant time.

        AES-GCM alone does not commit: one ciphertext can be made that opens under two keys.
        """
        return hmac.compare_digest(self.commitment, commitment)

    def seal_index(self, plain: bytes) -> bytes:
        return self._index.encrypt(self._nonce(0, last=True), plain, self._hash)

    def open_index(self, sealed: bytes) -> bytes | None:
        """The index's plain bytes, or None where they were changed."""
        try:
            return self._index.decrypt(self._nonce(0, last=True), sealed, self._hash)
        except InvalidTag:
            return None

    def seal_slot(self, number: int, plain: memoryview, into: memoryview) -> None:
        """Encrypts `plain` into `into`, which is 16 bytes longer."""
        self._data.encrypt_into(self._slot_nonce(number), plain, self._hash, into)

    def open_slot(self, number: int, sealed: memoryview, into: memoryview) -> bool:
        """Decrypts `sealed` into `into`; False where the slot was changed.

        On False `into` may hold anything: it must not be shown to anybody.
        """
        try:
            self._data.decrypt_into(self._slot_nonce(number), sealed, self._hash, into)
        except InvalidTag:
            return False
        return True

    def _slot_nonce(self, number: int) -> bytes:
        return self._nonce(number, last=number == self._header.slots - 1)

    def _nonce(self, counter: int, *, last: bool) -> bytes:
        return self._prefix + counter.to_bytes(4, "big") + (b"\1" if last else b"\0")


def encode_head(header: Header, commitment: bytes) -> bytes:
    """The head's bytes: a multiple of 4,096."""
    return (header.prefix() + commitment).ljust(header.head_bytes, b"\0")


def parse_head(data: bytes) -> tuple[Header, bytes]:
    """Header and key commitment of a head (unverified bytes, at least the whole head).

    Raises Invalid: not a sealed file, another version or suite, or out of bounds. A plain
    safetensors file ends here: there is no fallback.
    """
    if data[: len(MAGIC)] != MAGIC:
        hint = "plain files are never read where sealed ones are expected: seal the model"
        raise Invalid("not a sealed file", code="not_sealed", hint=hint)
    length = int.from_bytes(data[8:12], "big")
    if not 0 < length <= HEAD_BYTES_MAX - 12 - COMMITMENT_BYTES:
        raise Invalid("the header is too long", code="bad_header")
    value = canonical.parse(data[12 : 12 + length])
    try:
        version = fields.count(value["v"])
        known = SUITES.get(version) == value["suite"]
        header = _header(value, version) if known else None
    except fields.BAD_FIELD as error:
        raise Invalid("not the header of a sealed file", code="bad_header") from error
    if header is None:
        hint = "a bundle of another version is read by another version of dutchdoor"
        raise Invalid("another version or suite", code="bad_header", hint=hint)
    commitment = data[12 + length : 12 + length + COMMITMENT_BYTES]
    if encode_head(header, commitment) != data[: header.head_bytes]:
        raise Invalid("a header of another form", code="bad_header")
    return header, commitment


def new_header(
    *, content_id: str, file: int, size: int, index_bytes: int, salt: bytes, prefix: bytes
) -> Header:
    """A header with fresh randomness: salt of 32 bytes, prefix of 7."""
    assert len(salt) == _SALT_BYTES, "a salt has 32 bytes"
    assert len(prefix) == _PREFIX_BYTES, "a nonce prefix has 7 bytes"
    return Header(content_id, file, salt.hex(), prefix.hex(), size, index_bytes)


def region_digest(version: int) -> Digest:
    """How the footer's digests are taken in files of this version."""
    return _DIGESTS[version]


def file_set_digest(key: ContentKey, content_id: str, indices: Sequence[Index]) -> str:
    """The keyed digest of which plain file lies where: without the key no name can be guessed."""
    derive = HKDF(hashes.SHA256(), length=32, salt=bytes.fromhex(content_id), info=_FILE_SET_INFO)
    rows = [[n, index.name, index.size] for n, index in enumerate(indices)]
    digest = hmac.digest(derive.derive(key.reveal()), canonical.encode(rows), "sha256")
    return "sha256:" + digest.hex()


def _header(value: dict[str, Any], version: int) -> Header:
    header = Header(
        content_id=fields.hexadecimal(value["content_id"], 64),
        file=fields.count(value["file"], 1 << 20),
        salt=fields.hexadecimal(value["salt"], 2 * _SALT_BYTES),
        nonce_prefix=fields.hexadecimal(value["nonce_prefix"], 2 * _PREFIX_BYTES),
        size=fields.count(value["size"], SIZE_BYTES_MAX),
        index_bytes=fields.count(value["index_bytes"], INDEX_BYTES_MAX),
        version=version,
    )
    if header.index_bytes < ALIGNMENT_BYTES or header.index_bytes % ALIGNMENT_BYTES:
        raise Invalid("the index is not aligned", code="bad_header")
    return header


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
