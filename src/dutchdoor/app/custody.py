"""Drills of a workspace: asked, answered by the keys that are here or elsewhere, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dutchdoor.app.bundles import Bundle
from dutchdoor.app.opening import custodians_here
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody.drill import DrillRequest, check_proofs
from dutchdoor.custody.history import DrillState, drill_of
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.weights.folder import open_folder

__all__ = ["Drilled", "ask_drill", "drill_state", "prove_here", "settle_drill"]


class Drilled(NamedTuple):
    """How a drill went. proven, missing: names of custodians. need: how many must prove."""

    proven: tuple[str, ...]
    missing: tuple[str, ...]
    need: int
    passed: bool


def drill_state(workspace: Workspace, bundle: Bundle) -> DrillState:
    """When the custodians of `bundle` last proved that they can open it, and whether that is long.

    Raises Tampered, Unavailable: the log cannot be read.
    """
    return drill_of(workspace.reader, bundle.digest, workspace.clock.now_ms())


def ask_drill(workspace: Workspace, bundle: Bundle) -> DrillRequest:
    """A new question to the custodians of `bundle`. Raises Refused: it has no proof keys."""
    return DrillRequest.new(_shares(workspace, bundle), workspace.clock)


def prove_here(workspace: Workspace, bundle: Bundle, drill: DrillRequest) -> tuple[bytes, ...]:
    """The proofs of the custodians whose keys are here, behind no lock."""
    shares = _shares(workspace, bundle)
    custodians = custodians_here(workspace, bundle)
    return tuple(row.prove(drill.encode(), shares).encode() for row in custodians)


def settle_drill(
    workspace: Workspace, bundle: Bundle, drill: DrillRequest, proofs: Sequence[bytes]
) -> Drilled:
    """Check the proofs (unverified bytes) and record how the drill went.

    Raises Invalid: a proof is wrong, repeated or of another drill; nothing is recorded then.
    Raises Refused: the drill is over or of another split. Raises Unavailable: not recorded.
    """
    shares = _shares(workspace, bundle)
    drill.check(shares, workspace.clock.now_ms())
    proven = check_proofs(drill, shares, proofs)
    missing = [share.custodian for share in shares.shares if share.custodian not in proven]
    passed = len(proven) >= shares.threshold
    body = {
        "bundle": bundle.digest,
        "drill": drill.digest,
        "custodians": list(proven),
        "missing": missing,
        "threshold": shares.threshold,
        "passed": passed,
    }
    workspace.record(Entry(EntryKind.CUSTODY_DRILLED, workspace.clock.now_ms(), body))
    names = {share.custodian: share.name for share in shares.shares}
    return Drilled(
        tuple(names[key] for key in proven),
        tuple(names[key] for key in missing),
        shares.threshold,
        passed,
    )


def _shares(workspace: Workspace, bundle: Bundle) -> WrappedShares:
    return open_folder(bundle.path, workspace.trust.holder).shares
