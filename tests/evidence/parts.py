"""Real keys, decisions and entries for the tests of the evidence room."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dutchdoor import canonical
from dutchdoor.clock import FixedClock
from dutchdoor.evidence.checkpoint import Checkpoint
from dutchdoor.evidence.decision import (
    DECISION_KIND,
    REVOCATION_KIND,
    Audience,
    Decision,
    Depth,
    GuardTerms,
    Level,
    Trust,
)
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.journal import encode_frame
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.merkle import leaf_hash
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.note import sign_note
from dutchdoor.evidence.ports import Gate
from dutchdoor.evidence.reaudit import DUE_KIND, RENEWAL_KIND, Due, Renewal
from dutchdoor.evidence.statement import key_id, sign_statement
from dutchdoor.evidence.tree import Tree
from dutchdoor.ids import BundleDigest, DecisionId

ORIGIN = "test.example/log"
BUNDLE = BundleDigest("sha256:" + "ab" * 32)
OTHER_BUNDLE = BundleDigest("sha256:" + "cd" * 32)
COMMITMENT = "sha256:" + "0" * 64
BEGIN_MS = 1_800_000_000_000
END_MS = BEGIN_MS + 1_000_000


class TestSigner:
    """A real Ed25519 key, the same one each time for the same name."""

    __test__ = False

    def __init__(self, name: str) -> None:
        self.name = name
        seed = hashlib.sha256(b"dutchdoor test key " + name.encode()).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


LOG = TestSigner("log")
HOLDER = TestSigner("holder")
ALICE = TestSigner("alice")
BOB = TestSigner("bob")
STRANGER = TestSigner("stranger")


def _keys(*signers: TestSigner) -> dict[str, bytes]:
    return {key_id(signer.public_key): signer.public_key for signer in signers}


TRUST = Trust(ORIGIN, LOG.public_key, _keys(HOLDER), _keys(ALICE, BOB), 2)

DECISION = Decision(
    id=DecisionId("decision_one"),
    bundle=BUNDLE,
    model="tiny",
    level=Level.CLOUD_API,
    stage="1",
    audiences=(Audience("researcher", (Depth.SAMPLING, Depth.LOGPROBS)),),
    guard=GuardTerms("sha256:" + "11" * 32, "fpr_0.01", 0),
    hidden_size=64,
    vectors_max=16,
    audit="sha256:" + "22" * 32,
    reasons="a test",
    supersedes="",
    not_before_ms=BEGIN_MS,
    not_after_ms=END_MS,
)
CLOSED = replace(
    DECISION,
    id=DecisionId("decision_closed"),
    level=Level.FULLY_CLOSED,
    audit="",
    guard=GuardTerms(),
    audiences=(Audience("auditor", (Depth.SAMPLING, Depth.AUDIT), ("person_auditor",)),),
)


def decision_entry(
    decision: Decision = DECISION, /, signers: tuple[TestSigner, ...] = (ALICE, BOB), **said: Any
) -> Entry:
    """The entry of `decision`; `said` makes the entry lie about its envelope."""
    envelope = sign_statement(DECISION_KIND, decision.to_body(), signers)
    body = {
        "decision": decision.id,
        "bundle": decision.bundle,
        "level": str(decision.level),
        "envelope": base64.b64encode(envelope).decode(),
    }
    return Entry(EntryKind.DECISION_SIGNED, BEGIN_MS, {**body, **said})


def revocation_entry(
    decision: Decision = DECISION, /, signers: tuple[TestSigner, ...] = (ALICE,), **said: Any
) -> Entry:
    body = {"decision": decision.id, "bundle": decision.bundle, "reason": "it leaks"}
    envelope = sign_statement(REVOCATION_KIND, body, signers)
    text = base64.b64encode(envelope).decode()
    return Entry(EntryKind.DECISION_REVOKED, BEGIN_MS, {**body, "envelope": text, **said})


def begun(name: str = "inf_1", decision: Decision = DECISION, **fields: Any) -> Entry:
    body = {
        "inference": name,
        "bundle": decision.bundle,
        "decision": decision.id,
        "grant": "grant_1",
        "person": "person_1",
        "key": "key_1",
        "depths": ["sampling"],
        "route": "/v1/chat/completions",
        "prompt": COMMITMENT,
        "rule": "researchers",
        "verdict": {"allowed": True},
        "reserved": {"tokens": 10},
    }
    return Entry(EntryKind.INFERENCE_BEGUN, BEGIN_MS + 1, {**body, **fields})


def done(index: int, name: str = "inf_1", **fields: Any) -> Entry:
    body = {
        "inference": name,
        "begun": index,
        "outcome": "finished",
        "completion": COMMITMENT,
        "counts": {"prompt_tokens": 3, "completion_tokens": 5, "vectors": 0},
        "verdicts": [],
    }
    return Entry(EntryKind.INFERENCE_DONE, BEGIN_MS + 2, {**body, **fields})


def lost(index: int, name: str = "inf_1") -> Entry:
    return Entry(EntryKind.INFERENCE_LOST, BEGIN_MS + 2, {"inference": name, "begun": index})


def key_released(decision: Decision = DECISION, /, **fields: Any) -> Entry:
    body = {
        "bundle": decision.bundle,
        "decision": decision.id,
        "custodians": ["ann", "ben"],
        "runtime_key": "k",
        "request": "r",
    }
    return Entry(EntryKind.KEY_RELEASED, BEGIN_MS + 1, {**body, **fields})


def runtime_started(decision: Decision = DECISION) -> Entry:
    body = {"bundle": decision.bundle, "decision": decision.id, "hardening": ["no_core"]}
    return Entry(EntryKind.RUNTIME_STARTED, BEGIN_MS + 1, body)


def sealed(threshold: int = 2) -> Entry:
    body = {"bundle": BUNDLE, "model": "tiny", "custodians": ["a", "b", "c"]}
    return Entry(EntryKind.BUNDLE_SEALED, BEGIN_MS, {**body, "threshold": threshold})


def audit_signed(
    number: int = 1, signer: TestSigner = HOLDER, /, at_ms: int = BEGIN_MS, **said: Any
) -> Entry:
    """A completed audit; its summary's digest differs by `number`. `said` makes the entry lie."""
    claim = {"audit": f"audit_{number}", "bundle": said.pop("of", BUNDLE), "completed_ms": at_ms}
    envelope = sign_statement("audit_summary", dict(claim), [signer])
    body = {
        "audit": claim["audit"],
        "bundle": claim["bundle"],
        "summary": "sha256:" + canonical.sha256_hex(envelope),
        "envelope": base64.b64encode(envelope).decode(),
        **said,
    }
    return Entry(EntryKind.AUDIT_SIGNED, at_ms, body)


