"""The decision against what runs, for a person who asks: `dutchdoor release diff`."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from dutchdoor.app.bundles import Bundle
from dutchdoor.app.enforcing import Enforcement
from dutchdoor.app.gateway import runtime_socket
from dutchdoor.app.running import Running, find_running
from dutchdoor.app.workspace import Workspace
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.release.enforcement.compare import Row, days_to_leave
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import Description

__all__ = ["Comparison", "compare_running"]


@dataclass(frozen=True)
class Comparison:
    """Every row, and what the limit on what leaves means.

    sealed_bytes: about the size of the weights. days_to_leave: in which so many bytes could leave
    under the limit, 0 where there is none. egress_bytes_today: None where nothing runs.
    """

    decision: Decision
    rows: tuple[Row, ...]
    sealed_bytes: int
    days_to_leave: int
    egress_bytes_today: int | None

    @property
    def same(self) -> bool:
        return all(row.same for row in self.rows)


def compare_running(workspace: Workspace, bundle: Bundle) -> Comparison:
    """What the decision in force on `bundle` says, and what runs in this workspace.

    Raises NotInForce: no decision is in force: then nothing may run, and nothing is compared.
    """
    workspace.register.refresh()
    now_ms = workspace.clock.now_ms()
    decision = workspace.register.in_force(bundle.digest, now_ms).decision
    running = _running(workspace, bundle)
    description = None
    if running is not None and running.decision:
        description = asyncio.run(_describe(workspace))
    opened_under = None if running is None else running.decision
    rows = Enforcement(workspace, bundle.digest).rows(decision, description, opened_under)
    size = sum(file.bytes for file in bundle.manifest.content.files)
    return Comparison(
        decision=decision,
        rows=rows,
        sealed_bytes=size,
        days_to_leave=days_to_leave(size, decision.terms.runtime.egress_bytes_day_max),
        egress_bytes_today=description.egress_bytes_today if description else None,
    )


def _running(workspace: Workspace, bundle: Bundle) -> Running | None:
    try:
        running = find_running(workspace.places)
    except Unavailable:
        return None
    return running if running.bundle == bundle.digest else None


async def _describe(workspace: Workspace) -> Description | None:
    client = RuntimeClient(runtime_socket(workspace.places.run))
    try:
        with contextlib.suppress(Unavailable):
            await client.connect()
            return await client.describe()
    finally:
        await client.aclose()
    return None
