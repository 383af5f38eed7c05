"""True revocation: the model is sealed anew under another key, and the former bundle ends.

1. The present quorum opens the former key to this process, recorded first.
2. The bundle is sealed anew under a new name; `bundle_sealed` names the former one.
3. It is born fully closed, as every bundle: it is another one, and must be decided on anew.
4. The decision on the former bundle is revoked, so no custodian opens it any more.
5. The former folder is removed here, and that is recorded.

Copies of the former bundle elsewhere still open for whoever has its key, or a quorum of its shares
and keys. The log lists the copies that are known; people must destroy them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dutchdoor.app import keys
from dutchdoor.app.bundles import Bundle, take_over_inventory
from dutchdoor.app.ceremonies import Plan
from dutchdoor.app.governance import release_of
from dutchdoor.app.rotating import open_key
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody.copies import Copy, destroyed
from dutchdoor.custody.model import CustodianPublic
from dutchdoor.custody.shares import check_quorum
from dutchdoor.errors import Invalid, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.release.birth import sign_birth
from dutchdoor.release.compile import write_policies
from dutchdoor.release.standing import to_compile
from dutchdoor.weights.model import Report, Sealed
from dutchdoor.weights.reseal import reseal_bundle
from dutchdoor.weights.seal import SEALED_SUFFIX, refer_to_decision

__all__ = ["Resealed", "reseal"]


class Resealed(NamedTuple):
    """A bundle that took another's place. left: copies of the former one that are still known."""

    bundle: Bundle
    decision: Decision
    revoked: str
    left: tuple[Copy, ...]


def reseal(
    workspace: Workspace,
    bundle: Bundle,
    name: str,
    custodians: Sequence[CustodianPublic],
    threshold: int,
    *,
    reason: str,
    auditors: Sequence[str],
    plan: Plan | None = None,
    keep: bool = False,
    say: Callable[[str], None] = lambda _text: None,
    report: Report | None = None,
) -> Resealed:
    """Seal what `bundle` holds under a new key as `name`, and end the former bundle.

    auditors: person ids whom the new bundle's birth decision lets in. keep: leave the former
    folder where it is.
    Raises NotInForce, Refused: the present quorum does not open it. Raises Invalid: no reason, no
    auditor, no such quorum. Raises Unavailable: the disk or the log. Until the new bundle is
    recorded and has its decision, the former one is untouched.
    """
    check_quorum(threshold, len(custodians))
    if not reason.strip() or not auditors:
        message = "say why, and who audits the new bundle"
        raise Invalid(message, code="no_reason", hint="give --reason TEXT and --auditor NAME")
    places, holder = workspace.places, keys.holder(workspace.places)
    workspace.register.refresh()
    former = workspace.register.in_force(bundle.digest, workspace.clock.now_ms()).decision
    name = name.removesuffix(SEALED_SUFFIX)
    target = places.bundles / f"{name}{SEALED_SUFFIX}"
    opened = open_key(workspace, bundle, plan, say)
    try:
        sealed = reseal_bundle(
            bundle.path,
            opened.key,
            target,
            trust_keys=workspace.trust.holder,
            holder=holder,
            custodians=custodians,
            threshold=threshold,
            clock=workspace.clock,
            report=report,
        )
    finally:
        opened.key.wipe()
    decision = _give_birth(
        workspace, bundle, target, sealed, former, reason=reason.strip(), auditors=auditors
    )
    manifest = sealed.manifest
    with suppress(Unavailable):
        # For whoever has the folder alone; what is in force, the log says without it.
        manifest = refer_to_decision(target, manifest, decision.id, holder)
    workspace.register.refresh()
    release_of(workspace).revoke(former.id, f"sealed anew: {reason.strip()}", holder)
    if not keep:
        _remove(workspace, bundle, sealed.digest)
    workspace.register.refresh()
    write_policies(places.policies, to_compile(workspace.register, workspace.clock.now_ms()))
    left = workspace.copies.known(bundle.digest)
    return Resealed(Bundle(name, target, manifest), decision, former.id, left)


def _give_birth(
    workspace: Workspace,
    bundle: Bundle,
    target: Path,
    sealed: Sealed,
    former: Decision,
    *,
    reason: str,
    auditors: Sequence[str],
) -> Decision:
    """The new bundle's first entry and decision; where they fail, it is not left behind."""
    custody, holder = sealed.manifest.custody, keys.holder(workspace.places)
    model = bundle.manifest.content.model
    try:
        name = target.name.removesuffix(SEALED_SUFFIX)
        take_over_inventory(workspace, bundle, name, sealed.digest)
        body = {
            "bundle": sealed.digest,
            "model": model,
            "custodians": list(custody.custodians),
            "threshold": custody.threshold,
            "resealed_from": bundle.digest,
            "reason": reason,
        }
        workspace.record(Entry(EntryKind.BUNDLE_SEALED, workspace.clock.now_ms(), body))
        return sign_birth(
            bundle=sealed.digest,
            model=model,
            hidden_size=former.hidden_size,
            auditors=auditors,
            holder=holder,
            record=workspace.record,
            clock=workspace.clock,
        )
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _remove(workspace: Workspace, bundle: Bundle, instead: str) -> None:
    try:
        shutil.rmtree(bundle.path)
    except OSError as error:
        message = f"the former bundle at {bundle.path} could not be removed: {error.strerror}"
        hint = "remove it by hand; then: dutchdoor custody destroyed"
        raise Unavailable(message, code="not_removed", hint=hint) from error
    destroyed(
        workspace.copies,
        bundle.digest,
        bundle.digest,
        f"removed after it was sealed anew as {instead}",
        record=workspace.record,
        now_ms=workspace.clock.now_ms(),
    )
