"""Keys of the sealing benchmark: made of fixed seeds, they guard nothing."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.clock import SystemClock
from dutchdoor.custody.keyring import CustodianKey, FileSigner
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.evidence.statement import key_id
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.seal import seal_folder

__all__ = ["TRUST", "content_key", "seal"]

_HOLDER = FileSigner("holder", bytes(range(32)))
_CUSTODIANS = [CustodianKey(f"custodian-{n}", bytes([n + 1]) * 96) for n in range(3)]
TRUST = {key_id(_HOLDER.public_key): _HOLDER.public_key}


def seal(source: Path, target: Path) -> None:
    """A bundle that two of three custodians open."""
    seal_folder(
        source,
        target,
        model="benchmark",
        holder=_HOLDER,
        custodians=[custodian.public for custodian in _CUSTODIANS],
        threshold=2,
        clock=SystemClock(),
    )


def content_key(bundle: Path) -> ContentKey:
    """The content key, as the quorum gives it."""
    folder = open_folder(bundle, TRUST)
    shares = [unwrap_share(folder.shares, custodian) for custodian in _CUSTODIANS[:2]]
    return combine(shares, folder.manifest.content.commitment)
