"""Panels and their votes, judged and counted a second time from the envelopes in the log.

The recount shares no code with the program that ran the vote. What it cannot see: whether the
members were drawn from their list as they should have been, which takes the list
(`docs/concepts/panels.md` shows how), and who the people behind the keys are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64

__all__ = ["PANEL_FIELDS", "Panels"]

PANEL_FIELDS = {
    "panel_called": {
        "panel": "s",
        "bundle": "s",
        "list": "s",
        "rows": "i",
        "seats": "i",
        "stratum": "s",
        "quotas": "o",
        "sources": "l",
        "seed_from_ms": "i",
        "envelope": "s",
    },
    "panel_opened": {
        "panel": "s",
        "bundle": "s",
        "about": "s",
        "question": "s",
        "options": "l",
        "rule": "s",
        "quorum": "i",
        "percent_min": "i",
        "opens_ms": "i",
        "closes_ms": "i",
        "members": "l",
        "brief": "s",
        "seeds": "l",
        "declined": "l",
        "envelope": "s",
    },
    "panel_voted": {
        "panel": "s",
        "member": "s",
        "choice": "l",
        "reason": "s",
        "cast_ms": "i",
        "envelope": "s",
    },
    "panel_closed": {
        "panel": "s",
        "bundle": "s",
        "about": "s",
        "question": "s",
        "outcome": "s",
        "counts": "o",
        "pairwise": "o",
        "members": "i",
        "voted": "i",
        "quorum": "i",
        "quorum_met": "b",
        "minority": "l",
        "envelope": "s",
    },
}
_KINDS = {
    "panel_called": "panel_call",
    "panel_opened": "panel_opening",
    "panel_voted": "panel_ballot",
    "panel_closed": "panel_result",
}
_REASON_BYTES_MAX = 12_000
_MEMBERS_MAX, _OPTIONS_MAX, _SOURCES_MAX, _STRATA_MAX = 120, 12, 8, 40
_NAME_MAX, _OPTION_MAX, _SOURCE_MAX, _SEED_MAX, _QUESTION_MAX = 64, 80, 300, 512, 2_000


@dataclass
class _Panel:
    """opening: the claim, None before it. ballots: choice and reason by member."""

    opening: dict[str, Any] | None = None
    keys: dict[str, bytes] = field(default_factory=dict)
    ballots: dict[str, tuple[list[list[str]], str]] = field(default_factory=dict)
    closed: bool = False


class Panels:
    """Follows the log's panels, in order."""

    def __init__(self, trusted: Trusted) -> None:
        self._trusted = trusted
        self._calls: dict[str, dict[str, Any]] = {}
        self._panels: dict[str, _Panel] = {}

    def follow(self, kind: str, time_ms: int, body: Mapping[str, Any]) -> str:
        """Take in an entry about a panel; gives what is wrong with it, or ''."""
        panel = self._panels.get(body["panel"], _Panel())
        try:
            claim = self._claim(kind, body, panel)
            if kind == "panel_called":
                return self._call(time_ms, claim)
            if kind == "panel_opened":
                return self._open(time_ms, claim)
            if panel.opening is None:
                return f"{kind} on a panel that was not opened"
            if panel.closed:
                return f"{kind} on a panel that is closed"
            if kind == "panel_voted":
                return _vote(time_ms, claim, panel, panel.opening)
            return _close(time_ms, claim, panel, panel.opening)
        except Invalid as error:
            return f"{kind}: {error.message}"
        except (KeyError, TypeError, ValueError, AttributeError):
            return f"{kind} out of form"

    def _claim(self, kind: str, body: Mapping[str, Any], panel: _Panel) -> dict[str, Any]:
        trusted = self._trusted
        keys: Mapping[str, bytes] = {**trusted.holder, **trusted.approvers, **trusted.outside}
        if kind == "panel_voted":
            key = panel.keys.get(body["member"])
            keys = {} if key is None else {_key_id(key): key}
        claim = open_claim(unbase64(body["envelope"]), _KINDS[kind], keys, 1)
        said = {name: value for name, value in body.items() if name != "envelope"}
        if set(said) | {"envelope"} != set(PANEL_FIELDS[kind]) or canonical.encode(
            said
        ) != canonical.encode(claim):
            raise Invalid("it says something else than its envelope", code="bad_statement")
        return claim

    def _call(self, time_ms: int, claim: dict[str, Any]) -> str:
        if claim["panel"] in self._calls or claim["panel"] in self._panels:
            return "the panel was called or opened before"
        if time_ms >= claim["seed_from_ms"]:
            return "a panel was called when its seed may have been known"
        quotas = claim["quotas"]
        sources = claim["sources"]
        if not 0 < len(sources) <= _SOURCES_MAX or not all(_fits(s, _SOURCE_MAX) for s in sources):
            return "a panel was called without a source of its seed, or with too much of it"
        if not 0 < claim["seats"] <= min(claim["rows"], _MEMBERS_MAX):
            return "a panel was called with too many seats"
        if bool(claim["stratum"]) != bool(quotas) or len(quotas) > _STRATA_MAX:
            return "a panel was called with quotas of nothing, or with too many"
        if quotas and (sum(quotas.values()) != claim["seats"] or min(quotas.values()) < 0):
            return "a panel's quotas do not add up to its seats"
        self._calls[claim["panel"]] = claim
        return ""

    def _open(self, time_ms: int, claim: dict[str, Any]) -> str:
        if claim["panel"] in self._panels:
            return "the panel was opened before"
        keys = {row["name"]: unbase64(row["key"]) for row in claim["members"]}
        trusted = self._trusted
        mighty = {
            *trusted.holder.values(),
            *trusted.approvers.values(),
            *trusted.auditors.values(),
        }
        options = claim["options"]
        texts = (claim["question"], claim["about"])
        if not claim["question"].strip() or max(map(len, texts)) > _QUESTION_MAX:
            return "a panel that is asked nothing, or too much"
        if not all(_fits(seed, _SEED_MAX) and seed.isascii() for seed in claim["seeds"]):
            return "a panel's seed is no line of ASCII"
        if any(not _fits(row, _OPTION_MAX) or set(row) & set(",>=\n") for row in options):
            return "a panel is asked about an option that cannot be ranked"
        if len(keys) > _MEMBERS_MAX or not all(_fits(name, _NAME_MAX) for name in keys):
            return "a panel with too many members, or with one who has no proper name"
        if not 0 < len(claim["members"]) == len(keys) == len(set(keys.values())):
            return "a panel without members, or with a member twice"
        if any(len(key) != 32 for key in keys.values()) or mighty & set(keys.values()):
            return "a panel with a member's key that is none, or is the holder's or an approver's"
        if not 2 <= len(options) == len(set(options)) <= _OPTIONS_MAX:
            return "a panel is asked about fewer than two options, or about one twice"
        most = {"approval": 99, "ranked": 0}.get(claim["rule"], -1)
        if not 0 <= claim["percent_min"] <= most or not 0 < claim["quorum"] <= len(keys):
            return "a panel by an unknown rule, or with a quorum that cannot be"
        if not time_ms <= claim["opens_ms"] < claim["closes_ms"]:
            return "a panel's vote opens in the past, or closes before it opens"
        call = self._calls.get(claim["panel"])
        if call is None and (claim["seeds"] or claim["declined"]):
            return "a panel was drawn and never called"
        if call is not None and (
            call["bundle"] != claim["bundle"]
            or len(call["sources"]) != len(claim["seeds"])
            or call["seats"] != len(keys)
            or time_ms < call["seed_from_ms"]
        ):
            return "a panel was opened otherwise than it was called"
        self._panels[claim["panel"]] = _Panel(claim, keys)
        return ""


