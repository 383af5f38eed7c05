"""Custody's side of an opening: the custodians whose keys are here answer a runtime's request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dutchdoor.app import keys
from dutchdoor.app.attesting import host_evidence
from dutchdoor.app.bundles import Bundle, probe_path
from dutchdoor.app.ceremonies import Plan, hold
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.attestation.verify import EnrolledHosts
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.custody.opening import Custodian, gather_releases
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Decision, Depth
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.runtime.supervisor import Opening
from dutchdoor.weights.folder import open_folder

__all__ = ["answer_opening", "custodians_here", "meter_path"]

DAY_MS = 86_400_000
_STARTED = f'"kind":"{EntryKind.RUNTIME_STARTED}"'.encode()
_TAIL_BYTES = 80


def answer_opening(
    workspace: Workspace,
    bundle: Bundle,
    request: bytes,
    *,
    plan: Plan | None = None,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _text: None,
) -> Opening:
    """The releases of the custodians present here, and what the decision demands of the guard.

    Each custodian checks the decision in force, the bundle and the request for itself; the release
    is in the log before a share leaves.
    Raises Refused: no quorum, no decision in force, or a request that must not be answered.
    Raises NotFound: the probe that the decision names is not here.
    """
    workspace.register.refresh()
    _must_be_counted(workspace, bundle)
    now_ms = workspace.clock.now_ms()
    decision = workspace.register.in_force(bundle.digest, now_ms).decision
    evidence = host_evidence(workspace, decision, OpenRequest.decode(request))
    if plan is not None:
        releases = hold(
            workspace, bundle, request, plan, stopped=stopped, say=say, evidence=evidence
        )
    else:
        releases = gather_releases(
            request,
            shares=open_folder(bundle.path, workspace.trust.holder).shares,
            custodians=custodians_here(workspace, bundle),
            record=workspace.record,
            clock=workspace.clock,
            evidence=evidence,
        )
    in_force = workspace.register.in_force(bundle.digest, workspace.clock.now_ms())
    decision = in_force.decision
    return Opening(
        tuple(releases),
        decision.id,
        decision.guard,
        _companion(bundle, decision),
        amends=_amends(decision),
        egress_bytes_day_max=decision.terms.runtime.egress_bytes_day_max,
        hardening=decision.terms.runtime.hardening,
        grade=_grade(workspace, request, evidence),
    )


def custodians_here(workspace: Workspace, bundle: Bundle) -> list[Custodian]:
    """The custodians of `bundle` whose keys are here, each with its own memory and checks.

    Keys behind a passphrase, a service or a token are not among them: nobody is here to ask.
    """
    # As the bundle is now: its custodians may have been rotated since it was looked up.
    custody = open_folder(bundle.path, workspace.trust.holder).manifest.custody
    return [
        Custodian(
            key,
            decisions=workspace.register,
            clock=workspace.clock,
            seen=FileSeen(_seen_path(workspace.places, key)),
            copies=workspace.copies.count,
            hosts=EnrolledHosts(workspace.trust.hosts),
        )
        for key in keys.local_custodians(workspace.places)
        if key.key_id in custody.custodians
    ]


def _grade(workspace: Workspace, request: bytes, evidence: bytes) -> str:
    """What the custodians have just verified of this machine, for the entry of the start."""
    if not evidence:
        return str(Grade.SOFTWARE)
    hosts = EnrolledHosts(workspace.trust.hosts)
    return str(hosts.verify(evidence, OpenRequest.decode(request)).grade)


def meter_path(places: Places, bundle: Bundle) -> Path:
    """The file in which the runtime of `bundle` counts what leaves it."""
    return places.meters / f"{bundle.digest.removeprefix('sha256:')}.egress"


def _must_be_counted(workspace: Workspace, bundle: Bundle) -> None:
    """Raises Refused: a runtime ran today under a limit, and what it counted is gone."""
    now_ms = workspace.clock.now_ms()
    decision = workspace.register.in_force(bundle.digest, now_ms).decision
    if not decision.terms.runtime.egress_bytes_day_max:
        return
    path = meter_path(workspace.places, bundle)
    # The supervisor has made the file for this start already: what counts is what is in it.
    if (path.exists() and path.stat().st_size) or not _ran_today(workspace, bundle, now_ms):
        return
    message = "a runtime of this bundle ran today, and the count of what left it is gone"
    hint = "restore the folder 'meters' of the workspace, or wait for tomorrow (UTC)"
    raise Refused(message, code="egress_meter_lost", hint=hint)


def _ran_today(workspace: Workspace, bundle: Bundle, now_ms: int) -> bool:
    today_ms = now_ms - now_ms % DAY_MS
    workspace.reader.refresh()
    for _, data in workspace.reader.entries():
        if _STARTED in data[-_TAIL_BYTES:]:
            entry = Entry.decode(data)
            if entry.time_ms >= today_ms and entry.body.get("bundle") == bundle.digest:
                return True
    return False


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
