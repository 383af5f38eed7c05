"""A decision's text as simple HTML: headings, lists, paragraphs, bold and code. Nothing else.

Everything is escaped before a tag is written, so that the text can hold no tag of its own; there
are no links and no images, whoever wrote the decision.
"""

from __future__ import annotations

import html
import re

__all__ = ["html_of"]

HEADING_BEGINS = 3
"""The page's own headings are h1 to h3; the text's begin below."""

_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_ITEM = re.compile(r"\s*[-*]\s+(.*)")
_SPANS = ((re.compile(r"`([^`]+)`"), "code"), (re.compile(r"\*\*([^*]+)\*\*"), "strong"))


def html_of(text: str) -> str:
    """`text` (Markdown, unverified) as HTML that is safe to put into a page."""
    rows: list[str] = []
    items: list[str] = []
    lines: list[str] = []

    def flush() -> None:
        if items:
            rows.append("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>")
        if lines:
            rows.append(f"<p>{' '.join(lines)}</p>")
        items.clear()
        lines.clear()

    for line in text.splitlines():
        heading, item = _HEADING.fullmatch(line), _ITEM.fullmatch(line)
        if heading:
            flush()
            level = min(6, HEADING_BEGINS + len(heading[1]))
            rows.append(f"<h{level}>{_inline(heading[2])}</h{level}>")
        elif item:
            if lines:
                flush()
            items.append(_inline(item[1]))
        elif not line.strip():
            flush()
        elif items:
            items[-1] += " " + _inline(line.strip())
        else:
            lines.append(_inline(line.strip()))
    flush()
    return "\n".join(rows)


def _inline(text: str) -> str:
    escaped = html.escape(text)
    for pattern, tag in _SPANS:
        escaped = pattern.sub(rf"<{tag}>\1</{tag}>", escaped)
    return escaped
