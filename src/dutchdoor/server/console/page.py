"""The status page: plain, readable, without a script.

The one door to Jinja in the server; values are escaped, undefined ones are our mistake.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import jinja2

__all__ = ["render_status", "style"]

_FOLDER = "dutchdoor.server.console"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_read("status.html").decode())


def render_status(facts: dict[str, Any]) -> bytes:
    """The page of `facts`, UTF-8."""
    return _template().render(**facts).encode()


def style() -> bytes:
    """The page's style sheet."""
    return _read("status.css")


def _read(name: str) -> bytes:
    return resources.files(_FOLDER).joinpath(name).read_bytes()
