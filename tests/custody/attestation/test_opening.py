"""A decision that demands a grade opens to a host that shows it, and to no other.

The evidence was recorded from a TPM in software; the custodians and their checks are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.verify import EnrolledHosts
from dutchdoor.custody.opening import Custodian, gather_releases
from dutchdoor.custody.replay import FileSeen
from dutchdoor.errors import DutchdoorError, Refused
from dutchdoor.evidence.hosts import hosts_from_value
from dutchdoor.evidence.model import Recorded
from dutchdoor.evidence.terms import CustodyTerms, Terms
from tests.custody.parts import BUNDLE, Decisions, Quorum, decision_on

FIXTURE = Path(__file__).parent / "fixtures" / "quotes.json"
RECORDED = json.loads(FIXTURE.read_text())
HOSTS = hosts_from_value(RECORDED["hosts"])


class House(Quorum):
    """A quorum whose decision demands a grade, and whose custodians know the recorded hosts."""

    def __init__(self, folder: Path, grade: str, *, knows_hosts: bool = True) -> None:
        self.hosts = EnrolledHosts(HOSTS) if knows_hosts else None
        super().__init__(folder, FixedClock())
        terms = Terms(custody=CustodyTerms(grade=grade))
        self.decisions = Decisions(replace(decision_on(BUNDLE, self.clock), terms=terms))
        self.custodians = [self.custodian(key) for key in self.keys]

    def custodian(self, key: Any) -> Custodian:
        seen = FileSeen(self.folder / f"{key.name}.seen")
        return Custodian(
            key, decisions=self.decisions, clock=self.clock, seen=seen, hosts=self.hosts
        )

    def open(self, row: str = "ecdsa", evidence: bytes | None = None) -> Sequence[bytes]:
        """The releases for the recorded request of this row."""
        recorded = RECORDED["quotes"][row]
        return gather_releases(
            recorded["request"].encode(),
            shares=self.shares,
            custodians=self.custodians,
            record=self.record,
            clock=self.clock,
            evidence=recorded["evidence"].encode() if evidence is None else evidence,
        )

    def refused(self, row: str = "ecdsa", evidence: bytes | None = None) -> str:
        with pytest.raises(DutchdoorError) as caught:
            self.open(row, evidence)
        assert not self.record.entries, "nothing is recorded, and nothing left"
        return caught.value.code


def test_a_demand_for_tpm_opens_with_a_valid_quote_and_the_entry_says_what_was_shown(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, "tpm")
    assert len(house.open()) == 2
    (entry,) = house.record.entries
    row = RECORDED["quotes"]["ecdsa"]
    evidence = HostEvidence.decode(row["evidence"].encode())
    assert entry.body["grade"] == "tpm"
    assert entry.body["host"] == row["host"]
    assert entry.body["evidence"] == evidence.digest


def test_without_evidence_every_opening_is_of_grade_software(tmp_path: Path) -> None:
    assert House(tmp_path, "tpm").refused(evidence=b"") == "custody_grade"
    house = House(tmp_path, "software")
    house.open(evidence=b"")
    assert house.record.entries[0].body["grade"] == "software"


def test_a_tpm_is_no_confidential_machine(tmp_path: Path) -> None:
    assert House(tmp_path, "tee").refused() == "custody_grade"


@pytest.mark.parametrize("grade", ["tpm", "software", ""])
def test_evidence_that_does_not_verify_is_refused_whatever_was_demanded(
    tmp_path: Path, grade: str
) -> None:
    house = House(tmp_path, grade)
    assert house.refused("other_boot") == "host_not_as_enrolled"
    assert house.refused("other_key") == "evidence_not_signed"
    assert house.refused(evidence=b"{}") == "bad_evidence"
    other = RECORDED["quotes"]["rsassa"]["evidence"].encode()
    assert house.refused(evidence=other) == "evidence_replayed"


def test_a_custodian_that_knows_no_hosts_believes_none(tmp_path: Path) -> None:
    assert House(tmp_path, "tpm", knows_hosts=False).refused() == "unknown_host"


def test_a_quote_opens_once(tmp_path: Path) -> None:
    house = House(tmp_path, "tpm")
    house.open()
    with pytest.raises(Refused) as caught:
        house.open()
    # One of the three has not answered yet; it alone is no quorum.
    assert caught.value.code == "no_quorum"
    assert "answered already" in caught.value.message


def test_an_entry_that_says_another_grade_than_was_verified_releases_nothing(
    tmp_path: Path,
) -> None:
    house = House(tmp_path, "tpm")
    honest = house.record

    def lying(entry: Any) -> Recorded:
        return honest(replace(entry, body={**entry.body, "grade": "tee"}))

    house.record = lying  # type: ignore[assignment]
    with pytest.raises(Refused) as caught:
        house.open()
    assert caught.value.code == "not_recorded"
