"""A decision's terms in words for a reader who knows neither the program nor its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from dutchdoor.clock import to_iso
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.terms import (
    NO_TERMS,
    ComponentAccess,
    Condition,
    CustodyTerms,
    RuntimeTerms,
    StageTerms,
    Terms,
)
from dutchdoor.release.model import AUDIENCES

__all__ = ["outside_lines", "review_line", "terms_sections"]

_ACCESS = {
    ComponentAccess.PUBLIC: "For everybody to have",
    ComponentAccess.GATED_DOWNLOAD: "To download, on request and under conditions",
    ComponentAccess.SERVED: "Used through the service; it does not leave",
    ComponentAccess.VETTED: "For vetted people; it does not leave",
    ComponentAccess.AUDITORS: "For auditors only",
    ComponentAccess.CLOSED: "For nobody",
}
_ROLES = {
    "liability": "Liable",
    "reporting": "Reports to authorities",
    "incident": "To be told of incidents",
    "press": "Answers the press",
}
_DUTIES = {
    "condition": "Condition imposed by",
    "licence": "Licence by",
    "non_objection": "No objection by",
}


def review_line(decision: Decision) -> str:
    """Until when somebody must have looked at it again, or ''."""
    review_ms = decision.terms.review_by_ms
    if not review_ms:
        return ""
    return (
        f"- Looked at again by {to_iso(review_ms)[:10]}: "
        "without a new decision it is out of force from that day on."
    )


def terms_sections(decision: Decision) -> list[str]:
    """The sections of the page that come from the terms; none for a decision without any."""
    terms = decision.terms
    if terms == NO_TERMS:
        return []
    lines = _section("What is shared, part by part", _components(terms))
    lines += _section("Step by step", _stages(terms.stages, decision.stage))
    lines += _section("What must hold where it runs", _running(terms.custody, terms.runtime))
    lines += _section("Safety margin", [_plain(terms.safety_margin)] if terms.safety_margin else [])
    lines += _section("What would void this decision", _bullets(terms.void_if))
    lines += _section("What it cannot do, or not well", _bullets(terms.limitations))
    lines += _section("Who was heard", _bullets(terms.heard) or ["Nobody besides the approvers."])
    contacts = [
        f"{_ROLES.get(row.role, row.role)}: {row.name}, {row.address}" for row in terms.contacts
    ]
    lines += _section("Who answers for it", _bullets(contacts))
    rests = [f"{row.name} `{row.digest[:19]}…`" for row in terms.references]
    return lines + _section("What was weighed", _bullets(rests))


def outside_lines(terms: Terms, signed_by: Sequence[str], missing: Sequence[str]) -> list[str]:
    """What people outside demand and whether they signed, kept apart from the approvers."""
    if not terms.outside:
        return []
    lines = ["", "## Imposed from outside", ""]
    if terms.profile:
        lines += [f"Made under deployment profile {_plain(terms.profile)}.", ""]
    for row in terms.outside:
        lines.append(f"- {_DUTIES.get(row.duty, row.duty)} {_plain(row.by)}: {_plain(row.text)}")
    if terms.outside_keys:
        signed = ", ".join(signed_by) or "nobody"
        lines += ["", f"Signatures from outside, beside the approvals: {signed}."]
    if missing:
        lines.append(
            f"Missing, and without them it does not come into force: {', '.join(missing)}."
        )
    return lines


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _components(terms: Terms) -> list[str]:
    lines = []
    for access, words in _ACCESS.items():
        rows = [row for row in terms.components if row.access is access]
        plain = [row.name for row in rows if not row.licence and not row.conditions]
        if plain:
            lines.append(f"- {words}: {', '.join(plain)}")
        for row in rows:
            if row.licence or row.conditions:
                under = f" under {_plain(row.licence)}" if row.licence else ""
                asked = f"; {'; '.join(map(_plain, row.conditions))}" if row.conditions else ""
                lines.append(f"- {words}: {row.name}{under}{asked}")
    if lines:
        lines.append("- What is not named here: for nobody")
    return lines


def _stages(stages: Sequence[StageTerms], current: str) -> list[str]:
    lines = []
    for number, row in enumerate(stages, 1):
        here = " (this decision)" if row.name == current else ""
        who = ", ".join(AUDIENCES.get(a.name, a.name) for a in row.audiences) or "nobody"
        lines.append(f"{number}. **{_plain(row.name)}**{here}: {who}")
        if number > 1:
            lines.append(f"   - not before {row.observation_days} days of the step before")
        lines += [f"   - only if: {_condition(gate)}" for gate in row.gates]
        lines += [f"   - taken back if: {_condition(trigger)}" for trigger in row.roll_back]
    return lines


def _condition(row: Condition) -> str:
    said = ", ".join(f"{name} {value}" for name, value in sorted(row.arguments.items()))
    words = row.kind.replace("_", " ")
    return _plain(f"{words} ({said})" if said else words)


def _running(custody: CustodyTerms, runtime: RuntimeTerms) -> list[str]:
    parts = [
        (custody.shares_min, f"The key is opened by {custody.shares_min} custodians at least"),
        (custody.custodians_min, f"There are {custody.custodians_min} custodians at least"),
        (custody.copies_max, f"At most {custody.copies_max} sealed copies exist"),
        (custody.grade, f"Keys are guarded at least by: {_plain(custody.grade)}"),
        (
            runtime.egress_bytes_day_max,
            f"At most {runtime.egress_bytes_day_max} bytes leave the runtime a day",
        ),
        (runtime.hardening, "Protections that must be on: " + ", ".join(runtime.hardening)),
        (not runtime.tools, "No tools and no agents"),
    ]
    return [f"- {text}" for wanted, text in parts if wanted]


def _bullets(rows: Sequence[str]) -> list[str]:
    return [f"- {_plain(row)}" for row in rows]


def _plain(text: str) -> str:
    """One line, so that nothing somebody wrote becomes a heading or a row of its own."""
    return " ".join(text.split())
