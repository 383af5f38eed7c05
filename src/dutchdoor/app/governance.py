"""Audits and release decisions of a workspace, wired to its log, keys and policies."""

from __future__ import annotations

from collections.abc import Mapping

from dutchdoor.access.cedar import PolicyBook
from dutchdoor.app import keys
from dutchdoor.app.bundles import Bundle, find_bundle, inventory_of
from dutchdoor.app.reading import GrantLeases
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.artifacts import BundleFacts, BundleFile
from dutchdoor.audit.model import Scale
from dutchdoor.audit.service import Audit, list_audits
from dutchdoor.errors import NotFound
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.guard.rules import RuleSet
from dutchdoor.release.model import Approval
from dutchdoor.release.profiles.reading import load_profiles
from dutchdoor.release.service import Release

__all__ = [
    "approve",
    "collect",
    "compile_policies",
    "enact",
    "find_audit",
    "release_of",
    "revoke",
    "signer_of",
    "start_audit",
]


def release_of(workspace: Workspace) -> Release:
    """Proposals and decisions of this workspace."""
    places = workspace.places
    return Release(
        places.release,
        audits=places.audits,
        trust=workspace.trust,
        register=workspace.register,
        record=workspace.record,
        clock=workspace.clock,
        profiles=load_profiles(places.profiles),
        profile=workspace.config.release.profile,
    )


def compile_policies(workspace: Workspace) -> None:
    """Write the policies of the decisions in force, and record which rules hold now."""
    release_of(workspace).compile(workspace.places.policies)
    version = PolicyBook(workspace.places.policies).current.version
    now_ms = workspace.clock.now_ms()
    workspace.record(Entry(EntryKind.POLICY_LOADED, now_ms, {"policies": version}))


def approve(workspace: Workspace, proposal: str, signer: Signer) -> Approval:
    """Approve a proposal; where that puts it in force, the policies follow at once.

    Without the key of the log the approval is signed and kept, and nothing is recorded: whoever
    has that key calls `enact`. Raises as `Release.approve`.
    """
    here = keys.may_record(workspace.places)
    approval = release_of(workspace).approve(proposal, signer, enact=here)
    if approval.in_force:
        compile_policies(workspace)
    return approval


def enact(workspace: Workspace, proposal: str, brought: Mapping[str, bytes]) -> Approval:
    """Put a proposal in force by approvals signed elsewhere; the policies follow at once.

    Raises as `Release.enact`.
    """
    approval = release_of(workspace).enact(proposal, brought)
    compile_policies(workspace)
    return approval


def revoke(workspace: Workspace, decision: str, reason: str, signer: Signer) -> None:
    """Revoke a decision; the policies follow. Raises as `Release.revoke`."""
    release_of(workspace).revoke(decision, reason, signer)
    compile_policies(workspace)


def signer_of(workspace: Workspace, name: str) -> Signer:
    """The key of the holder, an auditor, an approver or somebody outside in the embedded keyring.

    Raises NotFound: there is none of that name; the hint lists those there are.
    """
    places = workspace.places
    if name == "holder":
        return keys.holder(places)
    for find in (keys.auditor, keys.approver, keys.outside):
        try:
            return find(places, name)
        except NotFound:
            continue
    known = ", ".join(("holder", *keys.signer_names(places)))
    message = f"no signing key of '{name}' here"
    raise NotFound(message, code="key_not_found", hint=f"there are: {known}")


def start_audit(
    workspace: Workspace,
    bundle: Bundle,
    auditor: str,
    objective: str = "",
    scale: Scale = Scale.SHORT,
) -> Audit:
    """A new audit of `bundle`, with the documents of its scale from templates."""
    return Audit.start(
        workspace.places.audits,
        workspace.trust,
        workspace.clock,
        bundle=bundle.digest,
        model=bundle.manifest.content.model,
        auditor=auditor,
        objective=objective,
        scale=scale,
    )


def find_audit(workspace: Workspace, name: str | None) -> Audit:
    """The audit of this name; without one, the latest.

    Raises NotFound: there is none.
    """
    names = list_audits(workspace.places.audits)
    if not names or (name is not None and name not in names):
        known = ", ".join(names) or "none; start one with 'dutchdoor audit start'"
        message = f"no audit '{name}' here" if name else "no audit here yet"
        raise NotFound(message, code="no_audit", hint=f"there are: {known}")
    chosen = name or names[-1]
    leases = GrantLeases(workspace)
    return Audit(workspace.places.audits / chosen, workspace.trust, workspace.clock, leases)


def collect(workspace: Workspace, audit: Audit) -> None:
    """Fill the audit's checklist from the bundle's inventory, which its holder keeps."""
    bundle = find_bundle(workspace, audit.subject.bundle)
    rows = inventory_of(workspace, bundle)
    files = tuple(BundleFile(row.path, row.size) for row in rows)
    config = workspace.config.guard
    rules = RuleSet.load(workspace.places.root / config.rules if config.rules else None)
    content = bundle.manifest.content.files
    sealed = tuple(BundleFile(file.name, file.bytes, file.ciphertext) for file in content)
    facts = BundleFacts(bundle.digest, audit.subject.model, files, sealed, rules.version)
    audit.collect(facts)
