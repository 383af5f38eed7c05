"""The gateway process: `python -m dutchdoor.server.main`, started by the supervisor.

It gets an open, listening socket, so that its successor after a crash answers at the same address.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

import dutchdoor
from dutchdoor.app.gateway import compose_gateway
from dutchdoor.app.workspace import open_workspace
from dutchdoor.config import Places
from dutchdoor.errors import DutchdoorError
from dutchdoor.gateway.service import Gateway
from dutchdoor.ids import BundleDigest
from dutchdoor.server.asgi import build_app
from dutchdoor.server.parts import Parts

__all__ = ["main"]

STOP_S_MAX = 15
EXIT_CANNOT_START = 3


class _Server(uvicorn.Server):
    """Winds the gateway down at the first signal: running streams end with a reason, not a cut."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # A signal comes between any two instructions; the gateway's state is the loop's alone.
        self._loop.call_soon_threadsafe(self._gateway.wind_down)
        super().handle_exit(sig, frame)


def main() -> int:
    """Serve until told to stop. Exit code 3: it cannot start, and trying again will not help."""
    parser = argparse.ArgumentParser(prog="python -m dutchdoor.server.main")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--bundle", required=True, help="the digest of the bundle served here")
    parser.add_argument("--runtime", type=Path, required=True, help="the runtime's Unix socket")
    parser.add_argument("--listen-fd", type=int, required=True, help="a listening TCP socket")
    parser.add_argument("--lifeline-fd", type=int, required=True, help="ends with the supervisor")
    options = parser.parse_args()
    try:
        uvloop.run(_serve(options))
    except DutchdoorError as error:
        sys.stderr.write(f"dutchdoor gateway: {error.message} [{error.code}]\n")
        return EXIT_CANNOT_START
    return 0


async def _serve(options: argparse.Namespace) -> None:
    workspace = open_workspace(Places(options.workspace))
    parts = compose_gateway(workspace, options.runtime, BundleDigest(options.bundle))
    app = build_app(
        Parts(
            gateway=parts.gateway,
            log=parts.ledger,
            config=workspace.config,
            version=dutchdoor.__version__,
            on_close=(parts.aclose,),
        )
    )
    config = uvicorn.Config(
        app,
        lifespan="on",
        http="httptools",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S_MAX,
        timeout_keep_alive=30,
        limit_concurrency=workspace.config.limits.requests_at_once_max * 4,
    )
    listening = socket.socket(fileno=os.dup(options.listen_fd))
    server = _Server(config, parts.gateway)
    # Nobody writes to the lifeline: it becomes readable when the supervisor has died.
    loop = asyncio.get_running_loop()
    loop.add_reader(options.lifeline_fd, _orphaned, server, loop, options.lifeline_fd)
    await server.serve(sockets=[listening])
    if not server.started:
        sys.exit(1)  # The supervisor tries again: what failed may come back.


def _orphaned(server: _Server, loop: asyncio.AbstractEventLoop, lifeline: int) -> None:
    """The supervisor is gone: a gateway that nobody keeps must not serve on."""
    loop.remove_reader(lifeline)
    server.handle_exit(signal.SIGTERM, None)


if __name__ == "__main__":
    sys.exit(main())
