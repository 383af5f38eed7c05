"""An opening with the real log and register: the decision, the gate, the entry, the verifier."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.clock import FixedClock
from dutchdoor.custody.fields import base64_text
from dutchdoor.custody.keyring import FileSigner
from dutchdoor.custody.opening import Custodian, Opened, open_with_quorum
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import NotInForce
from dutchdoor.evidence.decision import (
    DECISION_KIND,
    REVOCATION_KIND,
    Trust,
)
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id, sign_statement
from tests.custody.parts import BUNDLE, Quorum, decision_on

ORIGIN = "example.org/custody"


@dataclass
class House:
    """A log whose gate is the register that the custodians ask, as in the running program."""

    quorum: Quorum
    log: Log
    register: DecisionRegister
    holder: FileSigner

    def record(self, entry: Entry) -> Recorded:
        return self.log.append([entry])[0]

    def decide(self) -> None:
        decision = decision_on(BUNDLE, self.quorum.clock)
        envelope = sign_statement(DECISION_KIND, decision.to_body(), [self.holder])
        body = {"decision": decision.id, "bundle": BUNDLE, "level": str(decision.level)}
        self._record(EntryKind.DECISION_SIGNED, body, envelope)

    def revoke(self) -> None:
        body = {"decision": "decision_one", "bundle": BUNDLE, "reason": "no longer"}
        envelope = sign_statement(REVOCATION_KIND, dict(body), [self.holder])
        self._record(EntryKind.DECISION_REVOKED, body, envelope)

    def open(self) -> Opened:
        quorum = self.quorum
        custodians = [
            Custodian(
                key,
                decisions=self.register,
                clock=quorum.clock,
                seen=FileSeen(quorum.folder / f"{key.name}.seen"),
            )
            for key in quorum.keys
        ]
        return open_with_quorum(
            quorum.terms,
            shares=quorum.shares,
            custodians=custodians,
            record=self.record,
            clock=quorum.clock,
        )

    def kinds(self) -> list[str]:
        entries = self.log.view.entries(0)
        return [str(canonical.parse(data)["kind"]) for _, data in entries]

    def _record(self, kind: EntryKind, body: dict[str, str], envelope: bytes) -> None:
        now_ms = self.quorum.clock.now_ms()
        self.record(Entry(kind, now_ms, {**body, "envelope": base64_text(envelope)}))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock = FixedClock()
    signer, holder = (FileSigner(name, os.urandom(32)) for name in ("log", "holder"))
    keys = {key_id(holder.public_key): holder.public_key}
    trust = Trust(ORIGIN, signer.public_key, keys, {}, 2)
    register = DecisionRegister(None, trust)
    log = Log.create(tmp_path / "log", signer, ORIGIN, clock, gate=register)
    yield House(Quorum(tmp_path, clock), log, register, holder)
    log.close()


def test_a_signed_decision_opens_and_the_release_is_in_the_log(house: House) -> None:
    house.decide()
    assert house.open().key == house.quorum.key
    assert house.kinds() == ["log_opened", "decision_signed", "key_released"]


def test_without_a_decision_the_log_shows_no_release(house: House) -> None:
    with pytest.raises(NotInForce):
        house.open()
    assert house.kinds() == ["log_opened"]


def test_a_revoked_decision_opens_no_more(house: House) -> None:
    house.decide()
    house.open()
    house.revoke()
    with pytest.raises(NotInForce):
        house.open()
    assert house.kinds()[-1] == "decision_revoked"


def test_the_log_refuses_a_release_that_no_decision_allows(house: House) -> None:
    """Even where somebody goes around the custodians, no entry can say that it was allowed."""
    body = {"bundle": BUNDLE, "decision": "decision_one", "custodians": []}
    with pytest.raises(NotInForce):
        house.record(Entry(EntryKind.KEY_RELEASED, house.quorum.clock.now_ms(), dict(body)))
    assert house.kinds() == ["log_opened"]
