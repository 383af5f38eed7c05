"""The outputs of an audit, wired to the workspace's log, keys and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.outputs.material import gather
from dutchdoor.audit.outputs.service import OutputSet, write_set
from dutchdoor.audit.roles import audit_keys
from dutchdoor.audit.service import Audit
from dutchdoor.errors import NotInForce
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.ports import Signer

__all__ = ["write_outputs"]


def write_outputs(
    workspace: Workspace, audit: Audit, folder: Path, signer: Signer, names: Sequence[str] = ()
) -> OutputSet:
    """Write an audit's outputs to `folder`, signed by an auditor and recorded.

    Raises as `audit.outputs.service.write_set` and `audit.outputs.material.gather`.
    """
    return write_set(
        folder,
        gather(audit, _decision(workspace, audit.subject.bundle)),
        signer,
        keys=audit_keys(workspace.trust),
        record=workspace.record,
        clock=workspace.clock,
        names=names,
    )


def _decision(workspace: Workspace, bundle: str) -> Decision | None:
    try:
        return workspace.register.in_force(bundle, workspace.clock.now_ms()).decision
    except NotInForce:
        return None
