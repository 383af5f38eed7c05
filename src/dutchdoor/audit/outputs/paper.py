"""A page as PDF; the only file that imports reportlab.

The fonts are embedded, so that it looks the same anywhere; they come with matplotlib. The same
audit gives the same bytes: dates inside are those of the audit.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from dutchdoor.audit.outputs.figures import font_files
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import (
    Block,
    Bullets,
    Figure,
    File,
    Notice,
    Page,
    Section,
    Table,
    Text,
)
from dutchdoor.audit.outputs.report import report_page
from dutchdoor.audit.outputs.text import moment

__all__ = ["pdf", "report_pdf"]

_INK, _QUIET, _GRID, _SOFT = "#1c2530", "#5b6673", "#d9dee4", "#f4f6f8"
_ALARM, _ALARM_SOFT = "#b3261e", "#fbeeed"
_MARGIN = 54.0  # points


def report_pdf(material: Material) -> tuple[File, ...]:
    """The report as PDF."""
    return (File("report.pdf", pdf(report_page(material), material)),)


def pdf(page: Page, material: Material) -> bytes:
    """`page` on A4."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate

    _register_fonts()
    styles = _styles()
    target = io.BytesIO()
    width = A4[0] - 2 * _MARGIN
    document = BaseDocTemplate(
        target,
        pagesize=A4,
        title=page.title,
        author=material.status.auditor,
        subject=f"bundle {material.bundle}",
        creator="dutchdoor",
        producer="dutchdoor",
        # Without it the file holds the time of writing and a random identifier.
        invariant=1,
        lang="en",
    )
    frame = Frame(_MARGIN, _MARGIN + 12, width, A4[1] - 2 * _MARGIN - 12, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate("all", [frame], onPage=_footer(material)))
    kind = "DRAFT of an audit report" if material.draft else "Audit report"
    flow: list[Any] = [
        _words(kind, styles["severe" if material.draft else "quiet"]),
        _words(page.title, styles["title"]),
        _words(page.lead, styles["text"]),
        _words(f"bundle {material.bundle}", styles["digest"]),
    ]
    for section in page.sections:
        flow += _section(section, styles, width)
    document.build(flow)
    return target.getvalue()


def _register_fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name, path in zip(("Text", "Strong"), font_files(), strict=True):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(path)))


def _styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle

    text = ParagraphStyle(
        "text",
        fontName="Text",
        fontSize=9.2,
        leading=13.6,
        textColor=_INK,
        spaceAfter=5,
        splitLongWords=1,
    )

    boxed = {
        "borderPadding": (5, 8, 5, 8),
        "leftIndent": 8,
        "rightIndent": 8,
        "spaceBefore": 7,
        "spaceAfter": 10,
    }

    def like(name: str, **changes: Any) -> Any:
        return ParagraphStyle(name, parent=text, **changes)

    return {
        "text": text,
        "strong": like("strong", fontName="Strong", fontSize=10.2, leading=15),
        "title": like("title", fontName="Strong", fontSize=21, leading=26, spaceAfter=6),
        "part": like(
            "part", fontName="Strong", fontSize=13.5, leading=18, spaceBefore=16, spaceAfter=6
        ),
        "inner": like(
            "inner", fontName="Strong", fontSize=10, leading=14, spaceBefore=8, spaceAfter=3
        ),
        "quiet": like("quiet", textColor=_QUIET),
        "severe": like("severe", fontName="Strong", textColor=_ALARM),
        "digest": like("digest", fontSize=7.4, leading=10, textColor=_QUIET),
        "cell": like("cell", fontSize=8, leading=11, spaceAfter=0),
        "head": like("head", fontSize=8, leading=11, spaceAfter=0, textColor=_QUIET),
        "notice": like("notice", backColor=_SOFT, **boxed),
        "warning": like("warning", backColor=_ALARM_SOFT, **boxed),
    }


def _section(section: Section, styles: dict[str, Any], width: float) -> list[Any]:
    from reportlab.platypus import CondPageBreak, KeepTogether

    heading = _words(section.title, styles["part" if section.depth == 1 else "inner"])
    blocks = [_block(block, styles, width) for block in section.blocks]
    if not blocks:
        return [heading]
    if section.depth == 2:
        return [KeepTogether([heading, *(part for block in blocks for part in block)])]
    # A heading does not stand alone at the foot of a page, nor a drawing without its title.
    first, rest = blocks[0], blocks[1:]
    return [CondPageBreak(90), KeepTogether([heading, *first]), *map(KeepTogether, rest)]


def _block(block: Block, styles: dict[str, Any], width: float) -> list[Any]:
    from reportlab.platypus import Image, ListFlowable, ListItem, Spacer

    if isinstance(block, Text):
        return [_words(block.text, styles["strong" if block.strong else "text"])]
    if isinstance(block, Notice):
        return [_words(block.text, styles["warning" if block.severe else "notice"])]
    if isinstance(block, Bullets):
        items = [ListItem(_words(item, styles["text"]), leftIndent=12) for item in block.items]
        return [
            ListFlowable(
                items,
                bulletType="bullet",
                start="•",
                bulletFontName="Text",
                bulletFontSize=9,
                bulletColor=_QUIET,
                leftIndent=12,
            )
        ]
    if isinstance(block, Table):
        return [_table(block, styles, width), Spacer(1, 8)]
    assert isinstance(block, Figure), "there is no other block"
    scale = min(1.0, width / block.size[0])
    image = Image(io.BytesIO(block.png()), block.size[0] * scale, block.size[1] * scale)
    return [image, _words(block.title, styles["quiet"])]


def _table(block: Table, styles: dict[str, Any], width: float) -> Any:
    from reportlab.platypus import LongTable, TableStyle

    shares = block.widths or tuple(1 / len(block.head) for _ in block.head)
    rows = [[_words(cell, styles["head"]) for cell in block.head]]
    rows += [[_words(cell, styles["cell"]) for cell in row] for row in block.rows]
    table = LongTable(
        rows, colWidths=[width * share for share in shares], repeatRows=1, spaceBefore=6
    )
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.7, _INK),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, _GRID),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 8),
                ("TOPPADDING", (0, 0), (-1, -1), 3),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
            ]
        )
    )
    return table


def _words(text: str, style: Any) -> Any:
    from reportlab.platypus import Paragraph

    # The paragraph reads markup: what others wrote must stay text.
    return Paragraph(re.sub(r"\n+", "<br/>", escape(text)), style)


def _footer(material: Material) -> Callable[[Any, Any], None]:
    def draw(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Text", 7.4)
        canvas.setFillColor(_QUIET)
        words = f"{material.audit} · {moment(material.stamp_ms)}"
        words += " · DRAFT" if material.draft else ""
        canvas.drawString(_MARGIN, _MARGIN - 14, words)
        canvas.drawRightString(document.pagesize[0] - _MARGIN, _MARGIN - 14, str(document.page))
        canvas.restoreState()

    return draw
