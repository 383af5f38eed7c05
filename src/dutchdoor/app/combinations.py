"""The decision that somebody names, as far as its combinations are asked about."""

from __future__ import annotations

from dutchdoor.app.governance import release_of
from dutchdoor.app.workspace import Workspace
from dutchdoor.errors import NotFound
from dutchdoor.evidence.decision import Decision
from dutchdoor.release.standing import signed

__all__ = ["decision_named"]


def decision_named(workspace: Workspace, name: str = "") -> Decision:
    """The decision of a proposal, a decision's id, or a bundle's digest.

    name: "" for the only decision in force, or else for the only bundle's latest.
    Raises NotFound: there is none of that name. Raises Invalid: the proposal's text states none.
    """
    release = release_of(workspace)
    if name in release.proposals():
        return release.proposal(name).decision
    if name.startswith("proposal_"):
        message = f"no proposal '{name}' here"
        raise NotFound(message, code="no_proposal", hint="dutchdoor release history")
    workspace.register.refresh()
    return signed(workspace.register, name, workspace.clock.now_ms()).decision
