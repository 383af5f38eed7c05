"""The same model under another key: what was sealed is sealed anew, slot by slot, in memory alone.

Whoever kept the former key, or a quorum of the former shares, cannot open the new bundle. Each
slot is decrypted, verified and encrypted again before the next one: no plaintext reaches the disk,
and memory stays at two slots. The new bundle is another one to the log: its digest is new, so no
decision on the former one opens it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from dutchdoor import canonical
from dutchdoor.clock import Clock
from dutchdoor.custody.model import ContentKey, CustodianPublic
from dutchdoor.custody.shares import check_quorum, key_commitment, wrap_shares
from dutchdoor.durable import sync_folder, write_durably
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.evidence.ports import Signer
from dutchdoor.weights.format import (
    TAG_BYTES,
    FileCipher,
    Index,
    encode_head,
    file_set_digest,
    new_header,
    region_digest,
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
    sealed_name,
)
from dutchdoor.weights.reader import SealedBundle

__all__ = ["reseal_bundle"]


def reseal_bundle(
    source: Path,
    key: ContentKey,
    target: Path,
    *,
    trust_keys: Mapping[str, bytes],
    holder: Signer,
    custodians: Sequence[CustodianPublic],
    threshold: int,
    clock: Clock,
    report: Report | None = None,
) -> Sealed:
    """A new bundle at `target` of what the bundle at `source` holds, under a new key.

    key: of `source`. trust_keys: holders' keys by key id, from configuration.
    Raises Refused: `target` exists. Raises Invalid, Tampered: `source` is not what was signed.
    Raises Unavailable: the disk. Whatever is raised, no bundle and no part of one is left.
    """
    check_quorum(threshold, len(custodians))
    if os.path.lexists(target):
        message = f"{target} exists already"
        raise Refused(message, code="target_exists", hint="a bundle is never overwritten")
    draft = target.parent / f".{target.name}.{secrets.token_hex(8)}"
    fresh = ContentKey.generate()
    try:
        draft.mkdir(mode=0o755)
        with SealedBundle.open(source, key, trust_keys) as plain:
            content = _reseal_files(plain, fresh, draft, report)
        shares = wrap_shares(
            fresh, bundle=content.digest, custodians=custodians, threshold=threshold
        ).encode()
        named = tuple(custodian.key_id for custodian in custodians)
        custody = Custody(threshold, named, "sha256:" + canonical.sha256_hex(shares))
        manifest = Manifest(content, custody, clock.now_ms())
        for name, data in ((SHARES_NAME, shares), (MANIFEST_NAME, manifest.sign(holder))):
            write_durably(draft / name, data)
        sync_folder(draft)
        draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        message = f"the bundle cannot be written: {error.strerror}"
        hint = "make room on the disk; the former bundle is untouched"
        raise Unavailable(message, code="seal_unavailable", hint=hint) from error
    finally:
        fresh.wipe()
        shutil.rmtree(draft, ignore_errors=True)
    return Sealed(manifest, content.digest)


def _reseal_files(
    plain: SealedBundle, key: ContentKey, folder: Path, report: Report | None
) -> Content:
    former, content_id = plain.manifest.content, secrets.token_hex(32)
    total, done = sum(plain.size(name) for name in plain.names()), 0
    files, indices = [], []
    for number, name in enumerate(plain.names()):
        index = plain._file(name).index
        with (folder / sealed_name(number)).open("xb", buffering=0) as into:
            files.append(_reseal_file(plain, key, index, (content_id, number), into))
            os.fsync(into.fileno())
        indices.append(index)
        done += index.size
        if report is not None:
            report(Progress(name, done, total))
    file_set = file_set_digest(key, content_id, indices)
    commitment = key_commitment(key)
    return Content(former.model, content_id, commitment, file_set, tuple(files), former.public)


def _reseal_file(
    plain: SealedBundle, key: ContentKey, index: Index, place: tuple[str, int], into: BinaryIO
) -> SealedFile:
    content_id, number = place
    index_plain = index.encode()
    header = new_header(
        content_id=content_id,
        file=number,
        size=index.size,
        index_bytes=len(index_plain) + TAG_BYTES,
        salt=secrets.token_bytes(32),
        prefix=secrets.token_bytes(7),
    )
    cipher = FileCipher(key, header)
    head, index_sealed = encode_head(header, cipher.commitment), cipher.seal_index(index_plain)
    _write(into, head)
    _write(into, index_sealed)
    digest = region_digest(header.version)
    digests = [digest(head), digest(index_sealed)]
    buffer = memoryview(bytearray(header.slot(0).size))
    for slot, piece in enumerate(plain.stream(index.name)):
        sealed = buffer[: len(piece) + TAG_BYTES]
        cipher.seal_slot(slot, piece, sealed)
        digests.append(digest(sealed))
        _write(into, sealed)
    footer = b"".join(digests)
    _write(into, footer)
    return SealedFile(
        name=sealed_name(number),
        bytes=header.footer.end,
        head="sha256:" + canonical.sha256_hex(head),
        slots=header.slots,
        ciphertext="sha256:" + canonical.sha256_hex(footer),
    )


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
