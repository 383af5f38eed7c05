"""Signs the worked example anew, after somebody edited it, with made-up keys and times.

    python docs/examples/sign.py [FOLDER]

The keys are made from their names: anybody can make them, so these signatures prove nothing. They
are here so that the example can be checked like a real audit. Before a sign-off lies the effort
that the document states, and ten minutes more.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dutchdoor.audit.filling import fill_amend, fill_testing
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, Producer
from dutchdoor.audit.service import Audit
from dutchdoor.audit.standing import is_post_audit
from dutchdoor.clock import FixedClock
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.statement import key_id

EXAMPLE = Path(__file__).parent / "audit-smollm2"
STARTED_MS = 1_795_507_200_000
STEP_MS = 600_000
MINUTE_MS = 60_000


class MadeUpKey:
    """A key that anybody can make from its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        seed = hashlib.sha256(f"dutchdoor example {name}".encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


AUDITOR, HOLDER = MadeUpKey("auditor-1"), MadeUpKey("holder")
APPROVER, LOG = MadeUpKey("approver-1"), MadeUpKey("log")


def example_trust() -> Trust:
    """The keys that count in the example."""
    auditor, holder, approver = (
        {key_id(key.public_key): key.public_key} for key in (AUDITOR, HOLDER, APPROVER)
    )
    return Trust("example.org/example", LOG.public_key, holder, approver, 1, auditor)


def signers_of(kind: DocumentKind) -> tuple[MadeUpKey, ...]:
    """Who signs the document, in order."""
    if kind is DocumentKind.P2:
        return (HOLDER, AUDITOR)
    return {
        Producer.AUDITOR: (AUDITOR,),
        Producer.PRODUCT: (HOLDER,),
        Producer.JOINT: (AUDITOR, HOLDER),
        Producer.ORGANISATION: (APPROVER,),
    }[SPECIFICATIONS[kind].producer]


def effort_ms(folder: AuditFolder, kind: DocumentKind) -> int:
    """What the document says that it took."""
    return int(folder.read(kind).front["effort_minutes"]) * MINUTE_MS


def record(entry: Entry) -> Recorded:
    """The example has no log; its summary is recorded nowhere."""
    return Recorded(0, entry.encode())


def sign_example(folder: Path) -> None:
    """Forget earlier signatures, derive what follows, sign from S0 to P2."""
    for name in ("signatures", "history"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "summary.json").unlink(missing_ok=True)
    clock = FixedClock(STARTED_MS)
    audit = Audit(folder, example_trust(), clock)
    documents = AuditFolder(folder)
    fill_testing(documents, [], "sampling", None)
    fill_amend(documents)
    for kind in DocumentKind:
        if is_post_audit(kind) and audit.summary() is None:
            audit.complete(AUDITOR, record)
        clock.advance(effort_ms(documents, kind))
        for signer in signers_of(kind):
            clock.advance(STEP_MS)
            audit.sign(signer, [kind])


if __name__ == "__main__":
    sign_example(Path(sys.argv[1]) if sys.argv[1:] else EXAMPLE)
