"""trust.json: the public keys a verifier trusts, as people keep and send them.

    {
      "approvals_min": 2,
      "approvers": {"ed25519:0011223344556677": "base64 of 32 bytes", ...},
      "auditors": {"ed25519:1122334455667700": "base64 of 32 bytes", ...},
      "holder": {"ed25519:8899aabbccddeeff": "base64 of 32 bytes"},
      "log": "example.org/dutchdoor+1a2b3c4d+base64",
      "outside": {"ed25519:2233445566770011": "base64 of 32 bytes"},
      "v": 1
    }

`outside`, keys of regulators and panels, is left out where there is nobody; so is `hosts`
(`hosts.py`), the machines that the holder enrolled to open bundles.

Trusted: whoever changes this file decides whose decisions count and which log is believed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.config import missing_hint
from dutchdoor.errors import Invalid, NotFound, Unavailable
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.hosts import hosts_from_value
from dutchdoor.evidence.note import VerifierKey, decode_base64
from dutchdoor.evidence.statement import key_id

__all__ = ["Trust", "encode_trust", "load_trust", "log_key", "parse_trust", "save_trust"]

TRUST_VERSION = 1
TRUST_BYTES_MAX = 1_000_000
KEYS_MAX = 1_000
_FIELDS = {"v", "log", "holder", "approvers", "auditors", "approvals_min"}
_OPTIONAL = {"outside", "hosts"}


def log_key(trust: Trust) -> VerifierKey:
    """The key that verifies the log's checkpoints."""
    return VerifierKey(trust.log_origin, trust.log_key)


def encode_trust(trust: Trust) -> bytes:
    """The file's bytes: JSON that people can read, with sorted keys and a newline."""
    hosts = {name: host.to_value() for name, host in trust.hosts.items()}
    value = {
        "v": TRUST_VERSION,
        "log": log_key(trust).to_text(),
        "holder": _texts(trust.holder),
        "approvers": _texts(trust.approvers),
        "auditors": _texts(trust.auditors),
        "approvals_min": trust.approvals_min,
        **({"outside": _texts(trust.outside)} if trust.outside else {}),
        **({"hosts": hosts} if hosts else {}),
    }
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return text.encode() + b"\n"


def parse_trust(data: bytes) -> Trust:
    """The keys in `data`, canonical JSON or the form that `encode_trust` writes.

    Raises Invalid: anything else, a key id that is not its key's, or a key that is none.
    """
    if len(data) > TRUST_BYTES_MAX:
        raise _bad("it is too long")
    try:
        value = json.loads(data.decode())
        compact = canonical.encode(value)
    except (ValueError, RecursionError, Invalid) as error:
        raise _bad("it is not JSON") from error
    if (
        not isinstance(value, dict)
        or set(value) - _OPTIONAL != _FIELDS
        or value["v"] != TRUST_VERSION
    ):
        raise _bad("its fields are not those of version 1")
    count = value["approvals_min"]
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise _bad("approvals_min is at least 1")
    if not isinstance(value["log"], str):
        raise _bad("log is a verifier key")
    key = VerifierKey.from_text(value["log"])
    holder, approvers = _keys(value["holder"]), _keys(value["approvers"])
    auditors = _keys(value["auditors"])
    if set(auditors) & set(approvers):
        raise _bad("somebody is both auditor and approver")
    outside = _keys(value.get("outside", {}))
    if set(outside) & {*holder, *approvers, *auditors}:
        raise _bad("somebody outside is also holder, approver or auditor")
    hosts = hosts_from_value(value["hosts"]) if "hosts" in value else {}
    trust = Trust(key.name, key.public_key, holder, approvers, count, auditors, outside, hosts)
    # A key written twice would hide one of the two from whoever reads the file.
    if data not in (compact, encode_trust(trust)):
        raise _bad("it is written in another form")
    return trust


def load_trust(path: Path) -> Trust:
    """The keys in the file `path`. Raises NotFound, Unavailable, Invalid."""
    try:
        return parse_trust(path.read_bytes())
    except FileNotFoundError as error:
        hint = missing_hint(path.parent, f"its trust file, {path.name}")
        raise NotFound(f"there is no {path}", code="no_trust", hint=hint) from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read", code="trust_unavailable") from error


def save_trust(path: Path, trust: Trust) -> None:
    """Write `trust` to `path`, whole or not at all. Raises Unavailable: the disk."""
    new = path.with_name(path.name + ".new")
    try:
        new.write_bytes(encode_trust(trust))
        new.replace(path)
    except OSError as error:
        raise Unavailable(f"{path} cannot be written", code="trust_unavailable") from error


def _texts(keys: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(key).decode() for name, key in keys.items()}


def _keys(value: Any) -> dict[str, bytes]:
    if not isinstance(value, dict) or len(value) > KEYS_MAX:
        raise _bad("holder, approvers and auditors are keys by key id")
    keys = {}
    for name, text in value.items():
        if not isinstance(text, str):
            raise _bad(f"{name} is no key")
        key = decode_base64(text, code="bad_trust")
        if len(key) != 32 or key_id(key) != name:
            raise _bad(f"{name} is not the id of its key")
        keys[name] = key
    return keys


def _bad(reason: str) -> Invalid:
    hint = "take the file again from whoever made the workspace"
    return Invalid(f"not a trust file: {reason}", code="bad_trust", hint=hint)
