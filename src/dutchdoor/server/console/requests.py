"""A browser's request, looked at with distrust, and what it gets back.

Another page in the same browser must not speak for its user: the cookie is SameSite=Strict, a form
carries its session's token, the origin must be ours, and so must the name by which we were reached
(else a foreign name that resolves to this machine would be our own origin).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from dutchdoor.audit.document import DOCUMENT_BYTES_MAX
from dutchdoor.errors import Invalid, Refused
from dutchdoor.server.http import Scope

__all__ = ["BODY_BYTES_MAX", "COOKIE", "Answer", "Request", "redirect", "set_cookie"]

COOKIE = "dutchdoor_console"
BODY_BYTES_MAX = 3 * DOCUMENT_BYTES_MAX + 65_536
"""A document, each of whose bytes may be written as three."""
FIELDS_MAX = 8
_POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
HEADERS = (
    ("content-security-policy", _POLICY),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    # Not no-referrer: a form's origin would then be sent as null, and could not be checked.
    ("referrer-policy", "same-origin"),
)


@dataclass(frozen=True)
class Request:
    """What came in. form: the fields of a POST."""

    method: str
    path: str
    headers: Mapping[str, str]
    token: str
    form: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope, body: bytes) -> Request:
        """Raises Invalid: the form is not one of ours."""
        headers = {
            bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
            for name, value in scope["headers"]
        }
        method = str(scope["method"])
        form = _form(headers, body) if method == "POST" else {}
        return cls(method, str(scope["path"]), headers, _token(headers), form)

    def must_be_ours(self, hosts: frozenset[str]) -> None:
        """Raises Refused: it was not sent to us by name, or another page sent it."""
        host = self.headers.get("host", "")
        if host not in hosts:
            message = "the console answers on this machine alone, by its own names"
            hint = "open http://" + min(hosts)
            raise Refused(message, code="wrong_host", hint=hint)
        if self.method != "POST":
            return
        site = self.headers.get("sec-fetch-site", "same-origin")
        if self.headers.get("origin", "") != f"http://{host}" or site != "same-origin":
            message = "another page sent this form"
            hint = "open the page here and send it again"
            raise Refused(message, code="foreign_origin", hint=hint)


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    status: int
    data: bytes
    kind: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """With those that every page has."""
        return (*HEADERS, *self.headers)


def redirect(path: str, *headers: tuple[str, str]) -> Answer:
    """To another page, which is then asked with GET."""
    return Answer(303, b"", headers=(("location", path), *headers))


def set_cookie(token: str, age_s: int) -> tuple[str, str]:
    """The header that keeps a session; an age of 0 ends it.

    Not Secure: the console speaks HTTP to this machine alone.
    """
    value = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age_s}"
    return ("set-cookie", value)


def _token(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _form(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind != "application/x-www-form-urlencoded":
            raise Invalid("this is no form", code="bad_form")
        rows = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError as error:
        raise Invalid("the form cannot be read", code="bad_form") from error
    found = dict(rows)
    if len(found) != len(rows):
        raise Invalid("a field of the form is there twice", code="bad_form")
    return {name: text.replace("\r\n", "\n") for name, text in found.items()}
