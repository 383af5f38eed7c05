"""What the decision in force is, in the words that callers get."""

from __future__ import annotations

from dutchdoor.errors import NotInForce
from dutchdoor.gateway.ports import Decisions, InForce
from dutchdoor.ids import BundleDigest

__all__ = ["decision_in_force", "for_callers"]

# The register's codes are about one decision; a caller's error needs the noun.
_CODES = {
    "none_signed": "decision_missing",
    "revoked": "decision_revoked",
    "not_yet": "decision_not_yet",
    "expired": "decision_expired",
    "review_overdue": "decision_review_overdue",
    "decision_replaced": "decision_superseded",
    "rolled_back": "decision_rolled_back",
}


def decision_in_force(decisions: Decisions, bundle: str, now_ms: int) -> InForce:
    """The decision in force for `bundle`. Raises NotInForce: none is, in a caller's words."""
    try:
        return decisions.in_force(BundleDigest(bundle), now_ms)
    except NotInForce as error:
        raise for_callers(error) from error


def for_callers(error: NotInForce) -> NotInForce:
    """`error` with the code and the hint of an inference that it stops."""
    code = _CODES.get(error.code, error.code)
    hint = "nothing runs without a release decision in force; ask the holder of this server"
    return NotInForce(error.message, code=code, hint=hint)
