"""Who signs is who people.yaml names, in their role, under their lease; nobody also decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from docs.examples.sign import APPROVER, AUDITOR, EXAMPLE, HOLDER
from dutchdoor.audit.document import write_yaml
from dutchdoor.audit.folder import AuditFolder, missing_roles
from dutchdoor.audit.notes import add_dissent, add_interview
from dutchdoor.audit.people import (
    PEOPLE_NAME,
    Member,
    People,
    Role,
    load_people,
    must_decide,
    write_people,
)
from dutchdoor.audit.service import Audit
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.statement import key_id
from tests.audit.documents.parts import K, Whole

A, H, D = (key_id(key.public_key) for key in (AUDITOR, HOLDER, APPROVER))


def member(name: str, *roles: Role, **ids: str) -> Member:
    return Member(name, frozenset(roles), **ids)


ADA = member("Ada", Role.AUDITOR, key=A, person="person_a")
MAX = member("Max", Role.MAKER, key=H)
INES = member("Ines", Role.DECIDER, key=D)
EXT = member("Ext", Role.EXTERNAL_AUDITOR, key=A, person="person_e", grant="grant_e")


class Leases:
    """Grants as a table: what is not in it does not hold."""

    def __init__(self, *held: tuple[str, str]) -> None:
        self.held = set(held)

    def refusal(self, grant: str, person: str, bundle: str) -> str | None:
        return None if (grant, person) in self.held else "it has ended"


def named(tmp_path: Path, *members: Member) -> Whole:
    whole = Whole(tmp_path)
    write_people(whole.audit.path, People(members))
    return whole


def refused(whole: Whole, kind: K) -> str:
    with pytest.raises(DutchdoorError) as caught:
        whole.sign(kind)
    return caught.value.code


def test_a_second_signer_is_recorded_with_name_and_key(tmp_path: Path) -> None:
    whole = named(tmp_path, ADA, MAX, INES)
    whole.change(K.M2, effort_minutes=5)
    whole.sign(K.M2)
    row = whole.folder.signatures(whole.audit.subject, whole.trust)[K.M2]
    assert (row.signer, row.person, row.key) == ("auditor-1", "Ada", A)
    assert (row.second, row.second_person, row.second_key) == ("holder", "Max", H)
    assert row.second_ms > row.time_ms
    assert "signed by Ada (auditor-1) and Max (holder)" in whole.because(K.M2)
    people = load_people(whole.audit.path)
    assert people is not None
    assert row.people == people.digest


def test_the_second_signer_cannot_be_the_first_nor_of_the_first_role(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.change(K.M2, effort_minutes=5)
    whole.audit.sign(AUDITOR, [K.M2])
    with pytest.raises(Refused):
        whole.audit.sign(AUDITOR, [K.M2])
    with pytest.raises(Refused) as caught:
        whole.audit.sign(APPROVER, [K.M2])
    assert "may not sign M2 now; the holder signs next" in caught.value.message
    assert "waits for the holder" in whole.because(K.M2)


def test_one_key_in_two_roles_never_counts_for_both(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    row = whole.folder.signatures(whole.audit.subject, whole.trust)[K.M2]
    both = replace(whole.trust, holder=dict(whole.trust.auditors))
    alone = replace(row, keys=(A,))
    assert missing_roles(alone, whole.audit.subject, both) == ("the holder",)


@pytest.mark.parametrize("change", ["bytes", "other_document", "other_signer"])
def test_a_changed_second_name_is_noticed(tmp_path: Path, change: str) -> None:
    whole = Whole(tmp_path)
    path = whole.audit.path / "signatures" / "M2-001.second.json"
    other = whole.audit.path / "signatures" / "M5-001.second.json"
    first = whole.audit.path / "signatures" / "M2-001.json"
    data = {
        "bytes": path.read_bytes().replace(b'"payload":"', b'"payload":"A'),
        "other_document": other.read_bytes(),
        "other_signer": first.read_bytes(),
    }[change]
    path.write_bytes(data)
    with pytest.raises(Tampered):
        whole.audit.status()


def test_who_is_not_named_does_not_sign(tmp_path: Path) -> None:
    whole = named(tmp_path, MAX, INES)
    whole.change(K.S2, effort_minutes=5)
    assert refused(whole, K.S2) == "not_in_role"
    assert (whole.state(K.S2)) == "changed"


def test_who_is_named_signs_in_their_role_alone(tmp_path: Path) -> None:
    # The key is an auditor's by trust.json; the file says that its owner makes.
    whole = named(tmp_path, replace(ADA, roles=frozenset({Role.MAKER})), INES)
    whole.change(K.S2, effort_minutes=5)
    assert refused(whole, K.S2) == "not_in_role"
    with pytest.raises(Refused):
        named(tmp_path / "b", MAX).audit.complete(AUDITOR, _never)


def _never(_: Any) -> Any:
    raise AssertionError("nothing may be recorded")


def test_taking_people_yaml_away_stops_the_audit(tmp_path: Path) -> None:
    whole = named(tmp_path, ADA, MAX, INES)
    whole.change(K.S2, effort_minutes=5)
    whole.sign(K.S2)
    (whole.audit.path / PEOPLE_NAME).unlink()
    whole.change(K.S3, effort_minutes=5)
    assert refused(whole, K.S3) == "people_missing"


def test_an_external_auditor_signs_only_under_a_lease_that_holds(tmp_path: Path) -> None:
    whole = named(tmp_path, EXT, MAX, INES)
    whole.change(K.S2, effort_minutes=5)
    # Nobody is there who could say whether a lease holds.
    assert refused(whole, K.S2) == "lease_ended"
    leases = Leases(("grant_other", "person_e"))
    whole.audit = Audit(whole.audit.path, whole.trust, whole.clock, leases)
    assert refused(whole, K.S2) == "lease_ended"
    leases.held.add(("grant_e", "person_e"))
    whole.sign(K.S2)
    assert whole.state(K.S2) == "signed"


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "Ada", "roles": ["auditor", "decider"]}],
        [{"name": "Ada", "roles": ["auditor", "maker"]}],
        [{"name": "Ada", "roles": ["king"]}],
        [{"name": "Ada", "roles": []}],
        [{"name": "Ada", "roles": "auditor"}],
        [{"name": " ", "roles": ["auditor"]}],
        [{"name": "Ada"}],
        [{"name": "Ada", "roles": ["auditor"], "power": "all"}],
        [{"name": "Ada", "roles": ["auditor"]}, {"name": "ada", "roles": ["decider"]}],
        [
            {"name": "Ada", "roles": ["auditor"], "key": "k"},
            {"name": "Bo", "roles": ["decider"], "key": "k"},
        ],
        [
            {"name": "Ada", "roles": ["auditor"], "person": "p"},
            {"name": "Bo", "roles": ["decider"], "person": "p"},
        ],
        [{"name": "Ext", "roles": ["external_auditor"]}],
        ["Ada"],
        "Ada",
    ],
)
def test_people_out_of_form_or_in_two_roles_are_nobody(tmp_path: Path, rows: Any) -> None:
    whole = Whole(tmp_path)
    write_yaml(whole.audit.path / PEOPLE_NAME, {"people": rows})
    whole.change(K.S2, effort_minutes=5)
    with pytest.raises((Invalid, Refused)) as caught:
        whole.sign(K.S2)
    assert caught.value.code in {"bad_people", "duties_not_separate"}


def test_who_audits_here_and_decides_on_the_same_bundle_elsewhere_signs_nothing(
    tmp_path: Path,
) -> None:
    whole = named(tmp_path, ADA, MAX, INES)
    other = whole.audit.path.parent / "audit_other"
    other.mkdir()
    subject = AuditFolder(whole.audit.path).subject()
    write_yaml(other / "audit.yaml", replace(subject, audit="audit_other").to_value())
    write_people(other, People((member("Somebody", Role.DECIDER, key=A),)))
    whole.change(K.S2, effort_minutes=5)
    assert refused(whole, K.S2) == "duties_not_separate"
    elsewhere = replace(subject, audit="audit_other", bundle="sha256:" + "f" * 64)
    write_yaml(other / "audit.yaml", elsewhere.to_value())
    whole.sign(K.S2)


def test_an_auditor_of_the_bundle_never_decides_on_it(tmp_path: Path) -> None:
    whole = named(tmp_path, ADA, MAX)
    audits, bundle, name = whole.audit.path.parent, whole.audit.subject.bundle, EXAMPLE.name
    must_decide(audits, bundle, name, [D], [D])
    with pytest.raises(Refused):
        must_decide(audits, bundle, name, [D, A], [D, A])
    must_decide(audits, "sha256:" + "f" * 64, name, [A], [A])


def test_where_deciders_are_named_no_other_approver_decides(tmp_path: Path) -> None:
    whole = named(tmp_path, ADA, MAX, INES)
    audits, bundle, name = whole.audit.path.parent, whole.audit.subject.bundle, EXAMPLE.name
    must_decide(audits, bundle, name, [D, "outside"], [D])
    with pytest.raises(Refused) as caught:
        must_decide(audits, bundle, name, [D, "other"], [D, "other"])
    assert caught.value.code == "not_in_role"


def test_an_interview_leaves_its_digest_and_no_word(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    said = tmp_path / "transcript.txt"
    said.write_text("nobody reads the logs")
    digest = add_interview(whole.audit, "P2", "2026-11-24", said, consent=True)
    assert whole.folder.read(K.M4).front["interviews"][-1]["transcript"] == digest
    for path in whole.audit.path.rglob("*"):
        assert path.is_dir() or b"nobody reads the logs" not in path.read_bytes()
    whole.sign(K.M4)


def test_an_interview_that_may_not_be_noted_changes_nothing(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    before = whole.folder.digests()[K.M4]
    said = tmp_path / "transcript.txt"
    said.write_text("words")
    inside = whole.audit.path / "transcript.txt"
    inside.write_text("words")
    for stakeholder, day, path, consent, error in (
        ("P2", "2026-11-24", said, False, Refused),
        ("P99", "2026-11-24", said, True, NotFound),
        ("P2", "24.11.2026", said, True, Invalid),
        ("P2", "2026-11-24", tmp_path / "none", True, NotFound),
        ("P2", "2026-11-24", inside, True, Refused),
    ):
        with pytest.raises(error):
            add_interview(whole.audit, stakeholder, day, path, consent=consent)
    closed = Whole(tmp_path / "closed", completed=True)
    with pytest.raises(Refused):
        add_interview(closed.audit, "P2", "2026-11-24", said, consent=True)
    assert whole.folder.digests()[K.M4] == before


def test_dissent_reopens_the_document_and_stands_in_it(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    add_dissent(whole.audit, K.R2, "Mira", "the threshold", "It is too high.")
    assert whole.state(K.R2) == "changed"
    assert whole.folder.read(K.R2).front["dissent"][-1]["by"] == "Mira"
    with pytest.raises(Invalid):
        add_dissent(whole.audit, K.R2, "", "the threshold", "It is too high.")
