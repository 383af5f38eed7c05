"""One run of an audit against the running server: the probe is fitted, the evaluations are run.

The auditor's API key is issued for the run and revoked at its end; both are in the log.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.app.bundles import Bundle, find_bundle, probe_path
from dutchdoor.app.http import post_json
from dutchdoor.app.running import find_running
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.evaluate import Endpoint, EvaluationOptions
from dutchdoor.audit.model import Finding
from dutchdoor.audit.service import Audit, ProbeFacts
from dutchdoor.errors import Invalid, Unavailable
from dutchdoor.guard.starter import starter_set

__all__ = ["FIT_EXAMPLES_DEFAULT", "AuditRun", "Outcome", "fit_probe", "run_audit"]

FIT_EXAMPLES_DEFAULT = 0
FIT_S_MAX = 3_600
KEY_LIFE_MS = 4 * 3_600_000

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class AuditRun:
    """limit: samples of each evaluation, 0 for all. examples: to fit on, 0 for all."""

    limit: int = 0
    examples: int = FIT_EXAMPLES_DEFAULT
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a run gave. probe: the sealed probe's digest. card: its figures, as the probe's maker
    wrote them."""

    probe: str
    card: dict[str, Any]
    findings: tuple[Finding, ...]


def run_audit(
    workspace: Workspace, audit: Audit, run: AuditRun, progress: Progress | None = None
) -> Outcome:
    """Fit the guard's probe, keep it beside the bundle, run the evaluations, write the findings.

    Raises Unavailable: no server is running here, or it did not answer. Raises Refused: the
    server refuses the auditor. Raises Invalid: it serves another bundle.
    """
    running = find_running(workspace.places)
    subject = audit.subject
    bundle = find_bundle(workspace, subject.bundle)
    if running.bundle != bundle.digest:
        message = "the server serves another bundle than the one audited"
        raise Invalid(message, code="other_bundle", hint=f"dutchdoor serve {bundle.name}")
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
        probe = fit_probe(endpoint, bundle, run)
        findings = audit.run(
            endpoint,
            probe=probe,
            options=EvaluationOptions(seed=run.seed, limit=run.limit),
            progress=progress,
        )
    finally:
        access.revoke_key(issued.record.id, "the run of the audit ended", record=workspace.record)
    return Outcome(probe.digest, json.loads(probe.card), findings)


def fit_probe(endpoint: Endpoint, bundle: Bundle, run: AuditRun) -> ProbeFacts:
    """The guard's probe, fitted in the runtime on the starter set and kept beside its bundle.

    Raises as `run_audit` does.
    """
    examples = [
        {
            "text": row.text,
            "label": row.label,
            "source": row.source,
            "category": row.category,
        }
        for row in starter_set(run.examples or None)
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
