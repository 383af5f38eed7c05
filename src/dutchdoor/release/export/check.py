"""Checks a package offline, with keys that whoever checks it brings.

1. `dutchdoor/package.json` is the holder's statement: it names the package, the bundle, the
   decision and the key that signs the files.
2. `model.sig` holds under that key, every file is as it was signed, and there is no other.
3. `dutchdoor/decision.json` is that decision, signed by its approvers, at the same level, and it
   lets the weights leave.
4. Two receipts prove that the decision and the export are entries of the log, the export after it.

It does not say that the decision is still in force: for that, ask the holder, or read the log.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Decision, Trust, open_decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.statement import open_statement
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.keys import read_trust
from dutchdoor.evidence.verify.receipts import read_receipt
from dutchdoor.evidence.verify.report import Findings
from dutchdoor.release.export.conditions import opens_weights
from dutchdoor.release.export.package import OWN_FOLDER
from dutchdoor.release.export.signing import (
    SIGNATURE_BYTES_MAX,
    SIGNATURE_NAME,
    open_signature,
    public_key_of,
)

__all__ = [
    "DECISION_NAME",
    "DECISION_RECEIPT_NAME",
    "EXPORT_RECEIPT_NAME",
    "PACKAGE_KIND",
    "STATEMENT_NAME",
    "Package",
    "check_package",
]

PACKAGE_KIND = "release_package"
STATEMENT_NAME = f"{OWN_FOLDER}/package.json"
DECISION_NAME = f"{OWN_FOLDER}/decision.json"
DECISION_RECEIPT_NAME = f"{OWN_FOLDER}/decision.receipt.json"
EXPORT_RECEIPT_NAME = f"{OWN_FOLDER}/export.receipt.json"
SMALL_BYTES_MAX = 4 << 20
_FIELDS = {"package", "bundle", "decision", "model", "level", "key", "time_ms"}
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Package:
    """A package that holds. files: how many are signed. index: of its entry in the log."""

    id: str
    model: str
    decision: Decision
    files: int
    index: int


def check_package(folder: Path, trust: Trust) -> Package:
    """The package in `folder`, by steps 1 to 4.

    trust: whose signatures count, from whoever checks.
    Raises NotFound: no package there. Raises Invalid: a part is not in form or not signed by
    those who are trusted. Raises Tampered: a file is changed, gone, or not of the package.
    """
    said = _statement(folder, trust)
    files = _signed(folder, said["key"].encode())
    decision = open_decision(_read(folder, DECISION_NAME), trust)
    named = (decision.id, decision.bundle, decision.model, str(decision.level))
    if named != (said["decision"], said["bundle"], said["model"], said["level"]):
        raise Invalid("the package names another decision", code="other_decision")
    if not opens_weights(decision):
        message = "the decision in the package lets no weights leave"
        raise Refused(message, code="export_not_decided", hint="ask who gave it to you")
    return Package(said["package"], said["model"], decision, files, _recorded(folder, trust, said))


def _statement(folder: Path, trust: Trust) -> dict[str, Any]:
    data = _read(folder, STATEMENT_NAME)
    body = open_statement(data, kind=PACKAGE_KIND, keys=trust.holder, signatures_min=1).body
    texts = all(isinstance(body.get(name), str) for name in _FIELDS - {"time_ms"})
    if set(body) != _FIELDS or not texts:
        raise Invalid("not a package's statement", code="bad_package")
    return dict(body)


def _signed(folder: Path, pem: bytes) -> int:
    signature = _read(folder, SIGNATURE_NAME, SIGNATURE_BYTES_MAX)
    signed = open_signature(signature, public_key_of(pem)).files
    there = set(_paths(folder)) - {SIGNATURE_NAME}
    for path in sorted(there ^ set(signed)):
        what = "is not of the package" if path in there else "is gone"
        raise Tampered(f"{path} {what}", code="package_changed", where=path)
    for path, digest in signed.items():
        if _digest(folder / path) != digest:
            message = f"{path} is not as it was signed"
            raise Tampered(message, code="package_changed", where=path)
    return len(signed)


def _recorded(folder: Path, trust: Trust, said: dict[str, Any]) -> int:
    decided = _entry(folder, DECISION_RECEIPT_NAME, trust)
    exported = _entry(folder, EXPORT_RECEIPT_NAME, trust)
    envelope = base64.b64encode(_read(folder, DECISION_NAME)).decode()
    key = "sha256:" + hashlib.sha256(said["key"].encode()).hexdigest()
    body = exported[1].body
    names = ("package", "bundle", "decision", "level")
    fits = (
        decided[1].kind is EntryKind.DECISION_SIGNED
        and decided[1].body.get("envelope") == envelope
        and exported[1].kind is EntryKind.PACKAGE_EXPORTED
        and all(body.get(name) == said[name] for name in names)
        and body.get("key") == key
        and decided[0] < exported[0]
    )
    if not fits:
        message = "the receipts are not of this decision and this export"
        raise Invalid(message, code="package_not_recorded")
    return exported[0]


def _entry(folder: Path, name: str, trust: Trust) -> tuple[int, Entry]:
    findings = Findings()
    trusted = read_trust(encode_trust(trust))
    receipt = read_receipt(name, _read(folder, name), trusted, findings)
    if receipt is None:
        raise Invalid(f"{name} does not hold", code="package_not_recorded")
    return receipt.index, Entry.decode(receipt.entry)


def _paths(folder: Path) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Tampered(f"{name} is no plain file", code="package_changed", where=name)
        if path.is_file():
            found.append(name)
    return found


def _digest(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _read(folder: Path, name: str, bytes_max: int = SMALL_BYTES_MAX) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        message = f"there is no {name} in {folder}"
        hint = "name a folder that 'dutchdoor release export' wrote"
        raise NotFound(message, code="no_package", hint=hint) from error
    if len(data) > bytes_max:
        raise Invalid(f"{name} is larger than {bytes_max} bytes", code="bad_package")
    return data
