"""Custody's side of an opening: the custodians whose keys are here answer a runtime's request."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.app import keys
from dutchdoor.app.bundles import Bundle, probe_path
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.opening import Custodian, gather_releases
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import NotFound, Tampered
from dutchdoor.evidence.decision import Decision, Depth
from dutchdoor.runtime.supervisor import Opening
from dutchdoor.weights.folder import open_folder

__all__ = ["answer_opening"]


def answer_opening(workspace: Workspace, bundle: Bundle, request: bytes) -> Opening:
    """The releases of the custodians present here, and what the decision demands of the guard.

    Each custodian checks the decision in force, the bundle and the request for itself; the release
    is in the log before a share leaves.
    Raises Refused: no quorum, no decision in force, or a request that must not be answered.
    Raises NotFound: the probe that the decision names is not here.
    """
    workspace.register.refresh()
    shares = open_folder(bundle.path, workspace.trust.holder).shares
    custodians = [
        Custodian(
            key,
            decisions=workspace.register,
            clock=workspace.clock,
            seen=FileSeen(_seen_path(workspace.places, key)),
        )
        for key in keys.local_custodians(workspace.places)
        if key.key_id in bundle.manifest.custody.custodians
    ]
    releases = gather_releases(
        request,
        shares=shares,
        custodians=custodians,
        record=workspace.record,
        clock=workspace.clock,
    )
    in_force = workspace.register.in_force(bundle.digest, workspace.clock.now_ms())
    decision = in_force.decision
    return Opening(
        tuple(releases),
        decision.id,
        decision.guard,
        _companion(bundle, decision),
        amends=_amends(decision),
    )


def _amends(decision: Decision) -> bool:
    opened = {depth for audience in decision.audiences for depth in audience.depths}
    return bool(opened & {Depth.AUDIT, Depth.FINE_TUNING})


def _companion(bundle: Bundle, decision: Decision) -> bytes:
    digest = decision.guard.probe
    if not digest:
        return b""
    path = probe_path(bundle, digest)
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        message = "the probe that the decision names is not beside the bundle"
        hint = f"bring {path.name}, or audit again to fit one"
        raise NotFound(message, code="no_probe", hint=hint) from error
    except OSError as error:
        raise Tampered(f"{path} cannot be read", code="no_probe", where=path.name) from error


def _seen_path(places: Places, key: CustodianKey) -> Path:
    return keys.custodian_path(places, key.name).with_suffix(".seen")
