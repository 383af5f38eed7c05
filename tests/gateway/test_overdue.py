"""A running stream whose decision's audit becomes overdue: it ends when the grace ends."""

from __future__ import annotations

import asyncio
import base64
import time

import pytest

from dutchdoor.errors import NotInForce
from dutchdoor.evidence.decision import Audience, Depth, GuardTerms, Level
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import DUE_KIND, RENEWAL_KIND, Due, Renewal
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import Terms
from dutchdoor.gateway.model import Event, Finished, Stopped
from tests.gateway.house import BUNDLE, House, chat, collect
from tests.gateway.test_watch import CUT_S_MAX, check_cut, cut_by

GRACE_MS = 700
AUDIT = "sha256:" + "0" * 64


def bring_up(house: House, grace_ms: int) -> None:
    now_ms = house.clock.now_ms()
    due = Due(f"due_{grace_ms}", AUDIT, BUNDLE, "incident", "weights found", now_ms, grace_ms)
    envelope = sign_statement(DUE_KIND, due.to_body(), [house.approvers[0]])
    body = {**due.to_body(), "envelope": base64.b64encode(envelope).decode()}
    house.record(Entry(EntryKind.AUDIT_DUE, now_ms, body))


def renew(house: House, *dues: str) -> None:
    now_ms = house.clock.now_ms()
    renewal = Renewal("renewal_1", AUDIT, BUNDLE, dues, "it was another model", now_ms)
    envelope = sign_statement(RENEWAL_KIND, renewal.to_body(), [house.holder])
    body = {**renewal.to_body(), "envelope": base64.b64encode(envelope).decode()}
    house.record(Entry(EntryKind.AUDIT_RENEWED, now_ms, body))


def test_an_overdue_audit_cuts_the_running_stream_after_its_grace(house: House) -> None:
    house.decide()
    events, took_s = cut_by(house, house.granted(), lambda: bring_up(house, GRACE_MS))
    check_cut(house, events, "audit_overdue", "revoked")
    assert GRACE_MS / 1000 - 0.1 < took_s < GRACE_MS / 1000 + CUT_S_MAX
    last = events[-1]
    assert isinstance(last, Stopped)
    assert "incident" in last.message
    assert "weights found" not in last.message, "the details are for those who read the log"


def test_nothing_begins_while_an_audit_is_overdue_and_a_renewal_opens_again(house: House) -> None:
    house.decide()
    key = house.granted()
    bring_up(house, 0)

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                (refused,) = await collect(gateway, key, chat("one two"))
                assert isinstance(refused, Stopped)
                assert refused.code == "audit_overdue"
                await asyncio.to_thread(renew, house, "due_0")
                end_s = time.monotonic() + CUT_S_MAX
                last: Event = refused
                while not isinstance(last, Finished) and time.monotonic() < end_s:
                    last = (await collect(gateway, key, chat("one two")))[-1]
                assert isinstance(last, Finished)

    asyncio.run(run())
    house.check()


def test_nothing_begins_once_the_day_of_review_was_missed(house: House) -> None:
    house.decide(terms=Terms(review_by_ms=house.clock.now_ms() - 1))
    key = house.granted()

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                (refused,) = await collect(gateway, key, chat("one two"))
                assert isinstance(refused, Stopped)
                assert refused.code == "decision_review_overdue"
                assert "was to be reviewed by" in refused.message

    asyncio.run(run())
    house.check()


def test_a_fully_closed_decision_serves_on_for_its_auditors(house: House) -> None:
    person, key = house.person("auditor")
    house.grant(person.id, depths=(Depth.SAMPLING, Depth.AUDIT))
    closed = (Audience("auditor", (Depth.SAMPLING, Depth.AUDIT), (person.id,)),)
    house.decide(level=Level.FULLY_CLOSED, audiences=closed, audit="", guard=GuardTerms())
    bring_up(house, 0)

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                assert isinstance((await collect(gateway, key, chat("one")))[-1], Finished)

    asyncio.run(run())
    house.check()


def test_the_log_itself_refuses_what_begins_under_an_overdue_audit(house: House) -> None:
    decision = house.decide()
    bring_up(house, 0)
    body = {"bundle": BUNDLE, "decision": decision.id, "hardening": []}
    with pytest.raises(NotInForce) as caught:
        house.record(Entry(EntryKind.RUNTIME_STARTED, house.clock.now_ms(), body))
    assert caught.value.code == "audit_overdue"
