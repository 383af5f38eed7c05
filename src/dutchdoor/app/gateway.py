"""The gateway's parts, put together for the process that serves HTTP."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.access.service import Access
from dutchdoor.app.enforcing import Enforcement
from dutchdoor.app.workspace import Workspace
from dutchdoor.canonical import sha256_hex
from dutchdoor.errors import Refused
from dutchdoor.evidence.committer import Committer
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.gateway.ledger import Ledger
from dutchdoor.gateway.service import Gateway
from dutchdoor.guard.rules import RuleSet
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime.client import RuntimeClient

__all__ = ["GatewayParts", "compose_gateway", "runtime_socket"]

SOCKET_PATH_BYTES_MAX = 107


@dataclass(frozen=True)
class GatewayParts:
    """A gateway and what has to be closed after it."""

    gateway: Gateway
    ledger: Ledger
    access: Access
    runtime: RuntimeClient
    committer: Committer

    async def aclose(self) -> None:
        """Close what the closed gateway leaves, the log last: what ends is still recorded."""
        await self.runtime.aclose()
        await self.committer.aclose()


def runtime_socket(run: Path) -> Path:
    """The runtime's Unix socket: below the `run` folder, or near the root where that is too deep.

    A Unix socket's path has 107 bytes at most. The other place is a folder of this user's alone.
    Raises Refused: somebody else made that folder.
    """
    path = run / "runtime.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = f"dutchdoor-{os.getuid()}-{sha256_hex(os.fsencode(run))[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        message = f"{folder} was made by somebody else"
        hint = "put the workspace nearer to the root"
        raise Refused(message, code="socket_folder_taken", hint=hint)
    return folder / path.name


def compose_gateway(workspace: Workspace, socket_path: Path, bundle: BundleDigest) -> GatewayParts:
    """The parts of one gateway. Must be called where an event loop runs.

    socket_path: the runtime's Unix socket. bundle: the one served here.
    Raises Invalid: policies or guard rules are wrong; a gateway without them does not start.
    """
    config, places = workspace.config, workspace.places
    committer = Committer(workspace.log, queue_entries_max=config.evidence.queue_entries_max)
    # The log that is written here is the one that is read: under its lock others' entries are
    # taken in, checked once, and everybody here sees the same.
    ledger = Ledger(committer, workspace.log)
    decisions = DecisionRegister(ledger, workspace.trust)
    rules = RuleSet.load(places.root / config.guard.rules if config.guard.rules else None)
    runtime = RuntimeClient(socket_path)
    gateway = Gateway(
        evidence=ledger,
        decisions=decisions,
        access=workspace.access,
        rules=rules,
        runtime=runtime,
        config=config,
        places=places,
        clock=workspace.clock,
        bundle=bundle,
        enforcement=Enforcement(workspace, bundle),
    )
    return GatewayParts(gateway, ledger, workspace.access, runtime, committer)
