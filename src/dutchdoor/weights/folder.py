"""A sealed bundle's folder, checked as far as it can be without a key.

1. The manifest is signed by a trusted holder.
2. The folder holds exactly what the manifest names, companions apart: nothing more, nothing plain.
3. `shares.json` is the one the manifest names.
4. Each sealed file has its size, its head and its footer (`open_sealed`).

The slots themselves are checked by who decrypts them, or by `inspect` against the footer.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor import canonical
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Tampered, Unavailable
from dutchdoor.weights.format import (
    DIGEST_BYTES,
    HEAD_BYTES_MAX,
    MAGIC,
    Header,
    Span,
    parse_head,
)
from dutchdoor.weights.model import (
    COMPANION_SUFFIX,
    MANIFEST_NAME,
    SHARES_NAME,
    Manifest,
    SealedFile,
    SealLimits,
)

__all__ = [
    "OpenFile",
    "VerifiedFolder",
    "open_folder",
    "open_sealed",
    "read_into",
    "read_span",
    "tampered",
]


@dataclass(frozen=True)
class VerifiedFolder:
    """A bundle whose manifest, file list and shares are what its holder signed."""

    path: Path
    manifest: Manifest
    shares: WrappedShares


class OpenFile(NamedTuple):
    """A sealed file, open, with its head and footer checked. The caller closes `handle`."""

    handle: int
    header: Header
    commitment: bytes
    footer: bytes

    def region_digest(self, region: int) -> bytes:
        """The signed digest of region 0 (head), 1 (index), or 2 + n (slot n)."""
        return self.footer[region * DIGEST_BYTES : (region + 1) * DIGEST_BYTES]


def open_folder(path: Path, trust_keys: Mapping[str, bytes]) -> VerifiedFolder:
    """The bundle at `path`, steps 1 to 3.

    trust_keys: holders' Ed25519 keys by key id, from configuration.
    Raises NotFound: no such folder. Raises Invalid: not a sealed bundle, or not signed by a
    trusted holder. Raises Tampered: it is not what was signed.
    """
    if not path.is_dir():
        message = f"there is no bundle at {path}"
        raise NotFound(message, code="no_bundle", hint="check the path")
    if not (path / MANIFEST_NAME).exists():
        message = f"{path} is not a sealed bundle"
        hint = "plain models are never read where sealed ones are expected: dutchdoor seal"
        raise Invalid(message, code="not_sealed", hint=hint)
    data = _read_small(path / MANIFEST_NAME, SealLimits().manifest_bytes_max)
    manifest = Manifest.open(data, trust_keys)
    _check_listing(path, manifest)
    return VerifiedFolder(path, manifest, _open_shares(path, manifest))


def open_sealed(folder: Path, file: SealedFile) -> OpenFile:
    """One sealed file of a verified manifest, step 4.

    Raises Tampered: size, head or footer is not what was signed.
    """
    handle = _open_plain(folder / file.name)
    try:
        return _check_sealed(handle, file)
    except BaseException:
        os.close(handle)
        raise


def read_span(handle: int, span: Span, name: str) -> bytes:
    """The bytes of `span`, all of them.

    Raises Tampered: the file ends before. Raises Unavailable: it cannot be read.
    """
    data = bytearray(span.size)
    read_into(handle, span, memoryview(data), name)
    return bytes(data)


def read_into(handle: int, span: Span, into: memoryview, name: str) -> None:
    """The bytes of `span` into `into`, which has their size. Raises as `read_span` does."""
    done = 0
    while done < span.size:
        try:
            count = os.preadv(handle, [into[done:]], span.offset + done)
        except OSError as error:
            raise _unreadable(name) from error
        if not count:
            where = f"{name}, byte {span.offset + done}"
            raise tampered(f"{name} ends early", "size_changed", where)
        done += count


def tampered(message: str, code: str, where: str) -> Tampered:
    """The refusal of a bundle that is not what its holder signed."""
    hint = "fetch the bundle again from where it was published"
    return Tampered(message, code=code, hint=hint, where=where)


def _check_sealed(handle: int, file: SealedFile) -> OpenFile:
    found = os.fstat(handle).st_size
    if found != file.bytes:
        message = f"{file.name} has {found} bytes, {file.bytes} were signed"
        raise tampered(message, "size_changed", f"{file.name}, byte {min(found, file.bytes)}")
    head = read_span(handle, Span(0, min(HEAD_BYTES_MAX, file.bytes)), file.name)
    header, commitment = _parse_head(head, file)
    head = head[: header.head_bytes]
    named = "sha256:" + hashlib.sha256(head).hexdigest()
    sizes = (header.footer.end, header.slots)
    if named != file.head or sizes != (file.bytes, file.slots):
        where = f"{file.name}, bytes 0 to {header.head_bytes}"
        raise tampered(f"the head of {file.name} was changed", "head_changed", where)
    footer = read_span(handle, header.footer, file.name)
    if "sha256:" + hashlib.sha256(footer).hexdigest() != file.ciphertext:
        where = f"{file.name}, bytes {header.footer.offset} to {header.footer.end}"
        raise tampered(f"the footer of {file.name} was changed", "footer_changed", where)
    return OpenFile(handle, header, commitment, footer)


def _parse_head(head: bytes, file: SealedFile) -> tuple[Header, bytes]:
    if head[: len(MAGIC)] != MAGIC:
        message = f"{file.name} is not a sealed file"
        raise tampered(message, "not_sealed", f"{file.name}, bytes 0 to {len(MAGIC)}")
    try:
        return parse_head(head)
    except DutchdoorError as error:
        message = f"the head of {file.name} was changed"
        raise tampered(message, "head_changed", file.name) from error


def _check_listing(path: Path, manifest: Manifest) -> None:
    wanted = {MANIFEST_NAME, SHARES_NAME, *(file.name for file in manifest.content.files)}
    present = {entry.name for entry in path.iterdir()}
    found = {name for name in present if not name.endswith(COMPANION_SUFFIX)}
    for name in sorted(wanted - found):
        raise tampered(f"{name} is missing", "file_missing", name)
    for name in sorted(found - wanted):
        # A plain file beside the sealed ones could be picked up by whoever reads the folder.
        raise tampered(f"{name!r} does not belong to the bundle", "file_unexpected", name)


def _open_shares(path: Path, manifest: Manifest) -> WrappedShares:
    data = _read_small(path / SHARES_NAME, CustodyLimits().shares_file_bytes_max)
    if "sha256:" + canonical.sha256_hex(data) != manifest.custody.shares:
        raise tampered("the shares were changed", "shares_changed", SHARES_NAME)
    shares = WrappedShares.decode(data)
    terms = manifest.terms
    named = tuple(share.custodian for share in shares.shares)
    said = (shares.bundle, shares.commitment, shares.threshold, named)
    if said != (terms.bundle, terms.commitment, terms.threshold, terms.custodians):
        message = "the shares are not those of this bundle"
        raise tampered(message, "shares_changed", SHARES_NAME)
    return shares


def _read_small(path: Path, largest: int) -> bytes:
    handle = _open_plain(path)
    try:
        size = os.fstat(handle).st_size
        if size > largest:
            message = f"{path.name} has {size} bytes, {largest} are allowed"
            raise tampered(message, "size_changed", path.name)
        return read_span(handle, Span(0, size), path.name)
    finally:
        os.close(handle)


def _open_plain(path: Path) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError as error:
        raise tampered(f"{path.name} is missing", "file_missing", path.name) from error
    except OSError as error:
        raise _unreadable(path.name) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise tampered(f"{path.name} is no plain file", "file_unexpected", path.name)
    return handle


def _unreadable(name: str) -> Unavailable:
    hint = "check the disk and the permissions of the bundle's folder"
    return Unavailable(f"{name} cannot be read", code="bundle_unreadable", hint=hint)