def _fits(text: Any, most: int) -> bool:
    return isinstance(text, str) and 0 < len(text) <= most


def _vote(time_ms: int, claim: dict[str, Any], panel: _Panel, opening: dict[str, Any]) -> str:
    begin, end = opening["opens_ms"], opening["closes_ms"]
    if not begin <= time_ms < end or not begin <= claim["cast_ms"] < end:
        return "a vote outside its window"
    if claim["member"] in panel.ballots:
        return f"{claim['member']} votes a second time"
    choice = claim["choice"]
    named = [option for rank in choice for option in rank]
    if any(type(rank) is not list or not rank for rank in choice) or len(set(named)) < len(named):
        return "a vote that names an option twice, or has an empty rank"
    if set(named) - set(opening["options"]):
        return "a vote for an option that was not asked about"
    if opening["rule"] == "approval" and len(choice) > 1:
        return "a vote that ranks where options are approved"
    if len(claim["reason"].encode()) > _REASON_BYTES_MAX:
        return "a vote with too long a reason"
    panel.ballots[claim["member"]] = (choice, claim["reason"])
    return ""


def _close(time_ms: int, claim: dict[str, Any], panel: _Panel, opening: dict[str, Any]) -> str:
    if time_ms < opening["closes_ms"]:
        return "a panel was closed while its vote went on"
    recount = _recount(opening, panel.ballots)
    if canonical.encode(recount) != canonical.encode(claim):
        return f"the panel's outcome is not what a recount gives: {recount['outcome']!r}"
    panel.closed = True
    return ""


