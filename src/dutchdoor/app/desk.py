"""A custodian's own small server: takes requests in, gives answers out, holds no key.

It listens on this machine alone; a tunnel brings it to where the bundle is. What is posted is
judged by the custodian's copy of the log before it is kept, so the desk fills with real requests
only. A person answers with `dutchdoor custody grant` or `refuse`, in a process of their own, which
alone sees the key. An answer is sealed to who asked, so anybody may fetch it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor.custody.http import call, check_url
from dutchdoor.custody.messages import Ceremony, OpenRequest
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable

__all__ = ["Answers", "fetch_grant", "find_request", "make_server", "post_request"]

KEPT_MAX = 64
READ_S_MAX = 10.0
_PATH = re.compile(r"/requests/(?P<name>[0-9a-f]{64})")
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
_JSON = {"content-type": "application/json"}

Look = Callable[[bytes], object]
"""Judges a request; raises where it is not worth a person's time."""


class Answers(NamedTuple):
    """The desk's folder: requests that came, and what was answered."""

    folder: Path

    def keep(self, data: bytes, now_ms: int) -> str:
        """Keep a judged request; gives its name. Raises Refused: the desk is full."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = _name_of(data)
        kept = sorted(self.folder.glob("*.request"))
        for path in kept:
            self._forget_expired(path, now_ms)
        kept = sorted(self.folder.glob("*.request"))
        if len(kept) >= KEPT_MAX:
            message = f"{len(kept)} requests wait here already"
            raise Refused(message, code="desk_full", hint="answer or refuse some first")
        if not (self.folder / f"{name}.request").exists():
            self._write(f"{name}.request", data)
        return name

    def answer(self, name: str, kind: str, data: bytes) -> None:
        """Answer the request of this name. kind: `share` or `refused`."""
        self._write(f"{name}.{kind}", data)

    def read(self, name: str, kind: str) -> bytes | None:
        """What lies here of this name and kind."""
        try:
            return (self.folder / f"{name}.{kind}").read_bytes()
        except FileNotFoundError:
            return None

    def waiting(self) -> list[str]:
        """The names of the requests that nobody has answered yet."""
        names = sorted(path.stem for path in self.folder.glob("*.request"))
        return [n for n in names if not (self.read(n, "share") or self.read(n, "refused"))]

    def _forget_expired(self, path: Path, now_ms: int) -> None:
        try:
            request = OpenRequest.decode(Ceremony.decode(path.read_bytes()).request)
            if now_ms < request.expires_ms:
                return
        except (DutchdoorError, OSError):
            pass
        for kind in ("request", "share", "refused"):
            path.with_suffix(f".{kind}").unlink(missing_ok=True)

    def _write(self, name: str, data: bytes) -> None:
        draft = self.folder / f".{name}.{secrets.token_hex(8)}"
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / name)
        except OSError as error:
            message = f"the desk cannot be written: {error.strerror}"
            raise Unavailable(message, code="desk_unavailable", hint="make room") from error
        finally:
            draft.unlink(missing_ok=True)


def find_request(answers: Answers, text: str) -> bytes:
    """The request on the desk whose name begins with `text`.

    Raises NotFound: none does, or several do.
    """
    digits = text.removeprefix("sha256:")
    found = [n for n in answers.waiting() if digits and n.startswith(digits)]
    data = answers.read(found[0], "request") if len(found) == 1 else None
    if data is None:
        message = f"{len(found)} requests on the desk begin with '{text}'"
        hint = "name a file, or a request that 'dutchdoor custody pending' lists"
        raise NotFound(message, code="no_request", hint=hint)
    return data


def make_server(
    port: int, look: Look, answers: Answers, now_ms: Callable[[], int]
) -> ThreadingHTTPServer:
    """The server, listening on 127.0.0.1; `serve_forever` runs it.

    look: judges what is posted; called from several threads. Raises Unavailable: the port.
    """

    class Handler(_Handler):
        desk = _Desk(look, answers, now_ms)

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        message = f"cannot listen on 127.0.0.1:{port}: {error.strerror}"
        raise Unavailable(message, code="port_taken", hint="choose another --port") from error
    server.daemon_threads = True
    return server


class _Desk(NamedTuple):
    look: Look
    answers: Answers
    now_ms: Callable[[], int]


class _Handler(BaseHTTPRequestHandler):
    desk: _Desk
    timeout = READ_S_MAX
    server_version = "dutchdoor"
    sys_version = ""

    def do_POST(self) -> None:
        if self._may_not() or self.path != "/requests":
            self._say(HTTPStatus.NOT_FOUND, {"code": "not_found"})
            return
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > CustodyLimits().ceremony_bytes_max:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"code": "too_long"})
            return
        data = self.rfile.read(int(length))
        try:
            self.desk.look(data)
            name = self.desk.answers.keep(data, self.desk.now_ms())
        except DutchdoorError as error:
            closed = isinstance(error, Unavailable)
            status = HTTPStatus.SERVICE_UNAVAILABLE if closed else HTTPStatus.FORBIDDEN
            self._say(status, {"code": error.code, "message": error.message})
            return
        self._say(HTTPStatus.ACCEPTED, {"request": name})

    def do_GET(self) -> None:
        match = None if self._may_not() else _PATH.fullmatch(self.path)
        if match is None:
            self._say(HTTPStatus.NOT_FOUND, {"code": "not_found"})
            return
        answers, name = self.desk.answers, match["name"]
        share, refused = answers.read(name, "share"), answers.read(name, "refused")
        if share is not None:
            self._send(HTTPStatus.OK, share)
        elif refused is not None:
            said = {"code": "custodian_refused", "message": refused.decode("utf-8", "replace")}
            self._say(HTTPStatus.FORBIDDEN, said)
        elif answers.read(name, "request") is not None:
            self._say(HTTPStatus.ACCEPTED, {"code": "waiting"})
        else:
            self._say(HTTPStatus.NOT_FOUND, {"code": "not_found"})

    def _may_not(self) -> bool:
        """A page in the custodian's browser is no requester: another host's name, or an origin."""
        host = self.headers.get("host", "")
        return _HOST.fullmatch(host) is None or self.headers.get("origin") is not None

    def _say(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode())

    def _send(self, status: HTTPStatus, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: what was asked is in the desk's folder, and in the log."""


