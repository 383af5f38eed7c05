"""A page as Markdown in which no text of others becomes markup."""

from __future__ import annotations

import re

from dutchdoor.audit.outputs.model import Block, Bullets, Notice, Page, Section, Table, Text

__all__ = ["escaped", "markdown"]

_MARKS = re.compile(r"([\\`*_{}\[\]<>|~$&!])")


def escaped(text: str) -> str:
    """`text` as one line of Markdown that shows exactly these characters.

    Angle brackets and ampersands become entities, so that no reader takes them for HTML.
    """
    flat = " ".join(text.split())
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    marked = _MARKS.sub(lambda found: entities.get(found[1], f"\\{found[1]}"), flat)
    # At the beginning of a line these would open a heading, a list or a rule.
    marked = re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", marked)
    return re.sub(r"^(#+|[-+=])", r"\\\1", marked)


def markdown(page: Page) -> str:
    """`page` as Markdown, ending in one newline. Figures are left out: it has tables."""
    lines = [f"# {escaped(page.title)}", "", escaped(page.lead), ""]
    for section in page.sections:
        lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"{'#' * (section.depth + 1)} {escaped(section.title)}", ""]
    for block in section.blocks:
        lines += [*_block(block), ""]
    return lines


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return _paragraphs(block.text)
    if isinstance(block, Notice):
        return [f"> {line}" if line else ">" for line in _paragraphs(block.text)]
    if isinstance(block, Bullets):
        return [f"- {escaped(item)}" for item in block.items]
    if isinstance(block, Table):
        rows = [block.head, tuple("---" for _ in block.head), *block.rows]
        return [
            "| " + " | ".join(cell if cell == "---" else escaped(cell) for cell in row) + " |"
            for row in rows
        ]
    return []


def _paragraphs(text: str) -> list[str]:
    found = [escaped(part) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return [line for part in found for line in (part, "")][:-1]
