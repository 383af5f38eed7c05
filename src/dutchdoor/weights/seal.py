"""Sealing: a model's folder in, an encrypted bundle out, and no plaintext on the way.

The files are read once, slot by slot; memory stays at a few slots whatever the model's size. The
bundle grows in a temporary folder beside its place and appears there whole, by one rename, after
everything in it is on disk. The content key exists only in this process's memory and leaves it
only split and wrapped to the custodians.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dutchdoor import canonical
from dutchdoor.clock import Clock
from dutchdoor.custody.model import CONTENT_KEY_BYTES, ContentKey, CustodianPublic
from dutchdoor.custody.shares import check_quorum, key_commitment, wrap_shares
from dutchdoor.errors import Invalid, Refused, Unavailable
from dutchdoor.evidence.ports import Signer
from dutchdoor.weights.format import (
    SLOT_BYTES,
    SLOT_PLAIN_BYTES,
    TAG_BYTES,
    FileCipher,
    Header,
    Index,
    encode_head,
    file_set_digest,
    new_header,
)
from dutchdoor.weights.model import (
    MANIFEST_NAME,
    SHARES_NAME,
    Content,
    Custody,
    Manifest,
    Progress,
    Report,
    Sealed,
    SealedFile,
    SealLimits,
    sealed_name,
)
from dutchdoor.weights.scan import SourceFile, read_safetensors_header, scan_folder

__all__ = ["SEALED_SUFFIX", "Randomness", "seal_folder"]

SEALED_SUFFIX = ".sealed"
_BUFFERS = 4  # Slots in memory: one is filled while others are hashed and written.

Randomness = Callable[[int], bytes]


@dataclass
class _Run:
    """What one sealing carries from file to file."""

    key: ContentKey
    content_id: str
    random_bytes: Randomness
    report: Report
    total_bytes: int
    hasher: ThreadPoolExecutor
    done_bytes: int = 0
    indices: list[Index] = field(default_factory=list)


def seal_folder(
    source: Path,
    target: Path,
    *,
    model: str,
    holder: Signer,
    custodians: Sequence[CustodianPublic],
    threshold: int,
    clock: Clock,
    report: Report | None = None,
    random_bytes: Randomness = secrets.token_bytes,
) -> Sealed:
    """A new bundle at `target` (a path that ends in `.sealed`) of every file below `source`.

    model: the public name, 1 to 128 characters. threshold: how many custodians open together.
    random_bytes: for vectors alone; the key comes from it.
    Raises Refused: an unsafe file, or `target` exists. Raises Invalid: no such quorum, a broken
    safetensors file, a name out of bounds, or a file that changed meanwhile.
    Raises Unavailable: no room, or no access. Whatever is raised, no bundle and no part is left.
    """
    _check_arguments(target, model)
    check_quorum(threshold, len(custodians))
    sources = scan_folder(source)
    key = ContentKey(random_bytes(CONTENT_KEY_BYTES))
    draft = target.parent / f".{target.name}.{secrets.token_hex(8)}"
    try:
        draft.mkdir(mode=0o755)
        with ThreadPoolExecutor(1, "seal-hash") as hasher:
            run = _Run(
                key=key,
                content_id=random_bytes(32).hex(),
                random_bytes=random_bytes,
                report=report or _silent,
                total_bytes=sum(file.size for file in sources),
                hasher=hasher,
            )
            files = tuple(_seal_file(run, draft, n, s) for n, s in enumerate(sources))
        file_set = file_set_digest(key, run.content_id, run.indices)
        content = Content(model, run.content_id, key_commitment(key), file_set, files)
        shares = wrap_shares(
            key, bundle=content.digest, custodians=custodians, threshold=threshold
        ).encode()
        ids = tuple(custodian.key_id for custodian in custodians)
        custody = Custody(threshold, ids, "sha256:" + canonical.sha256_hex(shares))
        manifest = Manifest(content, custody, clock.now_ms())
        _write_durably(draft / SHARES_NAME, shares)
        _write_durably(draft / MANIFEST_NAME, manifest.sign(holder))
        _publish(draft, target)
    except OSError as error:
        message = f"the bundle cannot be written: {error.strerror}"
        hint = "make room on the disk, or choose another place with -o"
        raise Unavailable(message, code="seal_unavailable", hint=hint) from error
    finally:
        key.wipe()
        # After the rename there is nothing here; before it, only ciphertext.
        shutil.rmtree(draft, ignore_errors=True)
    return Sealed(manifest, content.digest)


def _check_arguments(target: Path, model: str) -> None:
    largest = SealLimits().model_name_chars_max
    if not 0 < len(model) <= largest or not model.isprintable():
        message = f"a model's name has 1 to {largest} printable characters"
        raise Invalid(message, code="bad_model_name", hint="choose another name")
    if target.suffix != SEALED_SUFFIX:
        message = "a bundle's folder ends in .sealed"
        raise Invalid(message, code="bad_target", hint=f"use {target.name}{SEALED_SUFFIX}")
    if os.path.lexists(target):
        message = f"{target} exists already"
        hint = "choose another place; a bundle is never overwritten"
        raise Refused(message, code="target_exists", hint=hint)
    if not target.parent.is_dir():
        message = f"there is no folder {target.parent}"
        raise Invalid(message, code="bad_target", hint="make the folder first")


def _seal_file(run: _Run, folder: Path, number: int, source: SourceFile) -> SealedFile:
    name = sealed_name(number)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    with (
        os.fdopen(os.open(source.path, flags), "rb", buffering=0) as plain,
        (folder / name).open("xb", buffering=0) as sealed,
    ):
        index = Index(source.name, source.size, read_safetensors_header(plain, source))
        plain.seek(0)
        index_plain = index.encode()
        header = new_header(
            content_id=run.content_id,
            file=number,
            size=source.size,
            index_bytes=len(index_plain) + TAG_BYTES,
            salt=run.random_bytes(32),
            prefix=run.random_bytes(7),
        )
        cipher = FileCipher(run.key, header)
        head = encode_head(header, cipher.commitment)
        index_sealed = cipher.seal_index(index_plain)
        _write(sealed, head)
        _write(sealed, index_sealed)
        digests = [hashlib.sha256(head).digest(), hashlib.sha256(index_sealed).digest()]
        digests += _seal_slots(run, cipher, header, source, (plain, sealed))
        footer = b"".join(digests)
        _write(sealed, footer)
        os.fsync(sealed.fileno())
        _check_unchanged(plain, source)
    run.indices.append(index)
    return SealedFile(
        name=name,
        bytes=header.footer.end,
        head="sha256:" + digests[0].hex(),
        slots=header.slots,
        ciphertext="sha256:" + hashlib.sha256(footer).hexdigest(),
    )


def _seal_slots(
    run: _Run,
    cipher: FileCipher,
    header: Header,
    source: SourceFile,
    files: tuple[BinaryIO, BinaryIO],
) -> list[bytes]:
    plain_file, sealed_file = files
    plain = memoryview(bytearray(min(SLOT_PLAIN_BYTES, header.size)))
    buffers = [memoryview(bytearray(min(SLOT_BYTES, header.slot(0).size))) for _ in range(_BUFFERS)]
    pending: list[Future[bytes]] = []
    for number in range(header.slots):
        size = header.plain(number).size
        _read_fully(plain_file, plain[:size], source)
        if number >= _BUFFERS:
            # The buffer is free only once its digest has been taken.
            pending[number - _BUFFERS].result()
        sealed = buffers[number % _BUFFERS][: size + TAG_BYTES]
        cipher.seal_slot(number, plain[:size], sealed)
        pending.append(run.hasher.submit(_sha256, sealed))
        _write(sealed_file, sealed)
        run.done_bytes += size
        run.report(Progress(source.name, run.done_bytes, run.total_bytes))
    return [digest.result() for digest in pending]


def _sha256(data: memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def _read_fully(file: BinaryIO, into: memoryview, source: SourceFile) -> None:
    position = 0
    while position < len(into):
        count = file.readinto(into[position:])  # type: ignore[attr-defined]
        if not count:
            raise _changed(source)
        position += count


def _check_unchanged(file: BinaryIO, source: SourceFile) -> None:
    status = os.fstat(file.fileno())
    if file.read(1) or (status.st_size, status.st_mtime_ns) != (source.size, source.modified_ns):
        raise _changed(source)


def _changed(source: SourceFile) -> Invalid:
    message = f"{source.name} changed while it was sealed"
    return Invalid(message, code="changed_while_sealing", hint="seal again when it is quiet")


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, target: Path) -> None:
    _sync_folder(draft)
    if os.path.lexists(target):
        raise Refused(f"{target} exists already", code="target_exists", hint="choose another")
    # A rename onto a folder that has come meanwhile fails unless that folder is empty.
    draft.rename(target)
    _sync_folder(target.parent)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _silent(progress: Progress) -> None:
    """Nobody is watching."""
