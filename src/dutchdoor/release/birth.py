"""The decision a bundle is born under, and how a signed decision gets into the log."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import DECISION_KIND, Audience, Decision, Depth, GuardTerms, Level
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import BundleDigest, new_decision_id
from dutchdoor.release.model import DAY_MS, DEFAULTS
from dutchdoor.release.ports import Record

__all__ = ["BIRTH_DEPTHS", "put_decision", "sign_birth"]

BIRTH_DEPTHS = (
    Depth.SAMPLING,
    Depth.DECODING_CONTROL,
    Depth.LOGPROBS,
    Depth.ACTIVATIONS,
    Depth.AUDIT,
)
"""What a bundle's named auditors may do before any audit is done."""


def sign_birth(
    *,
    bundle: BundleDigest,
    model: str,
    hidden_size: int,
    auditors: Sequence[str],
    holder: Signer,
    record: Record,
    clock: Clock,
    stage: str = "birth: the internal audit",
    supersedes: str = "",
) -> Decision:
    """The decision a bundle is born under, signed by its holder and recorded: in force.

    auditors: person ids; they alone are let in, to audit. hidden_size: h of the model. stage,
    supersedes: where the bundle is closed again for another audit.
    Raises Invalid: no auditor. Raises Unavailable: it cannot be recorded, and is not in force.
    """
    if not auditors:
        message = "a bundle is born under a decision that names its auditors"
        raise Invalid(message, code="no_auditor", hint="name at least one person")
    now_ms = clock.now_ms()
    decision = Decision(
        id=new_decision_id(),
        bundle=bundle,
        model=model,
        level=Level.FULLY_CLOSED,
        stage=stage,
        audiences=(Audience("auditor", BIRTH_DEPTHS, tuple(auditors)),),
        guard=GuardTerms(hold_back_tokens=DEFAULTS.hold_back_tokens),
        hidden_size=hidden_size,
        vectors_max=hidden_size // DEFAULTS.vectors_part,
        audit="",
        reasons="The bundle is closed to all but its named auditors, so that it can be audited.",
        supersedes=supersedes,
        not_before_ms=now_ms,
        not_after_ms=now_ms + DEFAULTS.in_force_days * DAY_MS,
    )
    decision.check()
    put_decision(
        record, decision, sign_statement(DECISION_KIND, decision.to_body(), [holder]), now_ms
    )
    return decision


def put_decision(record: Record, decision: Decision, envelope: bytes, now_ms: int) -> Recorded:
    """Make a signed decision durable in the log; from then on it is in force.

    Raises as `record` does.
    """
    body = {
        "decision": decision.id,
        "bundle": decision.bundle,
        "level": str(decision.level),
        "envelope": base64.b64encode(envelope).decode(),
    }
    return record(Entry(EntryKind.DECISION_SIGNED, now_ms, body))
