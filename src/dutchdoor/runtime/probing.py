"""`python -m dutchdoor.runtime.probing`: hardens itself as a runtime does, and prints what it got.

In a process of its own, because nothing of it can be undone. JSON: `got`, a list of names, and
`missing`, by name a sentence why and what to do.
"""

from __future__ import annotations

import json
import sys

from dutchdoor.errors import DutchdoorError
from dutchdoor.runtime import hardening

__all__ = ["main"]


def main() -> None:
    """Harden, and say so on stdout."""
    found = hardening.attempt((), hardening.installed_paths())
    got, missing = list(found.got), dict(found.missing)
    for name in hardening.NAMES:
        if name not in got and name not in missing:
            # What is put on only where it is required: it can be had all the same, or not.
            try:
                hardening.put_on(name)
            except (DutchdoorError, OSError) as error:
                missing[name] = (str(error), getattr(error, "hint", ""))
            else:
                got.append(name)
    sys.stdout.write(json.dumps({"got": got, "missing": missing}))


if __name__ == "__main__":
    main()
