"""What brings an audit up again: rules over facts, each giving dues ready to be recorded.

Every rule looks at what happened since the audit was last reviewed, and gives a due the same id
whenever it finds the same: recording twice is recording once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.audit.assumptions import read_assumptions
from dutchdoor.audit.measure import wilson
from dutchdoor.errors import Invalid
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import GRACE_MS, GRACE_MS_MAX, PERIOD_MS, Due
from dutchdoor.ids import random_part

__all__ = [
    "TERMS",
    "GuardRate",
    "Sealed",
    "Subject",
    "Traffic",
    "TriggerKind",
    "TriggerTerms",
    "by_assumptions",
    "by_guard_drift",
    "by_new_adapter",
    "by_people",
    "by_time",
    "count_traffic",
    "rate_of",
]

DAY_MS = 86_400_000
_ID_CHARACTERS = 26


class TriggerKind(StrEnum):
    """What can bring an audit up. incident and landscape are said by people."""

    TIME = "time"
    NEW_ADAPTER = "new_adapter"
    GUARD_DRIFT = "guard_drift"
    INCIDENT = "incident"
    LANDSCAPE = "landscape"
    ASSUMPTION = "assumption"


@dataclass(frozen=True)
class TriggerTerms:
    """How much time each trigger leaves, and when traffic says something.

    *_grace_days: from the due's date until the decision is out of force. drift_days: how far back
    traffic counts. drift_inferences_min: below so many nothing is said. harmful_part_max: the part
    of honest traffic that may be harmful and is rightly stopped.
    """

    new_adapter_grace_days: int = 14
    guard_drift_grace_days: int = 14
    incident_grace_days: int = 3
    landscape_grace_days: int = 30
    assumption_grace_days: int = 14
    drift_days: int = 30
    drift_inferences_min: int = 200
    harmful_part_max: float = 0.05

    def grace_ms(self, kind: TriggerKind) -> int:
        """The grace period that `kind` leaves where nobody says otherwise."""
        if kind is TriggerKind.TIME:
            return GRACE_MS
        days: int = getattr(self, f"{kind}_grace_days")
        return days * DAY_MS


TERMS = TriggerTerms()


@dataclass(frozen=True)
class Subject:
    """A decision above fully closed, and its audit. reviewed_ms: when an auditor last looked."""

    bundle: str
    model: str
    decision: str
    audit: str
    reasons: str
    reviewed_ms: int


@dataclass(frozen=True)
class Sealed:
    """A bundle that was sealed in this workspace."""

    bundle: str
    model: str
    time_ms: int


@dataclass(frozen=True)
class Traffic:
    """Inferences under one decision that the probe judged, and how many of them it stopped or
    flagged."""

    judged: int
    flagged: int


@dataclass(frozen=True)
class GuardRate:
    """The probe's realised false-positive rate as its card has it, with its 95 % interval."""

    value: float
    low: float
    high: float


def by_time(subject: Subject) -> Due:
    """The end of the period; the log applies it even where nobody records it."""
    due_ms = subject.reviewed_ms + PERIOD_MS
    detail = f"the audit was last reviewed {PERIOD_MS // DAY_MS} days before"
    return _due(subject, _Matter(TriggerKind.TIME, "", detail), due_ms, GRACE_MS)


def by_assumptions(subject: Subject, terms: TriggerTerms = TERMS) -> tuple[Due, ...]:
    """A due for each dated assumption in the signed reasons that was not reviewed since its end."""
    kind = TriggerKind.ASSUMPTION
    return tuple(
        _due(
            subject,
            _Matter(kind, row.to_line(), f"an assumption expired on {row.expires}: {row.text}"),
            max(row.expires_ms, 0),
            terms.grace_ms(kind),
        )
        for row in read_assumptions(subject.reasons)
        if row.expires_ms > subject.reviewed_ms
    )


def by_new_adapter(
    subject: Subject, sealed: Iterable[Sealed], terms: TriggerTerms = TERMS
) -> tuple[Due, ...]:
    """A due for each bundle of the same model name that was sealed after the review."""
    kind = TriggerKind.NEW_ADAPTER
    return tuple(
        _due(
            subject,
            _Matter(kind, row.bundle, f"another bundle of {row.model} was sealed: {row.bundle}"),
            row.time_ms,
            terms.grace_ms(kind),
        )
        for row in sealed
        if row.model == subject.model
        and row.bundle != subject.bundle
        and row.time_ms > subject.reviewed_ms
    )


