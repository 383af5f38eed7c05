"""One run of an audit against the running server: the probe is fitted, the evaluations are run.

The auditor's API key is issued for the run and revoked at its end; both are in the log. A run that
was killed goes on where it was: the fitted probe and what was measured are kept in the audit.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dutchdoor import canonical
from dutchdoor.app.bundles import Bundle, find_bundle, probe_path
from dutchdoor.app.http import post_json
from dutchdoor.app.running import Running, find_running
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.card import read_card
from dutchdoor.audit.checks import read_testing
from dutchdoor.audit.evaluate import EVALUATION_NAMES, Endpoint, EvaluationOptions
from dutchdoor.audit.evaluations.privacy import Canary
from dutchdoor.audit.evaluations.recall import held_out_ids
from dutchdoor.audit.fan import LocalFan
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, Finding
from dutchdoor.audit.ports import Fan
from dutchdoor.audit.service import Audit, ProbeFacts
from dutchdoor.errors import DutchdoorError, Invalid, Unavailable
from dutchdoor.guard.starter import starter_digest, starter_set

__all__ = [
    "FIT_EXAMPLES_DEFAULT",
    "AuditRun",
    "Outcome",
    "fit_probe",
    "run_audit",
    "served_bundle",
]

FIT_EXAMPLES_DEFAULT = 0
FIT_NAME = "fit.json"
FITTING = "the guard's probe"
FIT_S_MAX = 3_600
KEY_LIFE_MS = 4 * 3_600_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class AuditRun:
    """What is run, and how.

    limit: samples of each evaluation, 0 for all. examples: to fit on, 0 for all. evaluations: by
    name. canaries: planted ones. fresh: fit and measure again what is kept. fan: where they run.
    """

    limit: int = 0
    examples: int = FIT_EXAMPLES_DEFAULT
    seed: int = 0
    evaluations: Sequence[str] = EVALUATION_NAMES
    canaries: tuple[Canary, ...] = field(default=(), repr=False)
    fresh: bool = False
    fan: Fan = field(default_factory=LocalFan)


@dataclass(frozen=True)
class Outcome:
    """What a run gave. probe: the sealed probe's digest. card: its figures, as the probe's maker
    wrote them."""

    probe: str
    card: dict[str, Any]
    findings: tuple[Finding, ...]
    evaluations: tuple[Evaluation, ...] = ()


def served_bundle(workspace: Workspace, audit: Audit) -> tuple[Running, Bundle]:
    """The server that runs here, and the audited bundle, which it serves.

    Raises Unavailable: no server is running. Raises Invalid: it serves another bundle.
    """
    running = find_running(workspace.places)
    bundle = find_bundle(workspace, audit.subject.bundle)
    if running.bundle != bundle.digest:
        message = "the server serves another bundle than the one audited"
        raise Invalid(message, code="other_bundle", hint=f"dutchdoor serve {bundle.name}")
    return running, bundle


def run_audit(
    workspace: Workspace, audit: Audit, run: AuditRun, progress: Progress | None = None
) -> Outcome:
    """Fit the guard's probe, keep it beside the bundle, run the evaluations, write the findings.

    Raises Unavailable: no server is running here, or it did not answer. Raises Refused: the
    server refuses the auditor, or T2 is closed. Raises Invalid: it serves another bundle.
    """
    audit.must_be_open(DocumentKind.T2)  # Before minutes are spent on a probe.
    running, bundle = served_bundle(workspace, audit)
    subject = audit.subject
    access = workspace.access
    person = access.find_person(subject.auditor)
    expires_ms = workspace.clock.now_ms() + KEY_LIFE_MS
    issued = access.issue_key(person.id, record=workspace.record, not_after_ms=expires_ms)
    try:
        endpoint = Endpoint(
            base_url=f"{running.url}/v1",
            model=subject.model,
            bundle=bundle.digest,
            api_key=issued.secret.reveal(),
        )
        probe = _kept_probe(audit, bundle, run)
        if probe is None:
            if progress is not None:
                progress(FITTING, 0, 1)
            probe = fit_probe(endpoint, bundle, run)
        _keep_probe(audit, probe, run)
        if progress is not None:
            progress(FITTING, 1, 1)
        options = EvaluationOptions(
            seed=run.seed,
            limit=run.limit,
            canaries=run.canaries,
            probe=_told(probe, run),
            fresh=run.fresh,
            fan=run.fan,
        )
        findings = audit.run(
            endpoint,
            evaluations=run.evaluations,
            probe=probe,
            options=options,
            progress=progress,
        )
    finally:
        access.revoke_key(issued.record.id, "the run of the audit ended", record=workspace.record)
    rows = read_testing(AuditFolder(audit.path)).evaluations
    return Outcome(probe.digest, json.loads(probe.card), findings, rows)


def fit_probe(endpoint: Endpoint, bundle: Bundle, run: AuditRun) -> ProbeFacts:
    """The guard's probe, fitted in the runtime on the starter set and kept beside its bundle.

    Where guard recall is measured, the rows that it asks are left out of the fit. Raises as
    `run_audit` does.
    """
    left_out = held_out_ids(run.seed) if _holds_out(run) else frozenset()
    examples = [
        {
            "text": row.text,
            "label": row.label,
            "source": row.source,
            "category": row.category,
        }
        for row in starter_set(run.examples or None)
        if row.id not in left_out
    ]
    body = {"model": endpoint.model, "examples": examples, "seed": run.seed}
    answer = post_json(
        f"{endpoint.base_url}/dutchdoor/guard/fit", endpoint.api_key, body, s_max=FIT_S_MAX
    )
    try:
        digest = str(answer["digest"])
        sealed = base64.b64decode(answer["sealed"], validate=True)
        card = canonical.encode(answer["card"])
    except (KeyError, TypeError, binascii.Error) as error:
        raise Unavailable("the server's answer is not a probe", code="bad_answer") from error
    path = probe_path(bundle, digest)
    path.write_bytes(sealed)
    path.with_name(f"card-{path.name}").write_bytes(card)
    return ProbeFacts(digest, card)


def _holds_out(run: AuditRun) -> bool:
    return "guard_recall" in run.evaluations


def _conditions(run: AuditRun) -> dict[str, Any]:
    """What makes a kept probe the one that this run would fit."""
    return {
        "seed": run.seed,
        "examples": run.examples,
        "starter": starter_digest(),
        "held_out": _holds_out(run),
    }


def _kept_probe(audit: Audit, bundle: Bundle, run: AuditRun) -> ProbeFacts | None:
    """The probe that an earlier run of this audit fitted in the same way, unchanged; or None."""
    if run.fresh:
        return None
    try:
        kept = json.loads((audit.path / FIT_NAME).read_text(encoding="utf-8"))
        path = probe_path(bundle, kept["probe"])
        card = path.with_name(f"card-{path.name}").read_bytes()
        same = kept["conditions"] == _conditions(run)
        whole = kept["card"] == canonical.sha256_hex(card) and path.is_file()
    except (OSError, ValueError, KeyError, TypeError, DutchdoorError):
        return None  # Not there, or not as it was written: the probe is fitted again.
    return ProbeFacts(kept["probe"], card) if same and whole else None


def _keep_probe(audit: Audit, probe: ProbeFacts, run: AuditRun) -> None:
    value = {
        "probe": probe.digest,
        "card": canonical.sha256_hex(probe.card),
        "conditions": _conditions(run),
    }
    (audit.path / FIT_NAME).write_bytes(canonical.encode(value) + b"\n")


def _told(probe: ProbeFacts, run: AuditRun) -> dict[str, str]:
    """What the evaluations are told of the probe: its name, its card's recall, what it left out."""
    card = json.loads(probe.card)
    measured = card.get("measured", card)
    known = read_card(probe.card)
    examples = measured.get("examples")
    harmful = examples.get("harmful", 0) if isinstance(examples, dict) else 0
    return {
        "digest": probe.digest,
        "recall": known.recall,
        "low": known.low,
        "high": known.high,
        "harmful": str(harmful),
        "held_out": str(run.seed) if _holds_out(run) else "",
    }