def due_entry(
    name: str = "due_1",
    signer: TestSigner = ALICE,
    /,
    due_ms: int = BEGIN_MS,
    grace_ms: int = 0,
    **said: Any,
) -> Entry:
    """A due on the bundle of the tests; `said` makes the entry lie about its envelope."""
    due = Due(
        name, DECISION.audit, said.pop("of", BUNDLE), "incident", "it leaked", due_ms, grace_ms
    )
    return _claimed(EntryKind.AUDIT_DUE, DUE_KIND, due.to_body(), signer, said)


def renewal_entry(
    name: str = "renewal_1",
    signer: TestSigner = HOLDER,
    /,
    dues: tuple[str, ...] = ("due_1",),
    audit: str = DECISION.audit,
    at_ms: int = BEGIN_MS,
    **said: Any,
) -> Entry:
    """An auditor's renewal: the test trust names no auditors, so the holder is one."""
    renewal = Renewal(name, audit, said.pop("of", BUNDLE), dues, "it was a test", at_ms)
    entry = _claimed(EntryKind.AUDIT_RENEWED, RENEWAL_KIND, renewal.to_body(), signer, said)
    return replace(entry, time_ms=at_ms)


def _claimed(
    kind: EntryKind, claim: str, body: dict[str, Any], signer: TestSigner, said: dict[str, Any]
) -> Entry:
    envelope = base64.b64encode(sign_statement(claim, dict(body), [signer])).decode()
    return Entry(kind, BEGIN_MS, {**body, "envelope": envelope, **said})


def outputs_written(signer: TestSigner = HOLDER, summary: str = "", **fields: Any) -> Entry:
    """The outputs of an audit as they are recorded; `fields` say other than the envelope."""
    claim = {"audit": "audit_1", "bundle": BUNDLE, "summary": summary}
    envelope = sign_statement("audit_outputs", dict(claim), [signer])
    body = {
        **claim,
        "outputs": "sha256:" + canonical.sha256_hex(envelope),
        "envelope": base64.b64encode(envelope).decode(),
        **fields,
    }
    return Entry(EntryKind.OUTPUTS_WRITTEN, BEGIN_MS, body)


def small(number: int) -> Entry:
    """An entry that stands under nothing."""
    return Entry(EntryKind.PERSON_REMOVED, BEGIN_MS, {"person": f"person_{number}"})


def inferences(count: int, start: int) -> list[Entry]:
    """`count` pairs of begun and done, the first to stand at index `start`."""
    rows: list[Entry] = []
    for number in range(count):
        rows += [begun(f"inf_{start}_{number}"), done(start + 2 * number, f"inf_{start}_{number}")]
    return rows


@dataclass
class Workspace:
    """One evidence folder and how it is opened."""

    folder: Path
    clock: FixedClock
    trust: Trust = TRUST

    def create(self, *, gate: Gate | None = None, files: Files | None = None) -> Log:
        return Log.create(self.folder, LOG, ORIGIN, self.clock, gate=gate, files=files)

    def open(self, *, gate: Gate | None = None, files: Files | None = None) -> Log:
        return Log(self.folder, LOG, self.clock, gate=gate, files=files)


def write_journal(folder: Path, *batches: list[bytes]) -> None:
    """A journal whose owner signs whatever stands in it."""
    tree = Tree()
    data = b""
    note = b""
    for batch in batches:
        for entry in batch:
            tree.add(leaf_hash(entry))
        text = Checkpoint(ORIGIN, tree.size, tree.frontier.root()).to_text()
        note = sign_note(text, ORIGIN, LOG)
        data += encode_frame(batch, note)
    (folder / "journal").mkdir(parents=True)
    (folder / "journal" / "000000").write_bytes(data)
    (folder / "checkpoint").write_bytes(note)
