"""What every command shares: the two options, output, errors, exit codes.

Data goes to stdout, everything else to stderr; messages are lower case with a hint. Whatever a
model or a document says is cleaned of control characters before a terminal sees it.
Exit codes: 0 done, 1 refused by the rules or findings, 2 wrong use or invalid input, 3 something
needed is down, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console

from dutchdoor.config import Places, find_workspace
from dutchdoor.errors import DutchdoorError, Invalid

__all__ = [
    "EXIT_CODES",
    "JsonOption",
    "Output",
    "WorkspaceOption",
    "command",
    "places_of",
    "safe_text",
]

EXIT_CODES = {"refused": 1, "invalid": 2, "unavailable": 3}

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        metavar="DIR",
        help="The workspace; default: the nearest folder with a dutchdoor.toml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON, for programs.")]

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def safe_text(text: str) -> str:
    """`text` without control, format and private-use characters, except newline and tab."""
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cf", "Co", "Cs"}
        else "�"
        for char in text
    )


class Output:
    """Prints for a person, or as JSON for a program.

    color is used on a terminal only, and never where NO_COLOR is set.
    """

    def __init__(self, json_wanted: bool) -> None:
        self.json_wanted = json_wanted
        plain = bool(os.environ.get("NO_COLOR"))
        self.out = Console(no_color=plain, highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, no_color=plain, highlight=False, soft_wrap=True)

    def data(self, value: Any, text: str) -> None:
        """Print `value` as JSON where JSON is wanted, else `text`."""
        if self.json_wanted:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        else:
            self.out.print(safe_text(text), markup=False)

    def note(self, text: str) -> None:
        """A remark for the person at the terminal, on stderr."""
        self.err.print(safe_text(text), markup=False)

    def error(self, error: DutchdoorError) -> None:
        """The error and what to do next, on stderr; as JSON too where JSON is wanted."""
        if self.json_wanted:
            value = {"code": error.code, "message": error.message, "hint": error.diagnostics()}
            sys.stderr.write(json.dumps({"error": value}, ensure_ascii=False) + "\n")
            return
        self.err.print(f"dutchdoor: {safe_text(error.message)} [{error.code}]", markup=False)
        if error.diagnostics():
            self.err.print(f"  hint: {safe_text(error.diagnostics())}", markup=False)


def command(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Wrap a command so that our errors become one message, a hint and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        output = Output(bool(kwargs.get("json_output", False)))
        try:
            return function(*args, **kwargs)
        except DutchdoorError as error:
            output.error(error)
            raise typer.Exit(EXIT_CODES.get(error.family, 2)) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error

    return wrapped


def places_of(workspace: Path | None) -> Places:
    """The workspace that `--workspace` names, or the nearest one.

    Raises NotFound: there is none.
    """
    if workspace is None:
        return find_workspace(Path.cwd())
    places = Places(workspace.resolve())
    if not places.config.is_file():
        raise Invalid(
            f"{workspace} is not a workspace: it has no dutchdoor.toml",
            code="no_workspace",
            hint=f"make one with 'dutchdoor init --workspace {workspace}'",
        )
    return places
