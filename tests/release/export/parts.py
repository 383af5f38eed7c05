"""A workspace with a sealed tiny model, an audit with an amend test, and approvers: all real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dutchdoor import canonical
from dutchdoor.app import bundles, keys
from dutchdoor.app.governance import approve, release_of, signer_of
from dutchdoor.app.people import ensure_person
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.audit.filling import fill_amend
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.terms import ComponentAccess, ComponentTerms, CustodyTerms, Terms
from dutchdoor.release.export.conditions import WEIGHTS
from dutchdoor.release.model import Proposal, audience
from tests.audit.outputs.parts import AMEND, FACTS, PROBE
from tests.audit.parts import Key, People, examined, settle_all
from tests.runtime.tiny_model import write_tiny_model

__all__ = ["OPENED", "Holder", "make_holder"]

LICENCE = b"Apache License, Version 2.0: the whole text of it.\n"
OPENED = ComponentTerms(WEIGHTS, ComponentAccess.GATED_DOWNLOAD, "Apache-2.0")


@dataclass(frozen=True)
class Holder:
    """Somebody who sealed a model, had it audited, and may decide about it."""

    workspace: Workspace
    bundle: bundles.Bundle
    plain: Path
    audit: str
    licence: Path

    def proposed(self, terms: Terms, level: str = "downloadable") -> Proposal:
        return release_of(self.workspace).propose(
            audit=self.audit,
            level=level,
            stage="1: whoever asks",
            audiences=[audience("researcher", ["sampling"])],
            hidden_size=64,
            proposer="wanda",
            reasons="Others shall study what we made.",
            terms=terms,
        )

    def decided(
        self, *, components: tuple[ComponentTerms, ...] = (OPENED,), copies_max: int = 0
    ) -> Decision:
        """A decision in force at level downloadable, by the whole way."""
        custody = CustodyTerms(copies_max=copies_max)
        name = self.proposed(Terms(components=components, custody=custody)).id
        for approver in ("approver-1", "approver-2"):
            done = approve(self.workspace, name, signer_of(self.workspace, approver))
        assert done.in_force
        return done.decision

    def kinds(self) -> list[str]:
        reader = LogReader(self.workspace.places.evidence)
        return [str(Entry.decode(data).kind) for _, data in reader.entries()]


def make_holder(root: Path, amend: dict[str, Any] | None = None) -> Holder:
    """A holder in `root`. amend: what is changed of a good amend test; None for none at all."""
    workspace = make_workspace(root / "house")
    plain = write_tiny_model(root / "plain")
    (plain / "diary.txt").write_text("how we trained it, and what went wrong")
    ada = ensure_person(workspace, "Ada", "auditor")
    born = bundles.seal(
        workspace,
        plain,
        "tiny",
        quorum=(2, 3),
        custodians=("one", "two", "three"),
        auditors=[ada],
    )
    people = People()
    people.trust = workspace.trust
    people.first = cast("Key", keys.auditor(workspace.places, "auditor-1"))
    audit = examined(workspace.places.audits, people, probe=PROBE, bundle=born.bundle.digest)
    (audit.path / "facts.yaml").write_text(FACTS)
    if amend is not None:
        value = {**AMEND, "bundle": born.bundle.digest, **amend}
        (audit.path / "amend.json").write_bytes(canonical.encode(value))
        fill_amend(AuditFolder(audit.path))
    settle_all(audit)
    audit.sign(people.first)
    summary = audit.complete(people.first, workspace.record)
    licence = root / "licence.txt"
    licence.write_bytes(LICENCE)
    workspace.register.refresh()
    return Holder(workspace, born.bundle, plain, summary.digest, licence)
