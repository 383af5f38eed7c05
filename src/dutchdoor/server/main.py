"""The gateway process: `python -m dutchdoor.server.main`, started by the supervisor.

It gets an open, listening socket, so that its successor after a crash answers at the same address.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

import uvicorn
import uvloop

import dutchdoor
from dutchdoor.app.gateway import compose_gateway
from dutchdoor.app.workspace import open_workspace
from dutchdoor.config import Places
from dutchdoor.errors import DutchdoorError
from dutchdoor.server.asgi import build_app
from dutchdoor.server.parts import Parts

__all__ = ["main"]

STOP_S_MAX = 15
EXIT_CANNOT_START = 3


def main() -> int:
    """Serve until told to stop. Exit code 3: it cannot start, and trying again will not help."""
    parser = argparse.ArgumentParser(prog="python -m dutchdoor.server.main")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, required=True, help="the runtime's Unix socket")
    parser.add_argument("--listen-fd", type=int, required=True, help="a listening TCP socket")
    options = parser.parse_args()
    try:
        uvloop.run(_serve(options.workspace, options.runtime, options.listen_fd))
    except DutchdoorError as error:
        sys.stderr.write(f"dutchdoor gateway: {error.message} [{error.code}]\n")
        return EXIT_CANNOT_START
    return 0


async def _serve(root: Path, runtime: Path, listen_fd: int) -> None:
    workspace = open_workspace(Places(root))
    parts = compose_gateway(workspace, runtime)
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
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=STOP_S_MAX,
        timeout_keep_alive=30,
        limit_concurrency=workspace.config.limits.requests_at_once_max * 4,
    )
    listening = socket.socket(fileno=os.dup(listen_fd))
    server = uvicorn.Server(config)
    await server.serve(sockets=[listening])


if __name__ == "__main__":
    sys.exit(main())
