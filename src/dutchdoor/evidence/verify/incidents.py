"""Recorded incidents, judged a second time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64

__all__ = ["GRADES", "Incidents"]

GRADES = ("near_miss", "minor", "serious", "critical")
_NATURES = ("infrastructure", "weights_leaked", "breach", "death", "serious_harm", "other")
_REPORTS = ("", "initial", "intermediate", "final")
_FIELDS = {
    "incident": str,
    "revision": int,
    "bundle": str,
    "class": str,
    "nature": str,
    "aware_ms": int,
    "resolved_ms": int,
    "report": str,
    "details": str,
}


class _Said(NamedTuple):
    grade: str
    nature: str

    def fulfils(self, kind: str, grade: str) -> bool:
        if kind == "leak_reported":
            return self.nature == "weights_leaked"
        return GRADES.index(self.grade) >= GRADES.index(grade)


class Incidents:
    """Follows the revisions of all incidents."""

    def __init__(self, trusted: Trusted) -> None:
        self._trusted = trusted
        self._last: dict[str, Mapping[str, Any]] = {}
        # By bundle: where a revision stands, what it says, what the one before it said.
        self._news: dict[str, list[tuple[int, _Said, _Said | None]]] = {}

    def record(self, index: int, body: Mapping[str, Any]) -> str:
        """Take in an `incident_recorded`; gives what is wrong with it, or ''."""
        trusted = self._trusted
        keys = {**trusted.holder, **trusted.approvers, **trusted.auditors}
        try:
            claim = open_claim(unbase64(body["envelope"]), "incident", keys, 1)
        except Invalid as error:
            return f"an incident: {error.message}"
        said = {name: value for name, value in body.items() if name != "envelope"}
        if canonical.encode(claim) != canonical.encode(said):
            return "an incident says something else than its envelope"
        problem = _form(said) or self._order(said)
        if not problem:
            last = self._last.get(said["incident"])
            before = None if last is None else _Said(last["class"], last["nature"])
            row = (index, _Said(said["class"], said["nature"]), before)
            self._news.setdefault(said["bundle"], []).append(row)
            self._last[said["incident"]] = said
        return problem

    def first(self, bundle: str, kind: str, grade: str, since: int) -> int:
        """The first entry after `since` that brings news of such an incident, or -1."""
        for index, now, before in self._news.get(bundle, ()):
            known = before is not None and before.fulfils(kind, grade)
            if index > since and now.fulfils(kind, grade) and not known:
                return index
        return -1

    def _order(self, said: Mapping[str, Any]) -> str:
        last = self._last.get(said["incident"])
        if said["revision"] != (1 if last is None else last["revision"] + 1):
            return "an incident that is not its next revision"
        if last and (said["bundle"] != last["bundle"] or said["aware_ms"] > last["aware_ms"]):
            return "an incident that contradicts its revision before"
        return ""


def _form(said: Mapping[str, Any]) -> str:
    if said.keys() != _FIELDS.keys() or any(type(said[n]) is not t for n, t in _FIELDS.items()):
        return "an incident: fields missing or unknown"
    clocked = said["nature"] != "other"
    fits = (
        said["incident"]
        and said["bundle"]
        and said["details"]
        and said["revision"] >= 1
        and said["aware_ms"] >= 0
        and said["resolved_ms"] >= 0
        and said["class"] in GRADES
        and said["nature"] in _NATURES
        and said["report"] in _REPORTS
        and (not clocked or said["class"] in GRADES[2:])
    )
    return "" if fits else "an incident with impossible terms"
