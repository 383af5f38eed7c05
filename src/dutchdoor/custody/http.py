"""One HTTP request to one address: no proxy, no redirect, no more bytes than asked for."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from dutchdoor.errors import Invalid, Unavailable

__all__ = ["Answer", "call", "check_url"]

ANSWER_S_MAX = 10.0
URL_CHARACTERS_MAX = 512


class Answer(NamedTuple):
    """Status and body of an answer; both are whatever is at that address."""

    status: int
    body: bytes


def check_url(url: str) -> str:
    """`url` without a slash at its end, where it may be called: https, or http on this machine.

    Raises Invalid: it may not; http to other machines could be read and answered by anybody.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad_url() from error
    odd = parts.username or parts.query or parts.fragment or not url.isascii()
    if not host or odd or not url.isprintable() or " " in url or len(url) > URL_CHARACTERS_MAX:
        raise _bad_url()
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise _bad_url()
    return url.rstrip("/")


def call(
    method: str,
    url: str,
    path: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str],
    bytes_max: int,
) -> Answer:
    """The answer of `url` (checked by `check_url`) to one request.

    Raises Unavailable: nobody answers in time, or with more than `bytes_max`.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None, "the address was checked"
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=ANSWER_S_MAX, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_S_MAX)
    try:
        connection.request(method, parts.path + path, body or None, dict(headers))
        response = connection.getresponse()
        data = response.read(bytes_max + 1)
    except (OSError, http.client.HTTPException) as error:
        hint = "check the address, and that something listens there"
        raise Unavailable(f"{url} does not answer", code="no_answer", hint=hint) from error
    finally:
        connection.close()
    if len(data) > bytes_max:
        raise Unavailable(f"{url} answers too much", code="no_answer", hint="is it the right one?")
    return Answer(response.status, data)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bad_url() -> Invalid:
    hint = "write https://HOST:PORT; http is for an address of this machine, as 127.0.0.1"
    return Invalid("not an address that may be called", code="bad_address", hint=hint)
