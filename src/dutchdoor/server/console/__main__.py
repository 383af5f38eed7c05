"""The console's process: `python -m dutchdoor.server.console`, which `audit console` starts.

It listens on this machine alone. From another one, tunnel: `ssh -L 8401:127.0.0.1:8401 HOST`.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
from pathlib import Path

import uvicorn

from dutchdoor.app.workspace import open_workspace
from dutchdoor.config import Places
from dutchdoor.errors import DutchdoorError
from dutchdoor.server.console.application import build_console
from dutchdoor.server.console.desk import Desk

__all__ = ["main"]

HOST = "127.0.0.1"
EXIT_CANNOT_START = 3


def main() -> int:
    """Serve until told to stop. Exit code 3: it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m dutchdoor.server.console")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="0 for a free one")
    parser.add_argument("--json", action="store_true", help="print the address as JSON")
    options = parser.parse_args()
    try:
        listening = socket.create_server((HOST, options.port))
        port = listening.getsockname()[1]
        workspace = open_workspace(Places(options.workspace))
        workspace.access.follow_policies()
        desk = Desk(workspace, frozenset({f"{HOST}:{port}", f"localhost:{port}"}))
    except (DutchdoorError, OSError) as error:
        sys.stderr.write(f"dutchdoor console: {error}\n")
        return EXIT_CANNOT_START
    address = f"http://{HOST}:{port}"
    sys.stdout.write((json.dumps({"url": address}) if options.json else address) + "\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        build_console(desk), lifespan="off", log_config=None, access_log=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main())