def by_guard_drift(
    subject: Subject, traffic: Traffic, rate: GuardRate, now_ms: int, terms: TriggerTerms = TERMS
) -> Due | None:
    """A due where the guard's rate on traffic is no longer compatible with its card.

    The log has no labels, so honest traffic is taken to be benign but for a small part: the rate
    may lie between the card's false-positive rate and that plus `harmful_part_max`. Said only
    where the 95 % interval of the rate on traffic lies wholly outside.
    """
    if traffic.judged < terms.drift_inferences_min:
        return None
    found = wilson(traffic.flagged, traffic.judged)
    most = rate.high + terms.harmful_part_max
    if rate.low <= found.high and found.low <= most:
        return None
    kind = TriggerKind.GUARD_DRIFT
    more = found.low > most
    detail = (
        f"the guard flagged {traffic.flagged} of {traffic.judged} inferences "
        f"(95 %: {found.low:.4f} to {found.high:.4f}), {'more' if more else 'less'} than "
        f"{rate.low:.4f} to {most:.4f}, which its card allows"
    )
    # One due for each direction: its figures change with every request, and it is one matter.
    name = "more" if more else "less"
    return _due(subject, _Matter(kind, name, detail), now_ms, terms.grace_ms(kind))


def by_people(
    subject: Subject, kind: TriggerKind, reason: str, due_ms: int, grace_ms: int | None = None
) -> Due:
    """What somebody says makes the audit due: an incident, a change of the landscape, any other.

    grace_ms: None takes the default of `kind`.
    Raises Invalid: no reason, or a grace period that is none.
    """
    if not reason.strip():
        raise Invalid("a trigger says why", code="no_reason", hint="give --reason TEXT")
    chosen = TERMS.grace_ms(kind) if grace_ms is None else grace_ms
    if not 0 <= chosen <= GRACE_MS_MAX:
        message = f"a grace period has 0 to {GRACE_MS_MAX // DAY_MS} days"
        raise Invalid(message, code="bad_due", hint="give --grace-days N")
    return _due(subject, _Matter(kind, random_part(), reason.strip()), due_ms, chosen)


def count_traffic(entries: Iterable[bytes], subject: Subject, since_ms: int) -> Traffic:
    """What the probe said of the inferences under the subject's decision that began since.

    entries: of the log, in order. Refusals by text rules before a beginning are not the probe's.
    """
    running: set[str] = set()
    judged = flagged = 0
    for entry in _inferences(entries):
        name = str(entry.body.get("inference"))
        if entry.kind is EntryKind.INFERENCE_BEGUN:
            mine = entry.body.get("decision") == subject.decision
            if mine and entry.body.get("bundle") == subject.bundle and entry.time_ms >= since_ms:
                running.add(name)
        elif name in running:
            running.discard(name)
            actions = [row["action"] for row in _probed(entry.body.get("verdicts"))]
            judged += bool(actions)
            flagged += any(action != "allow" for action in actions)
    return Traffic(judged, flagged)


def rate_of(card: bytes, threshold: str) -> GuardRate | None:
    """The realised false-positive rate of `threshold` in a probe's card; None: it has none.

    Raises Invalid: the card is not canonical.
    """
    found: Any = canonical.parse(card)
    for name in ("thresholds", threshold, "realised_false_positive_rate"):
        found = found.get(name) if isinstance(found, dict) else None
    try:
        value, low, high = (float(found[name]) for name in ("value", "low", "high"))
    except (TypeError, KeyError, ValueError):
        return None
    return GuardRate(value, low, high) if 0 <= low <= value <= high <= 1 else None


def _inferences(entries: Iterable[bytes]) -> Iterator[Entry]:
    for data in entries:
        # The kind stands near the end of the canonical bytes.
        if b'"kind":"inference_' in data[-80:]:
            entry = Entry.decode(data)
            if entry.kind in {EntryKind.INFERENCE_BEGUN, EntryKind.INFERENCE_DONE}:
                yield entry


def _probed(verdicts: Any) -> Sequence[dict[str, Any]]:
    """The verdicts of a fitted probe."""
    rows = verdicts if isinstance(verdicts, list) else []
    return [
        row
        for row in rows
        if isinstance(row, dict)
        and row.get("layer") == "probe"
        and row.get("version") != "none"
        and isinstance(row.get("action"), str)
    ]


class _Matter(NamedTuple):
    """name: what tells it from other matters of its kind since the last review."""

    kind: TriggerKind
    name: str
    detail: str


def _due(subject: Subject, matter: _Matter, due_ms: int, grace_ms: int) -> Due:
    facts = {
        "bundle": subject.bundle,
        "audit": subject.audit,
        "reviewed_ms": subject.reviewed_ms,
        "trigger": str(matter.kind),
        "name": matter.name,
    }
    identifier = "due_" + canonical.sha256_hex(canonical.encode(facts))[:_ID_CHARACTERS]
    return Due(
        id=identifier,
        audit=subject.audit,
        bundle=subject.bundle,
        trigger=str(matter.kind),
        detail=matter.detail,
        due_ms=due_ms,
        grace_ms=grace_ms,
    )
