"""What was found out about callers and is still true: answers that need no second look.

Exact: a remembered answer is given only for the same question under the same directory and the
same rules, and not beyond the next moment at which a date in it could change the answer. A new
directory (its epoch says so) or another set of rules forgets everything.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from typing import NamedTuple

from dutchdoor.access.cedar import Policies
from dutchdoor.access.directory import Directory
from dutchdoor.access.model import AccessRequest, Allowed, Caller

__all__ = ["AtHand"]

ANSWERS_MAX = 16_384
SECRET_BYTES = 32
_Question = tuple[object, ...]


class _Answer(NamedTuple):
    """until_ms: from then on it has to be asked again."""

    allowed: Allowed
    until_ms: int


class _Known(NamedTuple):
    """All that was found out under one directory and one set of rules."""

    directory: Directory | None
    policies: Policies | None
    callers: dict[bytes, Caller]
    answers: dict[_Question, _Answer]


class AtHand:
    """Callers by their keys, and permissions by their questions. Safe to share between threads."""

    def __init__(self) -> None:
        # Keys are remembered by a hash under a secret that dies with the process, never in clear.
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._lock = threading.Lock()
        self._known = _Known(None, None, {}, {})

    def caller(self, directory: Directory, api_key: str) -> Caller | None:
        """Who holds `api_key` (unverified), where it was verified under `directory`."""
        known = self._known
        return known.callers.get(self._mark(api_key)) if directory is known.directory else None

    def keep_caller(self, directory: Directory, api_key: str, caller: Caller) -> None:
        """Remember that `api_key` was verified and is `caller`'s."""
        with self._lock:
            callers = self._under(directory, self._known.policies).callers
            if len(callers) >= ANSWERS_MAX:
                callers.clear()
            callers[self._mark(api_key)] = caller

    def allowed(
        self, directory: Directory, policies: Policies, request: AccessRequest, now_ms: int
    ) -> Allowed | None:
        """The permission that was given to the same `request`, where it still holds."""
        known = self._known
        if directory is not known.directory or policies is not known.policies:
            return None
        answer = known.answers.get(_question(request))
        return answer.allowed if answer is not None and now_ms < answer.until_ms else None

    def keep_allowed(
        self,
        directory: Directory,
        policies: Policies,
        request: AccessRequest,
        allowed: Allowed,
        now_ms: int,
    ) -> None:
        """Remember the permission, until a date of the key's or of a grant's has come."""
        key = directory.keys.get(request.caller.key)
        dates = [] if key is None or key.not_after_ms is None else [key.not_after_ms]
        for grant in directory.grants_of.get((request.caller.person.id, request.bundle), ()):
            dates += [grant.not_before_ms, grant.not_after_ms]
        until_ms = min((date for date in dates if date > now_ms), default=now_ms)
        with self._lock:
            answers = self._under(directory, policies).answers
            if len(answers) >= ANSWERS_MAX:
                answers.clear()
            answers[_question(request)] = _Answer(allowed, until_ms)

    def _under(self, directory: Directory, policies: Policies | None) -> _Known:
        """What is known under these; nothing yet where they are others than before.

        Replaced as one, so that whoever looks meanwhile sees the old or the new, never a mix.
        """
        known = self._known
        if directory is not known.directory:
            self._known = _Known(directory, policies, {}, {})
        elif policies is not known.policies:
            self._known = _Known(directory, policies, known.callers, {})
        return self._known

    def _mark(self, api_key: str) -> bytes:
        data = api_key.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._secret).digest()


def _question(request: AccessRequest) -> _Question:
    """All that a decision looks at besides the directory, the rules and the time."""
    return (
        request.caller.person.id,
        request.caller.key,
        request.action,
        request.bundle,
        request.level,
        request.stage,
        request.depths,
        request.audience_depths,
        request.tools,
    )
