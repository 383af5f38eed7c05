"""What makes the audits of one bundle due again, for those who look at one audit."""

from __future__ import annotations

from dutchdoor.app.reaudit import Matter, matters
from dutchdoor.app.workspace import Workspace
from dutchdoor.errors import DutchdoorError

__all__ = ["Shown", "dues_of"]

Shown = tuple[Matter, str]
"""What is due, and its state now."""


def dues_of(workspace: Workspace, bundle: str) -> tuple[tuple[Shown, ...], str]:
    """What makes an audit of this bundle due, and why that cannot be said ("" where it can)."""
    try:
        now_ms = workspace.clock.now_ms()
        rows = [row for row in matters(workspace) if row.due.bundle == bundle]
    except DutchdoorError as error:
        # The documents can be shown all the same; that nothing is due must not be inferred.
        return (), f"{error.message} [{error.code}]"
    return tuple((row, row.state(now_ms)) for row in rows), ""
