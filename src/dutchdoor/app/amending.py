"""The amend test of an audit, against the workspace's own running server.

The auditor's API key is issued for the run and revoked at its end; each arm is an inference of its
own in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dutchdoor.app.auditing import served_bundle
from dutchdoor.app.http import post_json
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.amend.plan import AmendOptions
from dutchdoor.audit.amend.run import run_amend
from dutchdoor.audit.model import Finding
from dutchdoor.audit.service import Audit
from dutchdoor.errors import Unavailable

__all__ = ["amend_audit"]

ARM_S_MAX = 3_600
KEY_LIFE_MS = 12 * 3_600_000

Progress = Callable[[str, int, int], None]


def amend_audit(
    workspace: Workspace, audit: Audit, options: AmendOptions, progress: Progress | None = None
) -> tuple[Finding, ...]:
    """Run what is left of the amend test, and write its figures and findings into T2.

    Raises Unavailable: no server is running here, or it did not answer; arms that were done stay.
    Raises Refused: the server refuses the auditor, or T2 is closed. Raises Invalid: bad options, or
    it serves another bundle.
    """
    options.check()
    running, bundle = served_bundle(workspace, audit)
    subject = audit.subject
    access = workspace.access
    person = access.find_person(subject.auditor)

    def run(folder: Path) -> None:
        expires_ms = workspace.clock.now_ms() + KEY_LIFE_MS
        issued = access.issue_key(person.id, record=workspace.record, not_after_ms=expires_ms)
        url = f"{running.url}/v1/dutchdoor/audit/amend"

        def ask(body: dict[str, Any]) -> dict[str, Any]:
            answer = post_json(url, issued.secret.reveal(), body, s_max=ARM_S_MAX)
            try:
                own = answer["dutchdoor"]
                return {"curve": answer["curve"], "inference": own["inference"]}
            except (KeyError, TypeError) as error:
                message = "the server's answer is not a curve"
                raise Unavailable(message, code="bad_answer") from error

        try:
            run_amend(folder, bundle.digest, subject.model, ask, options=options, progress=progress)
        finally:
            reason = "the amend test ended"
            access.revoke_key(issued.record.id, reason, record=workspace.record)

    return audit.amend(run)
