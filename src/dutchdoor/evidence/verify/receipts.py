"""Receipts: what a stranger was given, checked against the log and by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.hashes import leaf, root_by_proof
from dutchdoor.evidence.verify.keys import Trusted, open_head, unbase64
from dutchdoor.evidence.verify.report import Findings

__all__ = ["Receipt", "check_against_log", "read_receipt"]

_FIELDS = {"v", "entry", "index", "size", "proof", "checkpoint", "openings"}
SALT_BYTES = 16


@dataclass(frozen=True)
class Receipt:
    """A receipt that holds by itself: entry `index` is under a checkpoint of the trusted log."""

    name: str
    index: int
    entry: bytes
    size: int
    root: bytes


def read_receipt(name: str, data: bytes, trusted: Trusted, findings: Findings) -> Receipt | None:
    """Check a receipt by itself; None where it does not hold.

    1. Its checkpoint is signed by the trusted log.
    2. Its proof leads from the entry to the checkpoint's root.
    3. Each opening opens the commitment in the entry's field of that name.
    """
    try:
        value = canonical.parse(data)
        receipt = _open(name, value, trusted)
        body = canonical.parse(receipt.entry)["body"]
        rows = value["openings"].items()
        problems = [text for field, row in rows if (text := _opening(field, row, body))]
    except Invalid as error:
        findings.add(name, f"the receipt does not hold: {error.message}")
        return None
    except (TypeError, AttributeError, KeyError, ValueError):
        findings.add(name, "the receipt does not hold: it is out of form")
        return None
    for problem in problems:
        findings.add(name, problem)
    return receipt


def check_against_log(
    receipt: Receipt, entry: bytes | None, root: bytes | None, findings: Findings
) -> None:
    """Check that the log still is what it was when it gave the receipt.

    entry: the log's at the receipt's index. root: the log's at the receipt's size. None: the log
    has not so many entries.
    """
    if root is None or entry is None:
        message = f"the log is shorter than the {receipt.size} entries it signed for this receipt"
        findings.add(receipt.name, message)
    elif root != receipt.root:
        findings.add(
            receipt.name, "the log is not the one that gave this receipt: its roots differ"
        )
    elif entry != receipt.entry:
        findings.add(receipt.name, f"the receipt's entry is not the log's entry {receipt.index}")


def _open(name: str, value: Any, trusted: Trusted) -> Receipt:
    if not isinstance(value, dict) or value.keys() != _FIELDS or value["v"] != 1:
        raise Invalid("not a receipt of version 1", code="bad_receipt")
    entry = unbase64(value["entry"])
    index, size = value["index"], value["size"]
    if type(index) is not int or type(size) is not int:
        raise Invalid("index and size are integers", code="bad_receipt")
    head = open_head(value["checkpoint"].encode(), trusted)
    if head.size != size:
        raise Invalid("its size is not its checkpoint's", code="bad_receipt")
    proof = [unbase64(text) for text in value["proof"]]
    if not _leads(entry, index, size, proof, head.root):
        raise Invalid("the proof does not lead to the checkpoint", code="bad_receipt")
    return Receipt(name, index, entry, size, head.root)


def _leads(entry: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    if len(proof) > 63 or any(len(node) != 32 for node in proof):
        return False
    return root_by_proof(leaf(entry), index, size, proof) == root


def _opening(field: str, opening: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    if opening.keys() != {"salt", "content"}:
        raise Invalid("an opening has a salt and a content", code="bad_receipt")
    salt, content = unbase64(opening["salt"]), unbase64(opening["content"])
    commitment = "sha256:" + hashlib.sha256(salt + content).hexdigest()
    if len(salt) != SALT_BYTES or body.get(field) != commitment:
        return f"the receipt's {field!r} is not what the entry committed to"
    return ""
