"""Where somebody outside must have a say, nothing is in force without their own signature."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.audit.document import read_document, write_document
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid, NotInForce, Refused
from dutchdoor.evidence.decision import Decision, Level
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.terms import OutsideTerms, Terms
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.release.model import DAY_MS, Proposal
from dutchdoor.release.profiles.reading import choose, load_profiles, read_profile
from dutchdoor.release.service import Release
from tests.audit.parts import BUNDLE, Key
from tests.release.parts import HIDDEN_SIZE, RESEARCHERS, STAGE, Workspace

REGULATOR, AGENCY = Key("regulator"), Key("agency")
CONTACTS = [
    {"role": role, "name": "Ada", "address": "ada@example.org"}
    for role in ("liability", "reporting", "incident")
]
OWN = """\
profile: port_city
title: The port city's own
what: The city imposes a condition on each deployment.
conditions:
  - by: the city
    text: no use against dockers
"""


class House(Workspace):
    """A workspace that knows a regulator and an agency."""

    def __init__(self, folder: Path, *, profile: str = "", approvals_min: int = 2) -> None:
        super().__init__(folder, approvals_min=approvals_min)
        outside = {key.id: key.public_key for key in (REGULATOR, AGENCY)}
        self.people.trust = replace(self.people.trust, outside=outside)
        self.register = DecisionRegister(self.register._reader, self.people.trust)
        self.release = Release(
            folder / "release",
            audits=folder / "audits",
            trust=self.people.trust,
            register=self.register,
            record=self.record,
            clock=self.clock,
            profile=profile,
        )

    def wished(self, terms: Terms, proposer: str = "wanda") -> Proposal:
        return self.release.propose(
            audit=self.audited(),
            level="cloud_api",
            stage=STAGE,
            audiences=(RESEARCHERS,),
            hidden_size=HIDDEN_SIZE,
            proposer=proposer,
            reasons="why",
            terms=terms,
        )

    def write(self, proposal: str, **terms: Any) -> None:
        """Edit the terms of a proposal."""
        path = self.release.document(proposal)
        document = read_document(path)
        document.front["terms"].update(terms)
        write_document(path, document)

    def asked(self, proposer: str = "wanda") -> str:
        """A proposal to which the regulator is to sign, complete."""
        name = self.wished(Terms(profile="regulator_non_objection"), proposer).id
        row = {"by": "the regulator", "duty": "non_objection", "text": "none", "key": REGULATOR.id}
        self.write(name, outside=[row], contacts=CONTACTS)
        return name

    def standing(self) -> Decision:
        self.register.refresh()
        return self.register.in_force(BUNDLE, self.clock.now_ms()).decision


def refused(house: House, name: str) -> Invalid:
    with pytest.raises(Invalid) as caught:
        house.release.approve(name, house.people.first)
    assert caught.value.hint
    return caught.value


def test_a_decision_waits_for_the_regulator_and_says_so(tmp_path: Path) -> None:
    house = House(tmp_path)
    birth = house.born()
    name = house.asked()
    house.release.approve(name, house.people.first)
    second = house.release.approve(name, house.people.second)
    assert not second.in_force
    assert second.outside_missing == (REGULATOR.id,)
    assert house.standing() == birth
    page = house.release.show(name)
    assert "No objection by the regulator: none" in page
    assert f"Missing, and without them it does not come into force: {REGULATOR.id}." in page
    third = house.release.approve(name, REGULATOR)
    assert third.in_force
    assert third.outside_by == ("regulator",)
    assert set(third.approved_by) == {"ines", "tomas"}
    assert house.standing() == third.decision
    page = house.release.show(third.decision.id)
    assert "2 of 2 needed: ines, tomas." in page
    assert "Signatures from outside, beside the approvals: regulator." in page
    assert "Liable: Ada, ada@example.org" in page
    house.release.document(name).with_name("approvals.json").unlink()
    assert house.release.show(third.decision.id) == page, "who signed is what the log says"
    report = verify(tmp_path / "evidence", encode_trust(house.people.trust))
    assert not report.findings


def test_the_order_of_signatures_does_not_matter(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    house.release.approve(name, REGULATOR)
    house.release.approve(name, house.people.first)
    assert house.release.approve(name, house.people.second).in_force


def test_a_key_outside_is_no_approval(tmp_path: Path) -> None:
    house = House(tmp_path)
    birth = house.born()
    name = house.asked()
    house.release.approve(name, REGULATOR)
    first = house.release.approve(name, house.people.first)
    assert (first.approved_by, first.in_force) == (("ines",), False)
    assert house.standing() == birth


def test_the_proposer_and_the_regulator_are_still_one_approver(tmp_path: Path) -> None:
    house = House(tmp_path, approvals_min=1)
    birth = house.born()
    name = house.asked(proposer=house.people.first.name)
    house.release.approve(name, REGULATOR)
    assert not house.release.approve(name, house.people.first).in_force
    assert house.standing() == birth


def test_a_signature_that_nobody_demands_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    with pytest.raises(Refused) as caught:
        house.release.approve(name, AGENCY)
    assert caught.value.code == "signature_not_demanded"
    with pytest.raises(Refused) as caught:
        house.release.approve(name, house.people.stranger)
    assert caught.value.code == "not_an_approver"


def test_nobody_outside_revokes(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    for key in (house.people.first, house.people.second, REGULATOR):
        approval = house.release.approve(name, key)
    with pytest.raises(Refused):
        house.release.revoke(approval.decision.id, "because", REGULATOR)


def test_a_text_changed_after_the_regulator_signed_voids_that_too(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    house.release.approve(name, REGULATOR)
    house.write(name, heard=["somebody else"])
    house.release.approve(name, house.people.first)
    assert not house.release.approve(name, house.people.second).in_force


def test_what_a_profile_demands_has_a_place_to_be_written_in(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.wished(Terms(profile="regulator_non_objection")).id
    said = refused(house, name)
    assert "terms.outside[0].by (non_objection): it still says '[write here" in said.message
    assert "the name of the authority" in said.hint
    house.write(name, contacts=CONTACTS)
    assert "[write here" in refused(house, name).message


@pytest.mark.parametrize(
    ("terms", "code", "what"),
    [
        ({"outside": []}, "profile_unmet", "nobody is to sign"),
        ({"contacts": CONTACTS[:2]}, "profile_unmet", "nobody answers for incident"),
        ({"contacts": [{**row, "name": " "} for row in CONTACTS]}, "profile_unmet", "nobody"),
        ({"review_by": ""}, "profile_unmet", "reviewed in time"),
        ({"profile": "nobody_knows"}, "unknown_profile", "nobody_knows"),
        (
            {"outside": [{"by": "x", "duty": "non_objection", "text": "y", "key": "ed25519:00"}]},
            "outside_key_unknown",
            "unknown key",
        ),
    ],
)
def test_without_what_the_profile_demands_nobody_can_approve(
    tmp_path: Path, terms: dict[str, Any], code: str, what: str
) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    house.write(name, **terms)
    error = refused(house, name)
    assert error.code == code
    assert what in error.message


def test_a_review_later_than_the_profile_allows_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.born()
    name = house.asked()
    path = house.release.document(name)
    until = to_iso(house.clock.now_ms() + 400 * DAY_MS)
    write_document(path, read_document(path).with_front(in_force_until=until))
    house.write(name, review_by=to_iso(house.clock.now_ms() + 184 * DAY_MS))
    assert refused(house, name).code == "profile_unmet"


def test_where_the_workspace_demands_a_profile_no_proposal_drops_it(tmp_path: Path) -> None:
    house = House(tmp_path, profile="licensed")
    house.born()
    proposal = house.wished(Terms())
    assert proposal.decision.terms.profile == "licensed"
    assert [row.duty for row in proposal.decision.terms.outside] == ["licence"]
    house.write(proposal.id, profile="none", outside=[], contacts=[])
    assert refused(house, proposal.id).code == "other_profile"
    with pytest.raises(Invalid) as caught:
        house.wished(Terms(profile="none"))
    assert caught.value.code == "other_profile"


def test_a_condition_from_outside_is_recorded_as_such_and_cannot_be_left_out(
    tmp_path: Path,
) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "port_city.yaml").write_text(OWN)
    profiles = load_profiles(tmp_path / "profiles")
    house = House(tmp_path / "house")
    house.release._profiles = profiles
    house.born()
    proposal = house.wished(Terms(profile="port_city"))
    condition = OutsideTerms("the city", "condition", "no use against dockers")
    assert proposal.decision.terms.outside == (condition,)
    page = house.release.show(proposal.id)
    assert "Condition imposed by the city: no use against dockers" in page
    house.write(proposal.id, outside=[])
    assert refused(house, proposal.id).code == "profile_unmet"


def test_the_shipped_profiles_are_read_and_stay_themselves(tmp_path: Path) -> None:
    profiles = load_profiles()
    assert set(profiles) == {"none", "licensed", "regulator_non_objection"}
    assert not choose(profiles, "none").approvals
    with pytest.raises(Invalid):
        choose(profiles, "else")
    (tmp_path / "licensed.yaml").write_text(OWN.replace("port_city", "licensed"))
    with pytest.raises(Invalid):
        load_profiles(tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title:", "titel:"),
        ("what: The", "more: The"),
        ("profile: port_city", "profile: 5"),
        ("  - by: the city\n", "  - who: the city\n"),
        ("conditions:", "approvals:"),
        ("conditions:\n", "contacts: [boss]\nconditions:\n"),
        ("conditions:\n", "review_days_max: soon\nconditions:\n"),
        ("conditions:\n", "approvals:\n  - duty: condition\n    text: x\nconditions:\n"),
    ],
)
def test_a_profile_out_of_form_is_none(old: str, new: str) -> None:
    assert read_profile(OWN, where="x").name == "port_city"
    with pytest.raises(Invalid):
        read_profile(OWN.replace(old, new), where="x")


def test_a_fully_closed_birth_needs_nobody_outside(tmp_path: Path) -> None:
    house = House(tmp_path, profile="licensed")
    assert house.born().level is Level.FULLY_CLOSED
    assert house.standing().level is Level.FULLY_CLOSED
    with pytest.raises(NotInForce):
        house.register.in_force("sha256:other", house.clock.now_ms())
