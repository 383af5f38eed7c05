"""Whether the audit under a decision is overdue, judged a second time from the log's envelopes.

Entries come in the log's order and are judged by what came before them, so nothing here looks back
at an earlier state. All days are of 86,400,000 milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64

__all__ = ["Reviews"]

DAY_MS = 86_400_000
PERIOD_DAYS, PERIOD_GRACE_DAYS, GRACE_DAYS_MAX = 183, 14, 90
DUES_MAX = 1_000


class Reviews:
    """Follows completed audits, what makes them due again, and renewals."""

    def __init__(self, trusted: Trusted) -> None:
        self._trusted = trusted
        # By bundle and digest of the audit's summary: the entry's index, and the time.
        self._completed: dict[tuple[str, str], tuple[int, int]] = {}
        self._reviewed: dict[tuple[str, str], int] = {}
        self._settled: dict[tuple[str, str], set[str]] = {}
        # By bundle: where a due stands, its id, and when its grace is over.
        self._due: dict[str, list[tuple[int, str, int]]] = {}
        self._ids: set[str] = set()

    def complete(self, index: int, time_ms: int, body: Mapping[str, Any]) -> str:
        """Take in an `audit_signed`; gives what is wrong with it, or ''."""
        try:
            envelope = unbase64(body["envelope"])
            claim = open_claim(envelope, "audit_summary", self._trusted.auditing, 1)
        except Invalid as error:
            return f"a completed audit: {error.message}"
        said = (body["audit"], body["bundle"])
        if (claim.get("audit"), claim.get("bundle")) != said or type(
            claim.get("completed_ms")
        ) is not int:
            return "a completed audit says something else than its envelope"
        if body["summary"] != "sha256:" + hashlib.sha256(envelope).hexdigest():
            return "a completed audit has another digest than its entry says"
        key = (body["bundle"], body["summary"])
        if key in self._completed:
            return "the completed audit stands in the log already"
        self._completed[key] = (index, min(time_ms, claim["completed_ms"]))
        return ""

    def bring_up(self, index: int, body: Mapping[str, Any]) -> str:
        """Take in an `audit_due`; gives what is wrong with it, or ''."""
        trusted = self._trusted
        everybody = {**trusted.holder, **trusted.approvers, **trusted.auditors}
        names = {"due", "audit", "bundle", "trigger", "detail", "due_ms", "grace_ms"}
        problem = _differs(body, "audit_due", everybody, names)
        if problem:
            return problem
        if not (body["due"] and body["bundle"] and body["trigger"] and body["detail"]):
            return "a due that names not all it must name"
        if body["due_ms"] < 0 or not 0 <= body["grace_ms"] <= GRACE_DAYS_MAX * DAY_MS:
            return "a due with impossible terms"
        if body["due"] in self._ids:
            return "the due stands in the log already"
        self._ids.add(body["due"])
        row = (index, body["due"], body["due_ms"] + body["grace_ms"])
        self._due.setdefault(body["bundle"], []).append(row)
        return ""

    def renew(self, time_ms: int, body: Mapping[str, Any]) -> str:
        """Take in an `audit_renewed`; gives what is wrong with it, or ''."""
        names = {"renewal", "audit", "bundle", "dues", "reason", "reviewed_ms"}
        problem = _differs(body, "audit_renewal", self._trusted.auditing, names)
        if problem:
            return problem
        if not (body["renewal"] and body["bundle"] and body["audit"] and body["reason"].strip()):
            return "a renewal that names not all it must name"
        if body["reviewed_ms"] < 0 or len(body["dues"]) > DUES_MAX:
            return "a renewal with impossible terms"
        if body["renewal"] in self._ids:
            return "the renewal stands in the log already"
        known = {name for _, name, _ in self._due.get(body["bundle"], ())}
        if any(type(name) is not str or name not in known for name in body["dues"]):
            return "a renewal names a due that does not stand before it"
        self._ids.add(body["renewal"])
        key = (body["bundle"], body["audit"])
        reviewed_ms = min(time_ms, body["reviewed_ms"])
        self._reviewed[key] = max(reviewed_ms, self._reviewed.get(key, reviewed_ms))
        self._settled.setdefault(key, set()).update(body["dues"])
        return ""

    def overdue(
        self, bundle: str, audit: str, signed: int, first_named_ms: int, time_ms: int
    ) -> bool:
        """Whether a decision above fully closed is out of force at `time_ms` for its audit's sake.

        audit: the summary it names. signed: index of its entry. first_named_ms: when a decision
        first named that audit; the period runs from there where the log holds no such audit.
        """
        key = (bundle, audit)
        since, last_ms = self._completed.get(key, (-1, first_named_ms))
        if since > signed:
            since, last_ms = -1, first_named_ms
        last_ms = max(last_ms, self._reviewed.get(key, last_ms))
        if time_ms >= last_ms + (PERIOD_DAYS + PERIOD_GRACE_DAYS) * DAY_MS:
            return True
        settled = self._settled.get(key, set())
        return any(
            time_ms >= ends_ms and index > since and name not in settled
            for index, name, ends_ms in self._due.get(bundle, ())
        )


def _differs(body: Mapping[str, Any], kind: str, keys: Mapping[str, bytes], names: set[str]) -> str:
    """What is wrong between an entry and its envelope, or ''. The entry's types are known."""
    try:
        claim = open_claim(unbase64(body["envelope"]), kind, keys, 1)
    except Invalid as error:
        return f"{kind}: {error.message}"
    if claim.keys() != names or body.keys() != names | {"envelope"}:
        return f"{kind}: fields missing or unknown"
    if any(
        type(claim[name]) is not type(body[name]) or claim[name] != body[name] for name in names
    ):
        return f"{kind}: the entry says something else than its envelope"
    return ""
