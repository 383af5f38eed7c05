"""What the log holds: entries, and what a caller gets of one."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.errors import Invalid

__all__ = [
    "ENTRY_BYTES_MAX",
    "SALT_BYTES",
    "Entry",
    "EntryKind",
    "Opening",
    "Recorded",
    "commit",
    "new_salt",
]

ENTRY_BYTES_MAX = 65_535  # C2SP tlog-tiles gives each entry a 16-bit length.
SALT_BYTES = 16
ENTRY_VERSION = 1


class EntryKind(StrEnum):
    """The closed vocabulary of the log. `docs/reference/entries.md` gives the body of each."""

    LOG_OPENED = "log_opened"
    BUNDLE_SEALED = "bundle_sealed"
    DECISION_SIGNED = "decision_signed"
    DECISION_REVOKED = "decision_revoked"
    STAGE_ROLLED_BACK = "stage_rolled_back"
    INCIDENT_RECORDED = "incident_recorded"
    KEY_REQUESTED = "key_requested"
    KEY_RELEASED = "key_released"
    RUNTIME_STARTED = "runtime_started"
    RUNTIME_STOPPED = "runtime_stopped"
    PROBE_FITTED = "probe_fitted"
    AUDIT_SIGNED = "audit_signed"
    AUDIT_DUE = "audit_due"
    AUDIT_RENEWED = "audit_renewed"
    OUTPUTS_WRITTEN = "outputs_written"
    PANEL_CALLED = "panel_called"
    PANEL_OPENED = "panel_opened"
    PANEL_VOTED = "panel_voted"
    PANEL_CLOSED = "panel_closed"
    COPY_MADE = "copy_made"
    COPY_DESTROYED = "copy_destroyed"
    COPY_SEEN = "copy_seen"
    CUSTODY_ROTATED = "custody_rotated"
    CUSTODY_DRILLED = "custody_drilled"
    PACKAGE_EXPORTED = "package_exported"
    PERSON_ADDED = "person_added"
    PERSON_REMOVED = "person_removed"
    KEY_ISSUED = "key_issued"
    KEY_REVOKED = "key_revoked"
    GRANT_MADE = "grant_made"
    GRANT_REVOKED = "grant_revoked"
    POLICY_LOADED = "policy_loaded"
    INFERENCE_BEGUN = "inference_begun"
    INFERENCE_DONE = "inference_done"
    INFERENCE_REFUSED = "inference_refused"
    INFERENCE_LOST = "inference_lost"


@dataclass(frozen=True)
class Entry:
    """One thing that happened, ready to be recorded.

    time_ms: when, by the recorder's clock. body: canonical values only (no floats).
    """

    kind: EntryKind
    time_ms: int
    body: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The canonical bytes, at most 65,535.

        Raises Invalid: the body has no canonical form, or the entry is too long.
        """
        value = {"v": ENTRY_VERSION, "kind": str(self.kind), "time_ms": self.time_ms}
        data = canonical.encode({**value, "body": self.body})
        if len(data) > ENTRY_BYTES_MAX:
            message = f"the entry has {len(data)} bytes, {ENTRY_BYTES_MAX} are allowed"
            raise Invalid(message, code="entry_too_long", hint="record a digest instead")
        return data

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """The entry of `data` (unverified bytes).

        Raises Invalid: not canonical, another version, an unknown kind, or a missing field.
        """
        value = canonical.parse(data)
        if not isinstance(value, dict) or set(value) != {"v", "kind", "time_ms", "body"}:
            raise Invalid("not an entry: fields missing or unknown", code="bad_entry")
        if value["v"] != ENTRY_VERSION or not isinstance(value["body"], dict):
            raise Invalid("not an entry of version 1", code="bad_entry")
        time_ms = value["time_ms"]
        if isinstance(time_ms, bool) or not isinstance(time_ms, int):
            raise Invalid("an entry's time is not an integer", code="bad_entry")
        try:
            kind = EntryKind(value["kind"])
        except ValueError as error:
            raise Invalid("an entry of unknown kind", code="bad_entry") from error
        return cls(kind, time_ms, value["body"])


@dataclass(frozen=True)
class Recorded:
    """An entry that is durable: its index in the log, and its exact bytes."""

    index: int
    data: bytes


class Opening(NamedTuple):
    """What opens a commitment: the salt and the content that were hashed together."""

    salt: bytes
    content: bytes


def new_salt() -> bytes:
    """16 random bytes for one commitment."""
    return secrets.token_bytes(SALT_BYTES)


def commit(opening: Opening) -> str:
    """The commitment to `opening`: `sha256:` and SHA-256(salt || content) in hexadecimal.

    Without the 16-byte salt a guess at the content cannot be confirmed.
    """
    assert len(opening.salt) == SALT_BYTES, "a salt has 16 bytes"
    return "sha256:" + hashlib.sha256(opening.salt + opening.content).hexdigest()
