"""Every difference between decision and running system is a row of its own, with a code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.terms import CustodyTerms, RuntimeTerms, Terms
from dutchdoor.ids import BundleDigest, DecisionId
from dutchdoor.release.compile import compile_policies
from dutchdoor.release.enforcement.compare import (
    Seen,
    check_rows,
    compare,
    days_to_leave,
    policies_differ,
)
from dutchdoor.runtime.protocol import PROTOCOL_VERSION, Description
from tests.custody.test_demands import shares
from tests.release.parts import Workspace

RUNTIME = RuntimeTerms(egress_bytes_day_max=5_000, hardening=("landlock", "no_core"), tools=False)
CUSTODY = CustodyTerms(shares_min=2, custodians_min=3, copies_max=2, grade="software")


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    born = Workspace(tmp_path).born()
    return replace(born, terms=Terms(custody=CUSTODY, runtime=RUNTIME))


def running(decision: Decision) -> Description:
    return Description(
        id="d",
        version=PROTOCOL_VERSION,
        bundle=decision.bundle,
        model=decision.model,
        layers=2,
        hidden=64,
        vocabulary=100,
        context=128,
        taps=[],
        hardening=["no_core", "not_dumpable", "landlock"],
        probe=decision.guard.probe,
        egress_bytes_day_max=5_000,
    )


def seen(decision: Decision) -> Seen:
    return Seen(
        policies=compile_policies([decision]),
        shares=shares(2, 3),
        copies=2,
        opened_under=decision.id,
        runtime=running(decision),
    )


def codes(decision: Decision, found: Seen) -> list[str]:
    return [row.code for row in compare(decision, found) if not row.same]


def test_what_runs_as_decided_differs_in_nothing(decision: Decision) -> None:
    assert codes(decision, seen(decision)) == []
    check_rows(compare(decision, seen(decision)))
    assert len({row.what for row in compare(decision, seen(decision))}) == 12


def test_nothing_running_differs_from_nothing(decision: Decision) -> None:
    closed = replace(seen(decision), opened_under="", runtime=None)
    assert codes(decision, closed) == []


def test_each_difference_has_its_own_code(decision: Decision) -> None:
    good, runs = seen(decision), running(decision)

    def changed(**fields: object) -> Seen:
        return replace(good, runtime=msgspec.structs.replace(runs, **fields))

    assert codes(decision, replace(good, policies=None)) == ["policies_differ"]
    assert codes(decision, replace(good, shares=None)) == ["custody_unreadable"]
    assert codes(decision, replace(good, shares=shares(1, 3))) == ["custody_shares"]
    assert codes(decision, replace(good, shares=shares(2, 2))) == ["custody_custodians"]
    assert codes(decision, replace(good, copies=3)) == ["custody_copies"]
    assert codes(decision, replace(good, copies=None)) == ["custody_copies"]
    assert codes(decision, replace(good, opened_under="decision_old")) == ["decision_differs"]
    assert codes(decision, changed(bundle="sha256:" + "9" * 64)) == ["other_bundle"]
    assert codes(decision, changed(hardening=["no_core"])) == ["runtime_not_hardened"]
    assert codes(decision, changed(egress_bytes_day_max=0)) == ["egress_differs"]
    assert codes(decision, changed(egress_bytes_day_max=6_000)) == ["egress_differs"]
    with pytest.raises(Unavailable) as caught:
        check_rows(compare(decision, changed(hardening=[])))
    assert caught.value.code == "runtime_not_hardened"


def test_a_decided_probe_must_be_there_and_where_none_is_an_audit_may_fit_one(
    decision: Decision,
) -> None:
    def holding(wanted: str, held: str) -> list[str]:
        decided = replace(decision, guard=replace(decision.guard, probe=wanted))
        found = seen(decided)
        description = msgspec.structs.replace(running(decided), probe=held)
        return codes(decided, replace(found, runtime=description))

    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert holding(one, one) == []
    assert holding(one, other) == ["guard_mismatch"]
    assert holding(one, "") == ["guard_mismatch"]
    # At birth no probe is decided: the audit fits the first, and goes on being served.
    assert holding("", one) == []


def test_no_edit_of_the_rules_goes_unseen(decision: Decision) -> None:
    text = compile_policies([decision])
    assert policies_differ(text, decision) == ""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.strip() and not line.startswith("//"):
            assert policies_differ("".join(lines[:number] + lines[number + 1 :]), decision)
    for more in ("permit (principal, action, resource);", text, "// a remark"):
        assert policies_differ(text + more + "\n", decision)
    assert policies_differ("/*" + text + "*/", decision), "rules that are only a remark"
    assert policies_differ(compile_policies([]), decision)


def test_rules_from_before_a_roll_back_are_still_those_of_the_decision(
    decision: Decision,
) -> None:
    """A stage that fell back by itself leaves nobody the time to write a file."""
    narrower = replace(decision, stage="0: the earlier one")
    text = compile_policies([decision])
    assert policies_differ(text, narrower)
    assert policies_differ(text, narrower, forms=[decision]) == ""
    assert policies_differ(text + "permit (principal, action, resource);", narrower, (), [decision])


def test_rules_of_other_bundles_may_stand_there_and_unknown_ones_may_not(
    decision: Decision,
) -> None:
    other = replace(
        decision, bundle=BundleDigest("sha256:" + "7" * 64), id=DecisionId("decision_other")
    )
    text = compile_policies([decision, other])
    assert policies_differ(text, decision, [other]) == ""
    assert policies_differ(text, decision)


def test_days_that_carrying_the_weights_out_takes_are_rounded_up() -> None:
    assert days_to_leave(10_001, 5_000) == 3
    assert days_to_leave(10_001, 0) == 0
