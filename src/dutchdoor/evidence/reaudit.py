"""What brings an audit up again, and what settles it: the statements and their checks.

`audit_due` says that a decision's audit must be looked at again by a date, and that after a stated
grace period no decision above fully closed stands on it any more. `audit_renewed` says that an
auditor looked at named dues and that the audit still holds. `reviews` applies both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.note import decode_base64
from dutchdoor.evidence.statement import open_statement

__all__ = [
    "DUE_KIND",
    "GRACE_MS",
    "GRACE_MS_MAX",
    "PERIOD_MS",
    "RENEWAL_KIND",
    "Audited",
    "Due",
    "Renewal",
    "open_audited",
    "open_due",
    "open_renewal",
    "review_keys",
]

DUE_KIND = "audit_due"
RENEWAL_KIND = "audit_renewal"
_SUMMARY_KIND = "audit_summary"

_DAY_MS = 86_400_000
PERIOD_MS = 183 * _DAY_MS
"""An audit, or an auditor's renewal of it, holds for six months at most.

Source: Code of Practice for general-purpose AI, safety and security, measure 7.6.
"""
GRACE_MS = 14 * _DAY_MS
"""How long a decision stays in force after the period is over."""
GRACE_MS_MAX = 90 * _DAY_MS
"""The longest grace period that a due may state."""
DUES_MAX = 1_000


@dataclass(frozen=True)
class Due:
    """A verified statement that an audit is due again.

    id: counts once. audit: digest of the summary that is to be renewed, "" where none is known.
    trigger: in one word, for instance `incident`. due_ms, grace_ms: out of force from their sum on.
    """

    id: str
    audit: str
    bundle: str
    trigger: str
    detail: str
    due_ms: int
    grace_ms: int

    @property
    def ends_ms(self) -> int:
        """From when on nothing above fully closed is in force because of it."""
        return self.due_ms + self.grace_ms

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        return {"due": self.id, **{n: v for n, v in vars(self).items() if n != "id"}}

    def check(self) -> None:
        """Raises Invalid: a due that cannot count."""
        if not self.id or not self.bundle or not self.trigger or not self.detail:
            raise Invalid("a due names itself, its bundle, trigger and detail", code="bad_due")
        if self.due_ms < 0 or not 0 <= self.grace_ms <= GRACE_MS_MAX:
            days = GRACE_MS_MAX // _DAY_MS
            raise Invalid(f"a grace period has 0 to {days} days", code="bad_due")


@dataclass(frozen=True)
class Renewal:
    """A verified statement that an auditor reviewed an audit and that it still holds.

    id: counts once. audit: digest of the summary that holds on. dues: ids of the dues reviewed.
    reviewed_ms: by the auditor's clock; the period runs from here, or from the entry if earlier.
    """

    id: str
    audit: str
    bundle: str
    dues: tuple[str, ...]
    reason: str
    reviewed_ms: int

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        rest = {name: value for name, value in vars(self).items() if name != "id"}
        return {"renewal": self.id, **rest, "dues": list(self.dues)}

    def check(self) -> None:
        """Raises Invalid: a renewal that cannot count."""
        if not self.id or not self.bundle or not self.audit or not self.reason.strip():
            message = "a renewal names itself, its bundle, its audit and a reason"
            raise Invalid(message, code="bad_renewal")
        if self.reviewed_ms < 0 or len(self.dues) > DUES_MAX:
            raise Invalid("a renewal with impossible terms", code="bad_renewal")


@dataclass(frozen=True)
class Audited:
    """A completed audit as its entry says it. summary: what a decision names as its audit."""

    summary: str
    bundle: str
    completed_ms: int


def review_keys(trust: Trust) -> dict[str, bytes]:
    """Whose signature completes or renews an audit: the auditors'; where trust.json names none,
    the holder's and the approvers'."""
    return dict(trust.auditors) or {**trust.holder, **trust.approvers}


def open_due(body: Mapping[str, Any], trust: Trust) -> Due:
    """The due of an entry's body (unverified), signed by the holder, an auditor or an approver.

    Raises Invalid: malformed, unsigned, or the entry says something else than its envelope.
    """
    keys = {**trust.holder, **trust.approvers, **trust.auditors}
    claim = _claim(body, DUE_KIND, keys, "bad_due")
    try:
        due = Due(
            id=_text(claim["due"]),
            audit=_text(claim["audit"]),
            bundle=_text(claim["bundle"]),
            trigger=_text(claim["trigger"]),
            detail=_text(claim["detail"]),
            due_ms=_count(claim["due_ms"]),
            grace_ms=_count(claim["grace_ms"]),
        )
    except KeyError as error:
        raise Invalid("not a due", code="bad_due") from error
    if due.to_body() != claim:
        raise Invalid("a due with unknown fields", code="bad_due")
    due.check()
    return due


def open_renewal(body: Mapping[str, Any], trust: Trust) -> Renewal:
    """The renewal of an entry's body (unverified), signed by an auditor.

    Raises Invalid: as `open_due`.
    """
    claim = _claim(body, RENEWAL_KIND, review_keys(trust), "bad_renewal")
    try:
        dues = claim["dues"]
        if not isinstance(dues, list):
            raise Invalid("the dues of a renewal are a list", code="bad_renewal")
        renewal = Renewal(
            id=_text(claim["renewal"]),
            audit=_text(claim["audit"]),
            bundle=_text(claim["bundle"]),
            dues=tuple(_text(name) for name in dues),
            reason=_text(claim["reason"]),
            reviewed_ms=_count(claim["reviewed_ms"]),
        )
    except KeyError as error:
        raise Invalid("not a renewal", code="bad_renewal") from error
    if renewal.to_body() != claim:
        raise Invalid("a renewal with unknown fields", code="bad_renewal")
    renewal.check()
    return renewal


def open_audited(body: Mapping[str, Any], trust: Trust) -> Audited:
    """The completed audit of an entry's body (unverified): its summary, signed by an auditor.

    The figures in the summary are the audit's own business (`audit.summary`).
    Raises Invalid: malformed, unsigned, or the entry says something else than its envelope.
    """
    envelope = _envelope(body, "bad_summary")
    statement = open_statement(
        envelope, kind=_SUMMARY_KIND, keys=review_keys(trust), signatures_min=1
    )
    claim = statement.body
    try:
        said = (body["audit"], body["bundle"], body["summary"])
        found = (claim["audit"], claim["bundle"], "sha256:" + canonical.sha256_hex(envelope))
        completed_ms = _count(claim["completed_ms"])
    except KeyError as error:
        raise Invalid("not an audit summary", code="bad_summary") from error
    if said != found or not all(isinstance(text, str) for text in said):
        message = "the entry says something else than its envelope"
        raise Invalid(message, code="bad_summary")
    return Audited(found[2], said[1], completed_ms)


def _claim(
    body: Mapping[str, Any], kind: str, keys: Mapping[str, bytes], code: str
) -> dict[str, Any]:
    envelope = _envelope(body, code)
    claim = open_statement(envelope, kind=kind, keys=keys, signatures_min=1).body
    said = {name: value for name, value in body.items() if name != "envelope"}
    # As bytes, because True and 1 are equal to Python and are not to a reader of the log.
    if canonical.encode(said) != canonical.encode(claim):
        raise Invalid("the entry says something else than its envelope", code=code)
    return claim


def _envelope(body: Mapping[str, Any], code: str) -> bytes:
    text = body.get("envelope")
    if not isinstance(text, str):
        raise Invalid("the entry holds no envelope", code=code)
    return decode_base64(text, code=code)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("a statement about an audit holds no text where one belongs", code="bad_due")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid("a statement about an audit holds no whole number", code="bad_due")
    return value
