"""A bundle looked at without its key: who signed it, what it holds, and where it was changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dutchdoor.errors import DutchdoorError, Tampered
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.folder import OpenFile, open_folder, open_sealed, read_span
from dutchdoor.weights.format import Span, region_digest
from dutchdoor.weights.model import Change, Manifest, Progress, Report, SealedFile

__all__ = ["Inspection", "inspect_bundle", "verify_ciphertext"]


class Inspection(NamedTuple):
    """A signed bundle, and every place where head, footer or size differ from what was signed."""

    manifest: Manifest
    digest: BundleDigest
    changes: tuple[Change, ...]


def inspect_bundle(path: Path, trust_keys: Mapping[str, bytes]) -> Inspection:
    """The bundle at `path`: signature, file list, shares, sizes, heads and footers; no slots.

    Raises as `weights.folder.open_folder` does: without a signed manifest there is nothing to
    compare with.
    """
    manifest = open_folder(path, trust_keys).manifest
    changes: list[Change] = []
    for file in manifest.content.files:
        try:
            os.close(open_sealed(path, file).handle)
        except Tampered as error:
            changes.append(_change(file, error))
    return Inspection(manifest, manifest.digest, tuple(changes))


def verify_ciphertext(
    path: Path, trust_keys: Mapping[str, bytes], report: Report | None = None
) -> tuple[Change, ...]:
    """Every place where the ciphertext differs from what was signed; empty where nothing does.

    Reads every byte: BLAKE3, faster than most disks. This is what stops a holder of the key,
    who could otherwise forge slots; run it after fetching a bundle, not at each load.
    Raises as `weights.folder.open_folder` does.
    """
    manifest = open_folder(path, trust_keys).manifest
    changes: list[Change] = []
    done_bytes = 0
    for file in manifest.content.files:
        try:
            opened = open_sealed(path, file)
        except Tampered as error:
            changes.append(_change(file, error))
            continue
        digest = region_digest(opened.header.version)
        try:
            for region, (what, span) in enumerate(_regions(opened)):
                data = read_span(opened.handle, span, file.name)
                if digest(data) != opened.region_digest(region):
                    changes.append(Change(file.name, span.offset, span.size, what))
                done_bytes += span.size
                if report is not None:
                    report(Progress(file.name, done_bytes, manifest.sealed_bytes))
        except Tampered as error:
            changes.append(_change(file, error))
        finally:
            os.close(opened.handle)
    return tuple(changes)


def _regions(opened: OpenFile) -> list[tuple[str, Span]]:
    header = opened.header
    slots = [(f"slot {number}", header.slot(number)) for number in range(header.slots)]
    return [("head", Span(0, header.head_bytes)), ("index", header.index), *slots]


def _change(file: SealedFile, error: DutchdoorError) -> Change:
    return Change(file.name, 0, 0, error.message)
