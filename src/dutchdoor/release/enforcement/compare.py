"""What a decision says, what runs, and whether that is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dutchdoor.custody.demands import custody_demands
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.release.compile import HEADER, bundle_rules
from dutchdoor.runtime.protocol import Description

__all__ = ["Row", "Seen", "check_rows", "compare", "days_to_leave", "policies_differ"]

NOTHING = "nothing runs"
_EMPTY = "// No decision is in force: there is nothing to narrow, and nothing is open."


@dataclass(frozen=True)
class Row:
    """One thing decided. decided, runs: in words. code: of the refusal where they differ."""

    what: str
    decided: str
    runs: str
    same: bool
    code: str


@dataclass(frozen=True)
class Seen:
    """What there is to compare with.

    policies: the text of decision.cedar, None where there is none. forms: the decision as it was
    signed, where it stands in an earlier stage by now: the file may be from before that. others:
    decisions whose rules may stand in that file besides. shares: of the bundle, None where they
    cannot be read. copies: known, None where nobody could count. opened_under: the decision that
    the supervisor says the runtime was opened under, "" while it is closed, None where nothing
    runs or nobody asked. runtime: what it says of itself, None where it is closed or nobody asked.
    """

    policies: str | None
    forms: tuple[Decision, ...] = ()
    others: tuple[Decision, ...] = ()
    shares: WrappedShares | None = None
    copies: int | None = None
    opened_under: str | None = None
    runtime: Description | None = None


def compare(decision: Decision, seen: Seen) -> tuple[Row, ...]:
    """Every row, those that are the same too, in a fixed order."""
    rows = [_policies(decision, seen), *_custody(decision, seen)]
    if seen.opened_under is not None:
        runs = seen.opened_under or NOTHING
        same = seen.opened_under in {"", decision.id}
        rows.append(Row("decision obeyed", decision.id, runs, same, "decision_differs"))
    return (*rows, *_runtime(decision, seen.runtime))


def check_rows(rows: Iterable[Row]) -> None:
    """Raises Unavailable with the code of the first row that differs, where one does."""
    different = [row for row in rows if not row.same]
    if different:
        first = different[0]
        message = f"what runs is not what was decided: {first.what}"
        hint = "the operator sees all of it with 'dutchdoor release diff'"
        raise Unavailable(message, code=first.code, hint=hint)


def policies_differ(
    text: str | None,
    decision: Decision,
    others: Iterable[Decision] = (),
    forms: Iterable[Decision] = (),
) -> str:
    """What is wrong with decision.cedar for `decision`, in words; "" where nothing is.

    It holds the rules of `decision` or of one of its `forms`, word for word, and nothing else but
    the rules of `others`.
    """
    if text is None:
        return "there is no decision.cedar"
    own = {rules for form in (decision, *forms) if text.count(rules := bundle_rules(form)) == 1}
    if not own:
        return "the rules of this decision are not those in decision.cedar"
    rest = text.replace(max(own, key=len), "", 1)
    for known in (*(bundle_rules(other) for other in others), HEADER, _EMPTY):
        rest = rest.replace(known, "")
    return "decision.cedar holds something that no decision says" if rest.strip() else ""


def days_to_leave(weights_bytes: int, bytes_day_max: int) -> int:
    """Days in which so many bytes can leave under a daily limit, rounded up; 0 for no limit."""
    return -(-weights_bytes // bytes_day_max) if bytes_day_max else 0


def _policies(decision: Decision, seen: Seen) -> Row:
    problem = policies_differ(seen.policies, decision, seen.others, seen.forms)
    runs = problem or "the same"
    return Row("rules in decision.cedar", "as compiled", runs, not problem, "policies_differ")


def _custody(decision: Decision, seen: Seen) -> Sequence[Row]:
    terms = decision.terms.custody
    if seen.shares is None:
        return [Row("custody", "readable", "cannot be read", same=False, code="custody_unreadable")]
    return [Row(*demand) for demand in custody_demands(terms, seen.shares, seen.copies, None)]


def _runtime(decision: Decision, runtime: Description | None) -> Sequence[Row]:
    terms = decision.terms.runtime
    rows = [
        _said("bundle", decision.bundle, runtime.bundle if runtime else None, "other_bundle"),
        _guard(decision.guard.probe, runtime),
    ]
    for name in terms.hardening:
        have = None if runtime is None else ("on" if name in runtime.hardening else "off")
        rows.append(_said(f"hardening {name}", "on", have, "runtime_not_hardened"))
    most = terms.egress_bytes_day_max
    found = None if runtime is None else _egress(runtime.egress_bytes_day_max)
    rows.append(_said("bytes leaving a day", _egress(most), found, "egress_differs"))
    words = "may be asked for" if terms.tools else "refused"
    # The gateway asks the decision at each request: there is no setting that could say otherwise.
    rows.append(Row("tool calls", words, words, same=True, code="tools_forbidden"))
    return rows


def _guard(probe: str, runtime: Description | None) -> Row:
    """Where none is decided, one that the audit fitted inside may be there: it only stops more."""
    found = None if runtime is None else runtime.probe or "none"
    if not probe and found is not None:
        return Row("probe", "none is asked for", found, same=True, code="guard_mismatch")
    return _said("probe", probe or "none is asked for", found, "guard_mismatch")


def _egress(most: int) -> str:
    return f"at most {most}" if most else "no limit"


def _said(what: str, decided: str, runs: str | None, code: str) -> Row:
    if runs is None:
        return Row(what, decided, NOTHING, same=True, code=code)
    return Row(what, decided, runs, runs == decided, code)
