"""What a gateway does first: say which inferences its dead predecessors left without an end."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from dutchdoor.access.slices import holder_of_slice
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.index import InferenceIndex
from dutchdoor.gateway.presence import Presence
from dutchdoor.gateway.recorder import Recorder

__all__ = ["recover"]


async def recover(
    *,
    index: InferenceIndex,
    presence: Presence,
    recorder: Recorder,
    admission: Admission,
    folder: Path,
) -> list[str]:
    """The inferences now recorded as lost: begun, not ended, and their gateway no longer lives.

    What left of them is not known, so their reservations are settled in full.
    folder: for the lock that keeps two starting gateways from recording the same loss twice.
    Raises Unavailable: the log or the budgets cannot be written; then nothing may be served.
    """
    descriptor = await asyncio.to_thread(_lock, folder)
    try:
        await asyncio.to_thread(index.follow)
        lost = [name for name, gateway in index.open.items() if not presence.alive(gateway)]
        for inference in lost:
            place = index.place(inference)
            body = {"inference": inference, "begun": place.begun if place else -1}
            await recorder.record(EntryKind.INFERENCE_LOST, body)
        if lost:
            await asyncio.to_thread(index.follow)
        alone = not presence.others_live()
        await admission.in_thread(_settle, admission, index, presence, alone=alone)
    finally:
        os.close(descriptor)
    return lost


def _settle(
    admission: Admission, index: InferenceIndex, presence: Presence, *, alone: bool
) -> None:
    """Settle in full what the dead had reserved: what was sent of it is not known.

    alone: no other gateway runs. Otherwise what is reserved and not in the log may be another's,
    about to begin.
    """
    dead = []
    for reservation in admission.access.open_reservations():
        holder = holder_of_slice(reservation.id)
        known = index.place(reservation.id) is not None
        ended = index.ended(reservation.id)
        if (holder and not presence.alive(holder)) or ended or (alone and not known):
            dead.append(reservation.id)
    admission.access.recover(dead)


def _lock(folder: Path) -> int:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(folder / "recovery.lock", flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        message = f"no lock file can be kept in {folder}"
        raise Unavailable(message, code="presence_unavailable") from error
    return descriptor
