"""How a person gives a secret: at the terminal, or through a descriptor; never as an argument.

Arguments and the environment can be read by other processes and end up in histories.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from dutchdoor.custody.ports import AskSecret
from dutchdoor.errors import Invalid, Refused

__all__ = ["SecretFdOption", "asker"]

SECRET_BYTES_MAX = 4_096
_FIRST_FD = 3

SecretFdOption = Annotated[
    int | None,
    typer.Option(
        "--secret-fd",
        metavar="FD",
        help="Read passphrase, PIN or token from this descriptor, a line each; default: ask.",
    ),
]


def asker(descriptor: int | None) -> AskSecret:
    """What asks the person at the terminal, or reads the next line of `descriptor`."""
    return _ask_person if descriptor is None else _reader(descriptor)


def _ask_person(what: str) -> bytes:
    if not sys.stdin.isatty():
        message = f"the {what} is needed, and nobody is at a terminal"
        raise Refused(message, code="no_terminal", hint="give it with --secret-fd FD")
    secret = getpass.getpass(f"{what}: ").encode()
    if what.startswith("new ") and getpass.getpass(f"{what}, again: ").encode() != secret:
        message = "the two were not the same"
        raise Invalid(message, code="no_secret", hint="nothing was changed; try again")
    return secret


def _reader(descriptor: int) -> Callable[[str], bytes]:
    waiting: list[bytes] = []
    ended: list[bool] = []

    def ask(what: str) -> bytes:
        # Byte by byte would be slow and whole would swallow what another program is to read: one
        # read is enough, as descriptors that carry a secret carry nothing else.
        if not ended:
            waiting.extend(_lines(descriptor, what))
            ended.append(True)
        if not waiting:
            message = f"descriptor {descriptor} has no line for the {what}"
            raise Invalid(message, code="no_secret", hint="write one line for each secret")
        return waiting.pop(0)

    return ask


def _lines(descriptor: int, what: str) -> list[bytes]:
    data = b""
    try:
        while len(data) <= SECRET_BYTES_MAX:
            part = os.read(descriptor, SECRET_BYTES_MAX + 1 - len(data))
            if not part:
                break
            data += part
    except OSError as error:
        message = f"the {what} cannot be read from descriptor {descriptor}"
        hint = f"open it for this command, for instance: {_FIRST_FD}<FILE"
        raise Invalid(message, code="no_secret", hint=hint) from error
    if len(data) > SECRET_BYTES_MAX:
        raise Invalid("that is too long for a secret", code="no_secret")
    return data.removesuffix(b"\n").split(b"\n") if data else []
