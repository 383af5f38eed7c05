"""Reads the statements about panels from entries of the log, with their signatures checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dutchdoor import canonical
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.note import decode_base64
from dutchdoor.evidence.panels import (
    BALLOT_KIND,
    CALL_KIND,
    OPENING_KIND,
    RESULT_KIND,
    Ballot,
    Call,
    Member,
    Opening,
    Rule,
)
from dutchdoor.evidence.panels import bad_panel as _bad
from dutchdoor.evidence.statement import open_statement

__all__ = ["open_ballot", "open_call", "open_opening", "open_result", "panel_keys"]


def panel_keys(trust: Trust) -> dict[str, bytes]:
    """Whose signature calls, opens and closes panels: holder, approvers, somebody outside."""
    return {**trust.holder, **trust.approvers, **trust.outside}


def open_call(body: Mapping[str, Any], trust: Trust) -> Call:
    """The call of an entry's body (unverified). Raises Invalid: malformed or unsigned."""
    claim = _claim(body, CALL_KIND, panel_keys(trust))
    try:
        call = Call(
            panel=_text(claim["panel"]),
            bundle=_text(claim["bundle"]),
            list_digest=_text(claim["list"]),
            rows=_count(claim["rows"]),
            seats=_count(claim["seats"]),
            stratum=_text(claim["stratum"]),
            quotas={_text(k): _count(v) for k, v in _object(claim["quotas"]).items()},
            sources=_texts(claim["sources"]),
            seed_from_ms=_count(claim["seed_from_ms"]),
        )
    except KeyError as error:
        raise _bad("the call of a panel lacks a field") from error
    _whole(call.to_body(), claim)
    call.check()
    return call


def open_opening(body: Mapping[str, Any], trust: Trust) -> Opening:
    """The opening of an entry's body (unverified). Raises Invalid: malformed or unsigned."""
    claim = _claim(body, OPENING_KIND, panel_keys(trust))
    try:
        rows = [_object(row) for row in _list(claim["members"])]
        opening = Opening(
            panel=_text(claim["panel"]),
            bundle=_text(claim["bundle"]),
            about=_text(claim["about"]),
            question=_text(claim["question"]),
            options=_texts(claim["options"]),
            rule=_rule(claim["rule"]),
            quorum=_count(claim["quorum"]),
            percent_min=_count(claim["percent_min"]),
            opens_ms=_count(claim["opens_ms"]),
            closes_ms=_count(claim["closes_ms"]),
            members=tuple(Member(_text(row["name"]), _key(row["key"])) for row in rows),
            brief=_text(claim["brief"]),
            seeds=_texts(claim["seeds"]),
            declined=_texts(claim["declined"]),
        )
    except KeyError as error:
        raise _bad("the opening of a panel lacks a field") from error
    _whole(opening.to_body(), claim)
    opening.check(trust)
    return opening


def open_ballot(body: Mapping[str, Any], opening: Opening) -> Ballot:
    """The vote of an entry's body (unverified), signed by the member that it names.

    Raises Invalid: malformed, not signed by that member's key, or no vote on the question.
    """
    name = body.get("member")
    member = opening.member(name) if isinstance(name, str) else None
    if member is None:
        raise _bad("a vote by nobody on the panel")
    claim = _claim(body, BALLOT_KIND, {member.key: member.public_key})
    try:
        ballot = Ballot(
            panel=_text(claim["panel"]),
            member=_text(claim["member"]),
            choice=tuple(_texts(rank) for rank in _list(claim["choice"])),
            reason=_text(claim["reason"]),
            cast_ms=_count(claim["cast_ms"]),
        )
    except KeyError as error:
        raise _bad("a vote lacks a field") from error
    _whole(ballot.to_body(), claim)
    if ballot.panel != opening.panel:
        raise _bad("a vote on another panel")
    ballot.check(opening)
    return ballot


def open_result(body: Mapping[str, Any], trust: Trust) -> dict[str, Any]:
    """What a closing (unverified) says the outcome is; whether it is, is for a recount.

    Raises Invalid: malformed or unsigned.
    """
    return _claim(body, RESULT_KIND, panel_keys(trust))


def _claim(body: Mapping[str, Any], kind: str, keys: Mapping[str, bytes]) -> dict[str, Any]:
    text = body.get("envelope")
    if not isinstance(text, str):
        raise _bad("the entry holds no envelope")
    envelope = decode_base64(text, code="bad_panel")
    claim = open_statement(envelope, kind=kind, keys=keys, signatures_min=1).body
    _whole({name: value for name, value in body.items() if name != "envelope"}, claim)
    return claim


def _whole(said: dict[str, Any], claim: dict[str, Any]) -> None:
    # As bytes, because True and 1 are equal to Python and are not to a reader of the log.
    if canonical.encode(said) != canonical.encode(claim):
        raise _bad("the entry says something else than its envelope, or has unknown fields")


def _rule(value: Any) -> Rule:
    if value not in [str(rule) for rule in Rule]:
        raise _bad("a rule of voting that is unknown")
    return Rule(value)


def _key(value: Any) -> bytes:
    key = decode_base64(_text(value), code="bad_panel")
    if len(key) != 32:
        raise _bad("a member's key is no key")
    return key


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _bad("a statement about a panel holds no list where one belongs")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad("a statement about a panel holds no object where one belongs")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _bad("a statement about a panel holds no text where one belongs")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad("a statement about a panel holds no whole number where one belongs")
    return value
