"""`python -m dutchdoor.runtime.main`: the protected process; only its supervisor starts it.

The arguments are a path and three inherited descriptors. Secrets never come by arguments or
environment, where other processes could read them.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dutchdoor.runtime.process import Handles, run

__all__ = ["main"]


def main() -> None:
    """Runs until the supervisor lets go of its end of the control socket."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--meter", type=int, default=-1)
    given = parser.parse_args()
    code = run(Handles(given.bundle, given.control, given.listen, given.meter))
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the interpreter's own ending: a thread inside torch could hold it up for ever.
    os._exit(code)


if __name__ == "__main__":
    main()
