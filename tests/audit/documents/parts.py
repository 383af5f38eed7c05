"""The worked example as a full audit to work on: signed to its end, or unsigned again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs.examples.sign import EXAMPLE, STARTED_MS, STEP_MS, example_trust, signers_of
from dutchdoor.audit.document import Document
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, DocumentState
from dutchdoor.audit.service import Audit
from dutchdoor.clock import FixedClock

K = DocumentKind
DAY_MS = 86_400_000


class Whole:
    """A copy of the example in a workspace of its own."""

    def __init__(self, workspace: Path, *, completed: bool = False) -> None:
        """completed: with its summary; else as it was just before, all signed but P1 and P2."""
        path = workspace / "audits" / EXAMPLE.name
        shutil.copytree(EXAMPLE, path)
        if not completed:
            (path / "summary.json").unlink()
            for name in ("P1", "P2"):
                for file in path.glob(f"*/{name}-*"):
                    file.unlink()
        self.clock = FixedClock(STARTED_MS + DAY_MS)
        self.trust = example_trust()
        self.audit = Audit(path, self.trust, self.clock)
        self.folder = AuditFolder(path)

    def state(self, kind: DocumentKind) -> DocumentState:
        rows = {row.kind: row.state for row in self.audit.status().documents}
        return rows[kind]

    def because(self, kind: DocumentKind) -> str:
        rows = {row.kind: row.because for row in self.audit.status().documents}
        return rows[kind]

    def change(self, kind: DocumentKind, **front: Any) -> None:
        """Other front matter, as somebody with an editor would write it."""
        self.folder.write(kind, self.folder.read(kind).with_front(**front))

    def change_row(self, kind: DocumentKind, field: str, name: str, **columns: Any) -> None:
        """Other columns in the row with this id (or that concerns it)."""
        rows = self.folder.read(kind).front[field]
        found = [row for row in rows if name in (row.get("id"), row.get("concerns"))]
        assert found, name
        self.change(kind, **{field: [{**r, **columns} if r in found else r for r in rows]})

    def edit(self, kind: DocumentKind, change: Callable[[Document], Document]) -> None:
        self.folder.write(kind, change(self.folder.read(kind)))

    def sign(self, *kinds: DocumentKind) -> None:
        """Every role signs, in order."""
        for kind in kinds:
            for signer in signers_of(kind):
                self.clock.advance(STEP_MS)
                self.audit.sign(signer, [kind])
