"""Verifies one evidence folder, and receipts from it, against keys that come from elsewhere.

1. Read trust.json: nothing in the folder says whom to believe.
2. Check each receipt by itself.
3. Walk all entries in the journal's order; re-derive the tree; compare each tile, each bundle and
   each checkpoint with it (`folder`).
4. Judge each entry by those before it (`history`).
5. Check each receipt against the log.

What the caller must still do: get trust.json from the log's owner on another way than the folder,
and keep a receipt or a checkpoint from before, because a log that was cut back to an earlier state,
checkpoint and all, can only be told from an honest one by what somebody else remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dutchdoor.errors import NotFound
from dutchdoor.evidence.verify.folder import Folder
from dutchdoor.evidence.verify.history import History
from dutchdoor.evidence.verify.keys import read_trust
from dutchdoor.evidence.verify.receipts import check_against_log, read_receipt
from dutchdoor.evidence.verify.report import Findings, Report

__all__ = ["verify"]


def verify(folder: Path, trust: bytes, receipts: Mapping[str, bytes] | None = None) -> Report:
    """What holds and what does not in `folder` and in `receipts` (by name, unverified).

    trust: the bytes of trust.json, trusted.
    Raises Invalid: `trust` is no trust file. Raises NotFound: there is no such folder.
    """
    trusted = read_trust(trust)
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", code="no_log")
    findings = Findings()
    given = receipts or {}
    rows = [read_receipt(name, data, trusted, findings) for name, data in given.items()]
    held = [receipt for receipt in rows if receipt is not None]
    sizes = {receipt.size for receipt in held}
    indexes = {receipt.index for receipt in held}
    roots: dict[int, bytes] = {}
    entries: dict[int, bytes] = {}

    walk = Folder(folder, trusted, findings)
    history = History(trusted, findings)
    for located in walk.entries():
        # Here the tree has as many entries as the number of this one.
        if located.number in sizes:
            roots[located.number] = walk.tree.root()
        if located.number in indexes:
            entries[located.number] = located.data
        history.follow(located.number, located.data, located.where)
    roots[walk.size] = walk.tree.root()
    if walk.size == 0:
        findings.add("journal", "holds no entry that can be read")
    for receipt in held:
        check_against_log(receipt, entries.get(receipt.index), roots.get(receipt.size), findings)
    return Report(
        origin=trusted.origin,
        root=walk.tree.root().hex(),
        entries=walk.size,
        inferences=history.inferences,
        decisions=history.decisions.count,
        receipts=len(given),
        open_inferences=tuple(history.open),
        findings=tuple(findings.rows),
        notices=tuple(walk.notices),
    )
