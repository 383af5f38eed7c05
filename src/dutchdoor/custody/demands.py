"""What a decision demands of custody, held against what custody is."""

from __future__ import annotations

from typing import NamedTuple

from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import Refused
from dutchdoor.evidence.terms import CustodyTerms

__all__ = ["Demand", "check_custody", "custody_demands"]


class Demand(NamedTuple):
    """One thing demanded. code: of the refusal where it is not met."""

    what: str
    decided: str
    found: str
    met: bool
    code: str


def custody_demands(
    terms: CustodyTerms,
    shares: WrappedShares,
    copies: int | None,
    grade: Grade | None = Grade.SOFTWARE,
) -> tuple[Demand, ...]:
    """What `terms` demand of the custody of one bundle; terms that ask for nothing give none.

    copies: how many copies of the bundle are known; None where nobody counted them. grade: what was
    verified of the host that asks; None where no host asks now.
    """
    rows = []
    if terms.shares_min:
        rows.append(
            _at_least("shares of one opening", terms.shares_min, shares.threshold, "shares")
        )
    if terms.custodians_min:
        have = len({share.custodian for share in shares.shares})
        rows.append(_at_least("custodians", terms.custodians_min, have, "custodians"))
    if terms.copies_max:
        # Copies that nobody counted could be any number: what cannot be known is not met.
        known = "nobody counts them" if copies is None else str(copies)
        met = copies is not None and copies <= terms.copies_max
        decided = f"at most {terms.copies_max}"
        rows.append(Demand("copies known", decided, known, met, "custody_copies"))
    if terms.grade:
        # Where nobody asks there is nothing to verify: each opening shows it anew.
        known = "shown at each opening" if grade is None else str(grade)
        met = (grade or Grade.TEE).meets(terms.grade)
        rows.append(Demand("the host's grade", terms.grade, known, met, "custody_grade"))
    return tuple(rows)


def check_custody(
    terms: CustodyTerms,
    shares: WrappedShares,
    copies: int | None,
    grade: Grade | None = Grade.SOFTWARE,
) -> None:
    """Raises Refused where custody is not what `terms` demand; the code says in what.

    grade: what the custodian itself verified of the host that asks; None where none asks now.
    """
    for row in custody_demands(terms, shares, copies, grade):
        if not row.met:
            message = f"the decision demands {row.what}: {row.decided}; there is: {row.found}"
            hint = "bring custody to what was decided, or decide anew: dutchdoor release diff"
            raise Refused(message, code=row.code, hint=hint)


def _at_least(what: str, least: int, have: int, name: str) -> Demand:
    return Demand(what, f"at least {least}", str(have), have >= least, f"custody_{name}")
