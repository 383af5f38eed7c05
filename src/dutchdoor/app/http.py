"""A request to the workspace's own server, as the command line makes it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from dutchdoor.errors import DutchdoorError, Refused, Unavailable

__all__ = ["answers", "post_json"]

ANSWER_BYTES_MAX = 96 << 20


def answers(url: str) -> bool:
    """Whether a gateway answers at `url`, ready or not."""
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def post_json(url: str, api_key: str, body: dict[str, Any], *, s_max: float) -> dict[str, Any]:
    """The answer of our own server to `body`.

    Raises Refused, Unavailable: what the server said, with its code; or it did not answer.
    """
    request = urllib.request.Request(  # noqa: S310 - the URL is our own server's, on http
        url,
        data=json.dumps(body).encode(),
        headers={"authorization": f"Bearer {api_key}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=s_max) as response:  # noqa: S310
            value = json.loads(response.read(ANSWER_BYTES_MAX))
    except urllib.error.HTTPError as error:
        raise _error_of(error) from error
    except (OSError, ValueError) as error:
        message = "the server did not answer"
        raise Unavailable(message, code="not_running", hint="see 'dutchdoor status'") from error
    if not isinstance(value, dict):
        raise Unavailable("the server's answer is not an object", code="bad_answer")
    return value


def _error_of(error: urllib.error.HTTPError) -> DutchdoorError:
    """The server's own error, as it said it."""
    try:
        told = json.loads(error.read(1 << 20))["error"]
        code, message = str(told["code"]), str(told["message"])
        hint = str(told.get("dutchdoor", {}).get("hint", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Unavailable(f"the server answered {error.code}", code="bad_answer")
    if error.code >= 500:
        return Unavailable(message, code=code, hint=hint)
    return Refused(message, code=code, hint=hint)
