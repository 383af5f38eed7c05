"""A page as one HTML file: no script, no request to anywhere, light and dark, fit for print."""

from __future__ import annotations

import re
from importlib import resources

import jinja2
from markupsafe import Markup

from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import Figure, File, Page
from dutchdoor.audit.outputs.report import report_page
from dutchdoor.audit.outputs.text import moment

__all__ = ["html", "report_html"]


def report_html(material: Material) -> tuple[File, ...]:
    """The report as HTML."""
    return (File("report.html", html(report_page(material), material).encode()),)


def html(page: Page, material: Material) -> str:
    """`page` as HTML; every text in it is escaped, only our own drawings are markup."""
    folder = resources.files("dutchdoor.audit.outputs").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    environment.filters["anchor"] = anchor
    template = environment.from_string(folder.joinpath("page.html").read_text(encoding="utf-8"))
    return template.render(
        page=page,
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        drawn={
            block.name: Markup(block.svg())  # noqa: S704 - matplotlib escapes the texts in it
            for section in page.sections
            for block in section.blocks
            if isinstance(block, Figure)
        },
        bundle=material.bundle,
        audit=material.audit,
        draft=material.draft,
        stamp=moment(material.stamp_ms),
    )


def anchor(title: str) -> str:
    """A heading as the name of a place in the page."""
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-") or "part"
