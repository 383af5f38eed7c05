"""Every error that dutchdoor raises on purpose, by whose side failed.

    DutchdoorError
    ├── Refused          the rules say no: nothing is broken, and asking again will not help
    │   └── NotInForce   there is no release decision in force that allows this
    ├── Invalid          what was given does not verify, does not parse, or is out of bounds
    │   ├── Tampered     it was right once and somebody or something changed it
    │   └── NotFound     it names something that does not exist here
    └── Unavailable      something we need is down or full: we stop, closed

Our own mistakes are assertions, not these. Each error has a stable `code` for programs, a message
for people, and `diagnostics()`: what to do next.
"""

from __future__ import annotations

__all__ = [
    "DutchdoorError",
    "Invalid",
    "NotFound",
    "NotInForce",
    "Refused",
    "Tampered",
    "Unavailable",
]


class DutchdoorError(Exception):
    """An error with a stable code, a message for people, and what to do next.

    code: lower case words joined by `_`, never changed once published.
    hint: one sentence that says what to do next; never holds a secret.
    """

    family = "error"

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint

    @property
    def message(self) -> str:
        """What happened, as one sentence for a person."""
        return str(self.args[0])

    def diagnostics(self) -> str:
        """What to do next, or an empty string where nothing useful can be said."""
        return self.hint


class Refused(DutchdoorError):
    """The rules say no."""

    family = "refused"


class NotInForce(Refused):
    """No release decision in force allows this."""


class Invalid(DutchdoorError):
    """What was given does not verify, does not parse, or is out of bounds."""

    family = "invalid"


class Tampered(Invalid):
    """Something that was right once has been changed.

    where: the place of the change, as exactly as it is known (file and byte, or entry index).
    """

    def __init__(self, message: str, *, code: str, hint: str = "", where: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.where = where


class NotFound(Invalid):
    """It names something that does not exist here."""


class Unavailable(DutchdoorError):
    """Something we need is down, full, or late: we stop, closed."""

    family = "unavailable"
