"""Runs the sessions in our documents: each `$ command` in a shell, its output against the page.

In a page, `…` stands for any text within a line, and a line of `…` alone for any lines.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Command", "Shell", "matches", "read_commands"]

MARK = "--- end of command ---"


@dataclass(frozen=True)
class Command:
    """One command of a page and what the page says it prints. line: where it stands."""

    text: str
    expected: str
    line: int


def read_commands(page: str) -> list[Command]:
    """The commands of a page's ```console blocks, in order."""
    commands: list[Command] = []
    expected: list[str] = []
    inside, text, start = False, "", 0

    def keep() -> None:
        if text:
            commands.append(Command(text, "\n".join(expected).strip("\n"), start))

    for number, line in enumerate(page.splitlines(), 1):
        if line.startswith("```"):
            keep()
            text, expected = "", []
            inside = line.strip() == "```console"
        elif inside and line.startswith("$ "):
            keep()
            text, expected, start = line[2:], [], number
        elif inside and text.endswith("\\"):
            text = text[:-1] + line.strip()
        elif inside and text:
            expected.append(line)
    return commands


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is what the page says."""
    parts = []
    for line in expected.splitlines():
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append("[^\n]*".join(re.escape(piece) for piece in line.split("…")) + r"\s*\n")
    return re.fullmatch("".join(parts), printed.rstrip("\n") + "\n" if printed else "") is not None


class Shell:
    """One bash that runs command after command in the same folder and environment."""

    def __init__(self, folder: Path, path_first: Path, extra: dict[str, str]) -> None:
        path = f"{path_first}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "200", **extra}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """What `command` printed, stdout and stderr together, and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\necho '{MARK}' $?\n")
        self._process.stdin.flush()
        printed: list[str] = []
        for line in self._process.stdout:
            if MARK in line:
                before, _, code = line.partition(MARK)
                return "".join([*printed, before]), int(code)
            printed.append(line)
        raise AssertionError("the shell ended: " + "".join(printed))

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
