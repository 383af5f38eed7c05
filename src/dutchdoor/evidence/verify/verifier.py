"""Verifies one evidence folder, and receipts from it, against keys that come from elsewhere.

1. Read trust.json: nothing in the folder says whom to believe.
2. Check each receipt by itself.
3. Walk all entries in the journal's order; re-derive the tree; compare each tile, each bundle and
   each checkpoint with it (`folder`).
4. Judge each entry by those before it (`history`).
5. Check each receipt against the log, and that the log continues each checkpoint from before.

What the caller must still do: get trust.json from the log's owner on another way than the folder,
and keep a receipt or a checkpoint from before, because a log that was cut back to an earlier state,
checkpoint and all, can only be told from an honest one by what somebody else remembers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.verify.folder import Folder
from dutchdoor.evidence.verify.history import History
from dutchdoor.evidence.verify.keys import Head, Trusted, open_head, read_trust
from dutchdoor.evidence.verify.receipts import check_against_log, read_receipt
from dutchdoor.evidence.verify.report import Findings, Report

__all__ = ["verify"]


def verify(
    folder: Path,
    trust: bytes,
    receipts: Mapping[str, bytes] | None = None,
    since: Mapping[str, bytes] | None = None,
) -> Report:
    """What holds and what does not in `folder` and in `receipts` (by name, unverified).

    trust: the bytes of trust.json, trusted. since: checkpoints kept from before (by name,
    unverified), which the log must continue.
    Raises Invalid: `trust` is no trust file. Raises NotFound: there is no such folder.
    """
    trusted = read_trust(trust)
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", code="no_log")
    findings = Findings()
    given = receipts or {}
    rows = [read_receipt(name, data, trusted, findings) for name, data in given.items()]
    held = [receipt for receipt in rows if receipt is not None]
    heads = _old_heads(since or {}, trusted, findings)
    sizes = {receipt.size for receipt in held} | {head.size for head in heads.values()}
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
    for name, head in heads.items():
        if head.size > walk.size:
            what = f"was signed over {head.size} entries; of these {walk.size} are left"
            findings.add(name, what)
        elif roots[head.size] != head.root:
            findings.add(name, f"the first {head.size} entries are not those that were signed then")
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
        since=len(since or {}),
    )


def _old_heads(given: Mapping[str, bytes], trusted: Trusted, findings: Findings) -> dict[str, Head]:
    """The checkpoints from before that the log's key has signed; others are findings."""
    heads = {}
    for name, data in given.items():
        try:
            head = open_head(data, trusted)
        except Invalid as error:
            findings.add(name, error.message)
            continue
        if head.size == 0:
            findings.add(name, "is of an empty log, which every log continues: it shows nothing")
        heads[name] = head
    return heads