def _recount(
    opening: dict[str, Any], ballots: Mapping[str, tuple[list[list[str]], str]]
) -> dict[str, Any]:
    options = opening["options"]
    tops = {name: set(choice[0] if choice else ()) for name, (choice, _) in ballots.items()}
    counts = {option: sum(option in top for top in tops.values()) for option in options}
    pairwise: dict[str, dict[str, int]] = {}
    if opening["rule"] == "approval":
        most = max(counts.values())
        enough = most * 100 > opening["percent_min"] * len(ballots)
        leading = [option for option in options if enough and counts[option] == most]
    else:
        pairwise = {
            one: {
                other: sum(_prefers(choice, one, other) for choice, _ in ballots.values())
                for other in options
                if other != one
            }
            for one in options
        }
        leading = [one for one in options if _unbeaten(one, pairwise)]
    met = len(ballots) >= opening["quorum"]
    outcome = leading[0] if met and len(leading) == 1 else ""
    return {
        "panel": opening["panel"],
        "bundle": opening["bundle"],
        "about": opening["about"],
        "question": opening["question"],
        "outcome": outcome,
        "counts": counts,
        "pairwise": pairwise,
        "members": len(opening["members"]),
        "voted": len(ballots),
        "quorum": opening["quorum"],
        "quorum_met": met,
        "minority": sorted(
            name
            for name, (_, reason) in ballots.items()
            if reason.strip() and outcome not in tops[name]
        ),
    }


def _prefers(choice: list[list[str]], one: str, other: str) -> bool:
    for rank in choice:
        if one in rank:
            return other not in rank
        if other in rank:
            return False
    return False


def _unbeaten(one: str, pairwise: Mapping[str, Mapping[str, int]]) -> bool:
    return all(
        _strength(one, other, pairwise) >= _strength(other, one, pairwise)
        for other in pairwise
        if other != one
    )


def _strength(start: str, goal: str, pairwise: Mapping[str, Mapping[str, int]]) -> int:
    """The weakest win on the strongest way from `start` to `goal`; 0 where no way leads there."""
    # The strongest way exists at a strength that some win has: from the strongest down.
    wins = {n for row in pairwise.values() for n in row.values()}
    for strength in sorted(wins, reverse=True):
        reached, waiting = {start}, [start]
        while waiting:
            here = waiting.pop()
            for there, number in pairwise[here].items():
                beats = number >= strength and number > pairwise[there][here]
                if beats and there not in reached:
                    reached.add(there)
                    waiting.append(there)
        if goal in reached:
            return strength
    return 0


def _key_id(key: bytes) -> str:
    return "ed25519:" + hashlib.sha256(key).hexdigest()[:16]
