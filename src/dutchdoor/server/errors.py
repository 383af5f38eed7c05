"""Every error in OpenAI's shape, with a stable code and what to do next.

    {"error": {"message", "type", "param", "code",
               "dutchdoor": {"rule", "hint", "missing", "inference"}}}

A refusal of the guard's has no rule: that is for the record.

`docs/reference/errors.md` lists the codes; a test holds it to the source.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.gateway.model import Stopped, stopped

__all__ = ["BadRequest", "Problem", "problem_of"]


class BadRequest(Invalid):
    """A request that cannot be understood. param: the field that is wrong, "" for the whole.

    hint: where there is none of its own, the place that says what the field takes.
    """

    def __init__(self, message: str, *, code: str, param: str = "", hint: str = "") -> None:
        what = f"what '{param}' takes" if param else "what this path takes"
        super().__init__(message, code=code, hint=hint or f"GET /openapi.json says {what}")
        self.param = param


class Problem(NamedTuple):
    """An HTTP answer that says no. retry_after_s: when to ask again, 0 for not by itself."""

    status: int
    body: dict[str, Any]
    retry_after_s: int

    def data(self) -> bytes:
        """The body's bytes."""
        return msgspec.json.encode(self.body)


_UNAUTHENTICATED = {"missing_api_key", "invalid_api_key", "key_revoked", "key_expired"}
_BUSY = {"too_many_at_once", "gateway_busy"}
_SPENT = {
    "egress_exhausted",
    "budget_requests",
    "budget_tokens",
    "budget_vectors",
    "vectors_exhausted",
}
_STATUS_OF_CODE = {
    "body_too_large": 413,
    "body_too_slow": 408,
    "internal_error": 500,
    "content_filter": 400,  # As tools know it: a bad request with this code is a guard's refusal.
    "method_not_allowed": 405,
}
_STATUS_OF_FAMILY = {"refused": 403, "invalid": 400, "not_found": 404, "unavailable": 503}
_TYPE_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


def problem_of(failure: DutchdoorError | Stopped) -> Problem:
    """How `failure` is told to the caller."""
    end = failure if isinstance(failure, Stopped) else stopped(failure)
    status = _status(end)
    kind = "insufficient_quota" if end.code in _SPENT else _TYPE_OF_STATUS[status]
    error = {
        "message": end.message,
        "type": kind,
        "param": getattr(failure, "param", "") or None,
        "code": end.code,
        "dutchdoor": {
            "rule": end.rule,
            "hint": end.hint,
            "missing": list(end.missing),
            "inference": end.inference,
        },
    }
    retry = 1 if status == 503 or end.code in _BUSY else 0
    return Problem(status, {"error": error}, retry)


def _status(end: Stopped) -> int:
    if end.code in _UNAUTHENTICATED:
        return 401
    if end.code in _SPENT or end.code in _BUSY:
        return 429
    return _STATUS_OF_CODE.get(end.code) or _STATUS_OF_FAMILY.get(end.family, 500)
