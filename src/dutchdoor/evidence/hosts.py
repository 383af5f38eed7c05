"""Hosts that the holder enrolled: whose evidence custodians believe, and what it must show.

In trust.json, `hosts` by id, left out where there are none:

    "tpm:0011223344556677": {
      "name": "rack-4",
      "public": "base64 of the key's TPMT_PUBLIC",
      "measurements": {"sha256:0": "64 hexadecimal digits", "sha256:7": "…"},
      "bundles": ["sha256:…"]
    }

`bundles` empty: any. For `snp:…`, `public` is the DER of the key that certifies the processor
(AMD's root) and `measurements` has `launch`, and may have `chip`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid

__all__ = ["HOST_KINDS", "Host", "host_from_value", "hosts_from_value"]

HOST_KINDS = ("tpm", "snp")
HOSTS_MAX = 1_000
_BUNDLES_MAX, _MEASUREMENTS_MAX, _PUBLIC_BYTES_MAX = 1_000, 64, 4_096
_FIELDS = {"name", "public", "measurements", "bundles"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_BUNDLE = re.compile(r"sha256:[0-9a-f]{64}")
_MEASURED = re.compile(r"[0-9a-z:]{1,32}")
_VALUE = re.compile(r"(?:[0-9a-f]{2}){1,64}")


@dataclass(frozen=True)
class Host:
    """One host. kind: `tpm` or `snp`. bundles: digests of what it may open; empty for any.

    public: the key that verifies. measurements: hexadecimal, by name; the host shows exactly these.
    """

    kind: str
    name: str
    public: bytes
    measurements: Mapping[str, str]
    bundles: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Kind, `:`, and 16 hexadecimal digits: of the key, for snp of key and measurements.

        Of a TPM's key the digest is the one in its TPM name.
        """
        named = self.public
        if self.kind == "snp":
            # One root certifies all processors of a kind: what is measured tells hosts apart.
            rows = sorted(self.measurements.items())
            named += b"".join(f"\n{name}={value}".encode() for name, value in rows)
        return f"{self.kind}:{hashlib.sha256(named).hexdigest()[:16]}"

    def to_value(self) -> dict[str, Any]:
        """As trust.json has it, without its id."""
        return {
            "name": self.name,
            "public": base64.b64encode(self.public).decode(),
            "measurements": dict(sorted(self.measurements.items())),
            "bundles": list(self.bundles),
        }


def host_from_value(kind: str, value: Any) -> Host:
    """The host of one value (unverified) of the form that `Host.to_value` gives.

    Raises Invalid: another form.
    """
    try:
        fits = (
            kind in HOST_KINDS
            and isinstance(value, dict)
            and set(value) == _FIELDS
            and _NAME.fullmatch(value["name"]) is not None
            and len(value["bundles"]) <= _BUNDLES_MAX
            and all(_BUNDLE.fullmatch(row) for row in value["bundles"])
            and 0 < len(value["measurements"]) <= _MEASUREMENTS_MAX
            and all(
                _MEASURED.fullmatch(name) and _VALUE.fullmatch(text)
                for name, text in value["measurements"].items()
            )
        )
        public = base64.b64decode(value["public"], validate=True) if fits else b""
        host = Host(
            kind, value["name"], public, dict(value["measurements"]), tuple(value["bundles"])
        )
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _bad("a host is of another form") from error
    # One text for one key; and a list of bundles is a list, not what else can be iterated.
    if not fits or not 0 < len(public) <= _PUBLIC_BYTES_MAX or host.to_value() != value:
        raise _bad("a host is of another form")
    return host


def hosts_from_value(value: Any) -> dict[str, Host]:
    """The hosts of trust.json (unverified), by id. Raises Invalid: another form, or a wrong id."""
    if not isinstance(value, dict) or not 0 < len(value) <= HOSTS_MAX:
        raise _bad("hosts are by id, and left out where there are none")
    found = {}
    for name, row in value.items():
        host = host_from_value(str(name).partition(":")[0], row)
        if host.id != name:
            raise _bad(f"{name} is not the id of its key")
        found[host.id] = host
    return found


def _bad(reason: str) -> Invalid:
    hint = "take the file again from whoever made the workspace"
    return Invalid(f"not a trust file: {reason}", code="bad_trust", hint=hint)
