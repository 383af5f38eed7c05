"""Writes what the reference takes from the source: openapi.json, and the tables of errors.md.

    python docs/reference/build.py

tests/server/test_reference.py fails where the files are not what this writes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
SOURCE = FOLDER.parents[1] / "src" / "dutchdoor"
MARKER = "<!-- What follows is written by docs/reference/build.py. -->\n"
FAMILIES = {
    "Refused": "refused",
    "NotInForce": "refused",
    "Invalid": "invalid",
    "BadRequest": "invalid",
    "Tampered": "tampered",
    "NotFound": "not found",
    "Unavailable": "unavailable",
    "Refusal": "refused",
}


class Raised(NamedTuple):
    """A code as the source raises it. room: the folder or file it stands in."""

    code: str
    room: str
    family: str
    message: str


def codes() -> list[Raised]:
    """Every code that is written out in the source, once for each room."""
    found: dict[tuple[str, str], Raised] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for raised in _codes_of(ast.parse(path.read_text()), room):
            found.setdefault((raised.room, raised.code), raised)
    return sorted(found.values(), key=lambda row: (row.room, row.code))


def _codes_of(tree: ast.Module, room: str) -> Iterator[Raised]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    # The innermost scope first: a message is looked for where it is raised.
    scopes: list[ast.AST] = [*sorted(functions, key=lambda n: -n.lineno), tree]
    for scope in scopes:
        for node in ast.walk(scope):
            if not isinstance(node, ast.Call):
                continue
            family = FAMILIES.get(ast.unparse(node.func).rsplit(".", 1)[-1], "")
            for keyword in node.keywords:
                value = keyword.value
                if keyword.arg != "code" or not isinstance(value, ast.Constant):
                    continue
                if isinstance(value.value, str) and value.value:
                    yield Raised(value.value, room, family, _message(node, scope))


def _message(call: ast.Call, scope: ast.AST) -> str:
    candidates = [k.value for k in call.keywords if k.arg == "message"] + call.args[:1]
    if not candidates:
        return ""
    value: ast.expr | None = candidates[0]
    if isinstance(value, ast.Name):
        name, line = value.id, call.lineno
        assigned = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign)
            and node.lineno <= line
            and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
        ]
        value = max(assigned, key=lambda node: node.lineno).value if assigned else None
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.JoinedStr):
        parts = [str(p.value) if isinstance(p, ast.Constant) else "…" for p in value.values]
        return "".join(parts)
    return ""


def errors_page() -> str:
    """errors.md: the part that people wrote, and the tables."""
    written = (FOLDER / "errors.md").read_text().split(MARKER)[0]
    lines = [MARKER, "\n## Every code, by room\n"]
    room = ""
    for row in codes():
        if row.room != room:
            room = row.room
            lines.append(f"\n### {room}\n\n| code | family | what happened |\n|---|---|---|\n")
        message = " ".join(row.message.replace("|", "/").split())
        lines.append(f"| `{row.code}` | {row.family} | {message} |\n")
    return written + "".join(lines)


def openapi_text() -> str:
    """openapi.json."""
    import dutchdoor
    from dutchdoor.server.openapi import document
    from dutchdoor.server.routes import ROUTES

    return json.dumps(document(dutchdoor.__version__, ROUTES), indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write both files."""
    (FOLDER / "errors.md").write_text(errors_page())
    (FOLDER / "openapi.json").write_text(openapi_text())


if __name__ == "__main__":
    main()
