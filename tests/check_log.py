"""Re-derives the whole evidence from its bytes: for the end of every test that wrote to a log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.report import Report
from dutchdoor.evidence.verify.verifier import verify

__all__ = ["check_log"]


def check_log(
    folder: Path, trust: Trust | Path, receipts: Mapping[str, bytes] | None = None
) -> Report:
    """Run the stand-alone verifier over `folder`; fails the test where anything is wrong.

    trust: the keys, or the path of trust.json. receipts: what clients were given, by any name.
    """
    data = trust.read_bytes() if isinstance(trust, Path) else encode_trust(trust)
    report = verify(folder, data, receipts)
    assert report.holds, "\n".join(f"{row.where}: {row.what}" for row in report.findings)
    return report
