"""The pages for people: plain, readable, without a script.

The one door to Jinja in the server; values are escaped, undefined ones are our mistake.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import jinja2

__all__ = ["render", "render_status", "style"]

_FOLDER = "dutchdoor.server.console"


@cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.FunctionLoader(lambda found: _read(found).decode())
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader
    )
    return environment.get_template(name)


def render(name: str, facts: dict[str, Any]) -> bytes:
    """The page of the template `name` (a file here) with `facts`, UTF-8."""
    return _template(name).render(**facts).encode()


def render_status(facts: dict[str, Any]) -> bytes:
    """The status page of `facts`, UTF-8."""
    return render("status.html", facts)


def style(name: str = "status.css") -> bytes:
    """A style sheet of these pages."""
    return _read(name)


def _read(name: str) -> bytes:
    return resources.files(_FOLDER).joinpath(name).read_bytes()