def post_request(url: str, data: bytes) -> None:
    """Send a ceremony to a custodian's desk.

    Raises Refused: the desk says no. Raises Unavailable: it does not answer, or its log is old.
    """
    limit = CustodyLimits().message_bytes_max
    answer = call("POST", check_url(url), "/requests", body=data, headers=_JSON, bytes_max=limit)
    if answer.status != HTTPStatus.ACCEPTED:
        raise _told(url, answer.status, answer.body)


def fetch_grant(url: str, data: bytes) -> bytes | None:
    """The answer of a custodian's desk to the ceremony `data`; None while there is none.

    It is unverified. Raises Refused: the custodian says no. Raises Unavailable.
    """
    limit = CustodyLimits().message_bytes_max
    path = f"/requests/{_name_of(data)}"
    answer = call("GET", check_url(url), path, headers={}, bytes_max=limit)
    if answer.status == HTTPStatus.ACCEPTED:
        return None
    if answer.status != HTTPStatus.OK:
        raise _told(url, answer.status, answer.body)
    return answer.body


def _name_of(data: bytes) -> str:
    return OpenRequest.decode(Ceremony.decode(data).request).digest.removeprefix("sha256:")


def _told(url: str, status: int, body: bytes) -> DutchdoorError:
    try:
        told = json.loads(body)
        code, message = str(told["code"]), str(told.get("message", ""))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        code, message = "", ""
    if re.fullmatch(r"[a-z_]{1,64}", code) is None:
        return Invalid(f"{url} is no custodian's desk", code="bad_address", hint="check it")
    text = f"the custodian at {url}: {message[:500]} [{code}]"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(text, code="custodian_unavailable", hint="ask again later")
    return Refused(text, code="custodian_refused", hint="ask the custodian")
