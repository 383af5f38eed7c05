"""The rules that the entries of a log must keep, one after the other.

1. The first entry opens the log under the trusted name; no other one does.
2. Every entry is canonical, of a known kind, and has its kind's fields.
3. Every decision and revocation verifies and says what its envelope says.
4. What needs a decision stands under the one in force at that place: an inference that begins, a
   key released, a runtime started, a copy made, a package exported. The decision opens each depth
   the inference uses; a package leaves only at the decision's own level, an open one.
5. A key is released by as many custodians as its bundle was sealed for.
6. Every inference that ends began, at the entry it names, and ends once.
7. The outputs of an audit are signed by an auditor, their entry says what its envelope says, and
   they name the summary of that audit that stands before them, or none: then they are a draft.
8. Panels are called before their seed is known, opened, voted on within their window and by their
   members' keys, once each, and closed with what a recount gives (`panels`).
9. Every completed audit, due and renewal verifies and says what its envelope says, once; a renewal
   names dues that stand before it. While the audit under a decision is overdue (`reviews`), the
   decision is not in force for rule 4.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.decisions import Decisions
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64
from dutchdoor.evidence.verify.panels import PANEL_FIELDS, Panels
from dutchdoor.evidence.verify.report import Findings
from dutchdoor.evidence.verify.stages import Stages

__all__ = ["FIELDS", "History"]

# Field types: s text, i integer, l list, o object, b true or false, c commitment or "".
FIELDS = {
    "log_opened": {"origin": "s"},
    "bundle_sealed": {"bundle": "s", "model": "s", "custodians": "l", "threshold": "i"},
    "decision_signed": {"decision": "s", "bundle": "s", "level": "s", "envelope": "s"},
    "decision_revoked": {"decision": "s", "bundle": "s", "reason": "s", "envelope": "s"},
    "stage_rolled_back": {
        "decision": "s",
        "bundle": "s",
        "stage": "s",
        "from": "s",
        "trigger": "o",
        "reason": "s",
        "envelope": "s",
    },
    "incident_recorded": {
        "incident": "s",
        "revision": "i",
        "bundle": "s",
        "class": "s",
        "nature": "s",
        "aware_ms": "i",
        "resolved_ms": "i",
        "report": "s",
        "details": "s",
        "envelope": "s",
    },
    "key_requested": {
        "bundle": "s",
        "decision": "s",
        "runtime_key": "s",
        "request": "s",
        "purpose": "s",
        "reason": "s",
        "expires_ms": "i",
    },
    "key_released": {
        "bundle": "s",
        "decision": "s",
        "custodians": "l",
        "runtime_key": "s",
        "request": "s",
    },
    "runtime_started": {"bundle": "s", "decision": "s", "hardening": "l"},
    "runtime_stopped": {"bundle": "s", "reason": "s"},
    "probe_fitted": {"bundle": "s", "probe": "s"},
    "audit_signed": {"audit": "s", "bundle": "s", "summary": "s", "envelope": "s"},
    "audit_due": {
        "due": "s",
        "audit": "s",
        "bundle": "s",
        "trigger": "s",
        "detail": "s",
        "due_ms": "i",
        "grace_ms": "i",
        "envelope": "s",
    },
    "audit_renewed": {
        "renewal": "s",
        "audit": "s",
        "bundle": "s",
        "dues": "l",
        "reason": "s",
        "reviewed_ms": "i",
        "envelope": "s",
    },
    "outputs_written": {
        "audit": "s",
        "bundle": "s",
        "summary": "s",
        "outputs": "s",
        "envelope": "s",
    },
    "copy_made": {"bundle": "s", "decision": "s", "copy": "s", "place": "s"},
    "copy_destroyed": {"bundle": "s", "copy": "s", "reason": "s"},
    "copy_seen": {"bundle": "s", "copy": "s", "place": "s", "known": "b"},
    "custody_rotated": {
        "bundle": "s",
        "custodians": "l",
        "threshold": "i",
        "shares": "s",
        "reason": "s",
        "envelope": "s",
    },
    "custody_drilled": {
        "bundle": "s",
        "drill": "s",
        "custodians": "l",
        "missing": "l",
        "threshold": "i",
        "passed": "b",
    },
    "package_exported": {
        "bundle": "s",
        "decision": "s",
        "package": "s",
        "level": "s",
        "key": "s",
    },
    **PANEL_FIELDS,
    "person_added": {"person": "s", "audience": "s"},
    "person_removed": {"person": "s"},
    "key_issued": {"key": "s", "person": "s"},
    "key_revoked": {"key": "s", "person": "s"},
    "grant_made": {"grant": "s", "person": "s", "bundle": "s"},
    "grant_revoked": {"grant": "s"},
    "policy_loaded": {"policies": "s"},
    "inference_begun": {
        "inference": "s",
        "bundle": "s",
        "decision": "s",
        "grant": "s",
        "person": "s",
        "key": "s",
        "depths": "l",
        "route": "s",
        "prompt": "c",
        "rule": "s",
        "verdict": "o",
        "reserved": "o",
    },
    "inference_done": {
        "inference": "s",
        "begun": "i",
        "outcome": "s",
        "completion": "c",
        "counts": "o",
        "verdicts": "l",
    },
    "inference_refused": {
        "inference": "s",
        "code": "s",
        "person": "s",
        "grant": "s",
        "bundle": "s",
        "decision": "s",
        "rule": "s",
        "prompt": "c",
    },
    "inference_lost": {"inference": "s", "begun": "i"},
}
_STAND_UNDER = frozenset(
    {
        "key_requested",
        "key_released",
        "runtime_started",
        "inference_begun",
        "copy_made",
        "package_exported",
    }
)
_OPEN_LEVELS = ("downloadable", "fully_open")
_GRADES = ("software", "tpm", "tee")
_TYPES = {"s": str, "i": int, "l": list, "o": dict, "b": bool, "c": str}
_COMMITMENT = re.compile(r"(sha256:[0-9a-f]{64})?")


class History:
    """Follows the entries in order and adds what is wrong to `findings`."""

    def __init__(self, trusted: Trusted, findings: Findings) -> None:
        self.entries = 0
        self.inferences = 0
        self.decisions = Decisions(trusted)
        self.stages = Stages(trusted)
        self.open: dict[str, int] = {}
        self._panels = Panels(trusted)
        self._trusted = trusted
        self._findings = findings
        self._begun: set[str] = set()
        self._thresholds: dict[str, int] = {}
        self._summaries: set[tuple[str, str, str]] = set()

    def follow(self, index: int, data: bytes, where: str) -> None:
        """Judge the entry `data` (unverified bytes) at `index`. where: its place in a file."""
        self.entries += 1
        try:
            value = canonical.parse(data)
        except Invalid as error:
            self._findings.add(where, f"the entry is no canonical JSON: {error.message}")
            return
        problem = _form(value)
        if not problem:
            problem = self._judge(index, value["kind"], value["time_ms"], value["body"])
        if problem:
            self._findings.add(where, problem)

    def _judge(self, index: int, kind: str, time_ms: int, body: dict[str, Any]) -> str:
        if (kind == "log_opened") != (index == 0):
            return "a log is opened by its first entry, and by no other"
        if kind == "log_opened" and body["origin"] != self._trusted.origin:
            return f"the log was opened as {body['origin']!r}"
        if kind == "bundle_sealed":
            self._thresholds[body["bundle"]] = body["threshold"]
        if kind == "custody_rotated":
            return self._rotate(body)
        if kind == "custody_drilled":
            return _drilled(body)
        if kind in ("audit_signed", "audit_due", "audit_renewed"):
            return self._audit(index, kind, time_ms, body)
        if kind == "outputs_written":
            return self._outputs(body)
        if kind in PANEL_FIELDS:
            return self._panels.follow(kind, time_ms, body)
        if kind == "decision_signed":
            problem = self.stages.problem(body) or self.decisions.sign(index, time_ms, body)
            if not problem:
                self.stages.decide(index, body)
            return problem
        if kind == "stage_rolled_back":
            return self.stages.roll_back(index, time_ms, body)
        if kind == "incident_recorded":
            return self.stages.incidents.record(index, body)
        if kind == "decision_revoked":
            return self.decisions.revoke(body)
        if kind in _STAND_UNDER:
            return self._stands_under(index, kind, time_ms, body)
        if kind in ("inference_done", "inference_lost"):
            if kind == "inference_done":
                self.stages.end(index, time_ms, body)
            return self._close(body)
        return ""

    def _stands_under(self, index: int, kind: str, time_ms: int, body: dict[str, Any]) -> str:
        problems = []
        found = self.decisions.in_force(body["bundle"], body["decision"], time_ms)
        if not isinstance(found, str):
            found = self.stages.narrowed(found, time_ms)
        if isinstance(found, str):
            problems.append(f"{kind} without a decision in force: {found}")
        if kind == "key_released":
            people = {str(name) for name in body["custodians"]}
            if len(people) < self._thresholds.get(body["bundle"], 1):
                problems.append(f"the key was released by {len(people)} custodians, too few")
            if not isinstance(found, str) and not _meets(body.get("grade", ""), found.grade):
                problems.append(f"the key was released to a host that did not show {found.grade}")
        if kind == "package_exported" and not isinstance(found, str):
            open_level = found.level in _OPEN_LEVELS and body["level"] == found.level
            problems += [] if open_level else [f"a package was exported at level {found.level}"]
        if kind == "inference_begun":
            self.stages.begin(body)
            self.inferences += 1
            if body["inference"] in self._begun:
                problems.append(f"{body['inference']} begins a second time")
            else:
                self._begun.add(body["inference"])
                self.open[body["inference"]] = index
            if not isinstance(found, str):
                problems += [
                    f"the decision in force opens no depth {depth!r} to {body['person']}"
                    for depth in body["depths"]
                    if not found.opens(depth, body["person"])
                ]
        return "; ".join(problems)

    def _audit(self, index: int, kind: str, time_ms: int, body: dict[str, Any]) -> str:
        reviews = self.decisions.reviews
        if kind == "audit_due":
            problem = reviews.bring_up(index, body)
            if not problem:
                self.stages.bring_up(index, body)
            return problem
        if kind == "audit_renewed":
            problem = reviews.renew(time_ms, body)
            if not problem:
                self.stages.renew(time_ms, body)
            return problem
        problem = reviews.complete(index, time_ms, body)
        if not problem:
            self._summaries.add((body["audit"], body["bundle"], body["summary"]))
        return problem

    def _outputs(self, body: dict[str, Any]) -> str:
        try:
            envelope = unbase64(body["envelope"])
            claim = open_claim(envelope, "audit_outputs", self._trusted.auditing, 1)
        except Invalid as error:
            return f"the outputs of an audit: {error.message}"
        if body["outputs"] != "sha256:" + hashlib.sha256(envelope).hexdigest() or any(
            claim.get(name) != body[name] for name in ("audit", "bundle", "summary")
        ):
            return "the outputs of an audit do not say what their envelope says"
        named = (body["audit"], body["bundle"], body["summary"])
        if body["summary"] and named not in self._summaries:
            return "the outputs of an audit name a summary that does not stand before them"
        return ""

    def _rotate(self, body: dict[str, Any]) -> str:
        """From here on as many custodians must agree as the holder signed."""
        try:
            envelope = unbase64(body["envelope"])
            claim = open_claim(envelope, "custody_rotation", self._trusted.holder, 1)
        except Invalid as error:
            return f"a rotation of custodians: {error.message}"
        if claim != {name: field for name, field in body.items() if name != "envelope"}:
            return "a rotation of custodians does not say what its envelope says"
        people = {str(name) for name in body["custodians"]}
        if not 1 <= body["threshold"] <= len(people):
            return "a rotation to a threshold that its custodians cannot reach"
        self._thresholds[body["bundle"]] = body["threshold"]
        return ""

    def _close(self, body: dict[str, Any]) -> str:
        inference = body["inference"]
        begun = self.open.get(inference)
        if begun is None:
            if inference in self._begun:
                return f"{inference} ends a second time"
            return f"{inference} ends and never began"
        if body["begun"] != begun:
            return f"{inference} began at entry {begun}, not {body['begun']}"
        del self.open[inference]
        return ""


def _meets(shown: Any, demanded: str) -> bool:
    """Whether the grade that a host showed is enough; older entries name none."""
    if not demanded:
        return True
    rank = {name: place for place, name in enumerate(_GRADES)}
    return demanded in rank and rank.get(str(shown or _GRADES[0]), -1) >= rank[demanded]


def _drilled(body: dict[str, Any]) -> str:
    proven = {str(name) for name in body["custodians"]}
    if body["passed"] != (len(proven) >= body["threshold"]):
        return "a drill that passed with too few custodians, or failed with enough"
    return ""


def _form(value: Any) -> str:
    """What is wrong with the form of an entry, or ''."""
    if not isinstance(value, dict) or value.keys() != {"v", "kind", "time_ms", "body"}:
        return "not an entry: fields missing or unknown"
    if value["v"] != 1 or type(value["time_ms"]) is not int or type(value["body"]) is not dict:
        return "not an entry of version 1"
    fields = FIELDS.get(value["kind"]) if isinstance(value["kind"], str) else None
    if fields is None:
        return f"an entry of unknown kind {value['kind']!r}"
    for name, letter in fields.items():
        field = value["body"].get(name)
        if type(field) is not _TYPES[letter] or (
            letter == "c" and not _COMMITMENT.fullmatch(str(field))
        ):
            return f"{value['kind']} without a proper field {name!r}"
    return ""
