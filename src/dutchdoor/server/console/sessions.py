"""Who is logged in to the console: in this process's memory alone, for a while.

A session is a random token in a cookie. Only the token's digest is kept here, and of the API key
only its public id: what the key opens is asked anew for each request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from dutchdoor.access.model import Caller
from dutchdoor.clock import Clock
from dutchdoor.errors import Refused

__all__ = ["SESSION_MS_MAX", "Session", "Sessions"]

SESSION_MS_MAX = 4 * 3_600_000
IDLE_MS_MAX = 3_600_000
SESSIONS_MAX = 100
TOKEN_BYTES = 32


@dataclass(frozen=True)
class Session:
    """Somebody logged in. csrf: what each of their forms must send back."""

    caller: Caller
    csrf: str
    began_ms: int
    seen_ms: int

    def must_be_of_form(self, token: str) -> None:
        """Raises Refused: the form was not made for this session."""
        if not hmac.compare_digest(token.encode(), self.csrf.encode()):
            message = "the form does not belong to this session"
            hint = "open the page again; your text is still in the other one"
            raise Refused(message, code="wrong_form", hint=hint)


class Sessions:
    """Every session, by the digest of its token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def begin(self, caller: Caller) -> str:
        """A new session; its token, for the cookie. The oldest goes where there are too many."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now_ms = self._clock.now_ms()
        fresh = Session(caller, secrets.token_urlsafe(TOKEN_BYTES), now_ms, now_ms)
        with self._lock:
            self._forget_old(now_ms)
            while len(self._open) >= SESSIONS_MAX:
                self._open.pop(min(self._open, key=lambda name: self._open[name].seen_ms))
            self._open[_digest(token)] = fresh
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token (unverified), None where there is none any more."""
        now_ms = self._clock.now_ms()
        with self._lock:
            self._forget_old(now_ms)
            name = _digest(token)
            found = self._open.get(name)
            if found is not None:
                seen = Session(found.caller, found.csrf, found.began_ms, now_ms)
                self._open[name] = seen
            return found

    def end(self, token: str) -> None:
        """Forget the session."""
        with self._lock:
            self._open.pop(_digest(token), None)

    def _forget_old(self, now_ms: int) -> None:
        for name, row in list(self._open.items()):
            if now_ms - row.began_ms >= SESSION_MS_MAX or now_ms - row.seen_ms >= IDLE_MS_MAX:
                del self._open[name]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
