"""The verifier as a command. Exit code 0: all holds; 1: findings; 2: it could not be checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dutchdoor import canonical
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.verify.report import Report
from dutchdoor.evidence.verify.verifier import verify

__all__ = ["main"]

FOUND, NOT_CHECKED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names; data to stdout, the rest to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m dutchdoor.evidence.verify",
        description="check an evidence folder and receipts from it, trusting trust.json alone",
    )
    parser.add_argument("folder", type=Path, help="the evidence folder, or an export of it")
    parser.add_argument("--trust", type=Path, required=True, help="trust.json, from its owner")
    parser.add_argument(
        "--receipt", type=Path, action="append", default=[], help="a receipt; may be repeated"
    )
    parser.add_argument(
        "--since",
        type=Path,
        action="append",
        default=[],
        help="a checkpoint kept from before, which the log must continue; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    options = parser.parse_args(arguments)
    try:
        receipts = {str(path): path.read_bytes() for path in options.receipt}
        since = {str(path): path.read_bytes() for path in options.since}
        report = verify(options.folder, options.trust.read_bytes(), receipts, since)
    except (DutchdoorError, OSError) as error:
        sys.stderr.write(f"could not verify: {error}\n")
        return NOT_CHECKED
    text = canonical.encode(report.to_value()).decode() if options.json else _text(report)
    sys.stdout.write(text + "\n")
    return 0 if report.holds else FOUND


def _text(report: Report) -> str:
    lines = [
        f"log        {report.origin}",
        f"root       {report.root}",
        f"entries    {report.entries}",
        f"decisions  {report.decisions}",
        f"inferences {report.inferences}, {len(report.open_inferences)} of them still open",
        f"receipts   {report.receipts}",
        f"since      {report.since} checkpoints kept from before",
    ]
    lines += [f"open       {name}" for name in report.open_inferences]
    lines += [f"notice     {text}" for text in report.notices]
    lines += [f"finding    {row.where}: {row.what}" for row in report.findings]
    lines.append("holds" if report.holds else f"does not hold: {len(report.findings)} findings")
    return "\n".join(_plain(line) for line in lines)


def _plain(line: str) -> str:
    """What a forger put into an entry must not move the reader's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


if __name__ == "__main__":
    sys.exit(main())
