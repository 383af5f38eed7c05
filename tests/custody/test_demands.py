"""Custody that is not what was decided releases nothing, and the code says in what."""

from __future__ import annotations

from typing import Any

import pytest

from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.demands import check_custody, custody_demands
from dutchdoor.custody.shares import WrappedShare, WrappedShares
from dutchdoor.errors import Refused
from dutchdoor.evidence.terms import CustodyTerms
from dutchdoor.ids import BundleDigest


def shares(threshold: int, custodians: int) -> WrappedShares:
    rows: list[Any] = [WrappedShare.__new__(WrappedShare) for _ in range(custodians)]
    for number, row in enumerate(rows):
        object.__setattr__(row, "custodian", f"xwing:{number:016x}")
    return WrappedShares(BundleDigest("sha256:" + "a" * 64), "c" * 64, threshold, tuple(rows))


def test_terms_that_ask_for_nothing_are_met_by_anything() -> None:
    assert custody_demands(CustodyTerms(), shares(1, 1), None) == ()


@pytest.mark.parametrize(
    ("terms", "copies", "code"),
    [
        (CustodyTerms(shares_min=3), 1, "custody_shares"),
        (CustodyTerms(custodians_min=4), 1, "custody_custodians"),
        (CustodyTerms(copies_max=2), 3, "custody_copies"),
        (CustodyTerms(copies_max=2), None, "custody_copies"),
        (CustodyTerms(grade="tpm"), 1, "custody_grade"),
        (CustodyTerms(grade="tee"), 1, "custody_grade"),
        (CustodyTerms(grade="Software"), 1, "custody_grade"),
    ],
)
def test_less_than_was_decided_is_refused(
    terms: CustodyTerms, copies: int | None, code: str
) -> None:
    with pytest.raises(Refused) as caught:
        check_custody(terms, shares(2, 3), copies)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("demanded", "shown", "met"),
    [
        ("software", Grade.SOFTWARE, True),
        ("software", Grade.TPM, True),
        ("tpm", Grade.SOFTWARE, False),
        ("tpm", Grade.TPM, True),
        ("tpm", Grade.TEE, True),
        ("tee", Grade.TPM, False),
        ("tee", Grade.TEE, True),
        ("steel", Grade.TEE, False),
        ("tpm", None, True),
        ("steel", None, False),
    ],
)
def test_a_higher_grade_meets_a_lower_demand_and_none_an_unknown_one(
    demanded: str, shown: Grade | None, *, met: bool
) -> None:
    (row,) = custody_demands(CustodyTerms(grade=demanded), shares(2, 3), 1, shown)
    assert (row.met, row.code) == (met, "custody_grade")


def test_one_custodian_named_twice_counts_once() -> None:
    found = shares(2, 3)
    twice = WrappedShares(
        found.bundle, found.commitment, 2, (found.shares[0], found.shares[0], found.shares[1])
    )
    with pytest.raises(Refused):
        check_custody(CustodyTerms(custodians_min=3), twice, 1)


def test_as_much_as_was_decided_is_enough() -> None:
    terms = CustodyTerms(shares_min=2, custodians_min=3, copies_max=2, grade="software")
    check_custody(terms, shares(2, 3), 2)
    assert all(row.met for row in custody_demands(terms, shares(2, 3), 2))
