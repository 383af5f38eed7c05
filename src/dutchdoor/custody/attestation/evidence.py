"""The evidence of a host, as it travels beside a request to open; and a host's description.

Both are canonical JSON, read from unverified bytes. `docs/spec/opening.md` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.attestation.model import AttestationLimits
from dutchdoor.errors import Invalid

__all__ = ["HostEvidence"]

_VERSION = 1
_KIND = "host_evidence"
_PARTS_MAX = 8
_HOST_CHARACTERS_MAX = 64


@dataclass(frozen=True)
class HostEvidence:
    """What one host shows over one request. host: its id, for instance `tpm:0011223344556677`.

    request: digest of the request to open. measured: what the host says was measured, by name, in
    hexadecimal; believed only where a signed part covers it. parts: signed bytes, by name.
    """

    host: str
    request: str
    measured: Mapping[str, str]
    parts: Mapping[str, bytes]

    def encode(self) -> bytes:
        """The canonical bytes."""
        parts = {name: fields.base64_text(data) for name, data in self.parts.items()}
        value = {"kind": _KIND, "v": _VERSION, "host": self.host, "request": self.request}
        return canonical.encode({**value, "measured": dict(self.measured), "parts": parts})

    @property
    def digest(self) -> str:
        """The name of exactly this evidence, for the log."""
        return "sha256:" + canonical.sha256_hex(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> HostEvidence:
        """The evidence of `data` (unverified bytes).

        Raises Invalid: too long, not canonical, or a field missing or wrong.
        """
        limits = AttestationLimits()
        if len(data) > limits.evidence_bytes_max:
            raise Invalid("too long for a host's evidence", code="bad_evidence")
        value = canonical.parse(data)
        try:
            named = (value["kind"], value["v"])
            evidence = _read(value, limits)
        except fields.BAD_FIELD as error:
            raise Invalid("not a host's evidence", code="bad_evidence") from error
        # What does not come out again was not understood: unknown fields are refused.
        if named != (_KIND, _VERSION) or evidence.encode() != data:
            raise Invalid("a host's evidence of another form", code="bad_evidence")
        return evidence

    def part(self, name: str) -> bytes:
        """The part of this name. Raises Invalid: there is none."""
        if name not in self.parts:
            message = f"the evidence has no {name}"
            hint = "let the host make it again, with the same version of this program"
            raise Invalid(message, code="bad_evidence", hint=hint)
        return self.parts[name]


def _read(value: dict[str, Any], limits: AttestationLimits) -> HostEvidence:
    measured, parts = value["measured"], value["parts"]
    if len(measured) > limits.measurements_max or len(parts) > _PARTS_MAX:
        raise Invalid("too many parts", code="bad_evidence")
    read = {fields.text(name): fields.bytes_of(data) for name, data in parts.items()}
    if any(len(data) > limits.part_bytes_max for data in read.values()):
        raise Invalid("a part is too long", code="bad_evidence")
    host = fields.text(value["host"])
    if len(host) > _HOST_CHARACTERS_MAX:
        raise Invalid("no host's id", code="bad_evidence")
    return HostEvidence(
        host=host,
        request=fields.digest(value["request"]),
        measured={fields.text(n): fields.text(text) for n, text in measured.items()},
        parts=read,
    )
