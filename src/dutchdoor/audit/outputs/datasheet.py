"""The datasheet of the data a model was made from, with the headings of Gebru et al."""

from __future__ import annotations

from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.outputs.markdown import markdown
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File, Notice, Page, Section, Text
from dutchdoor.audit.outputs.report import DRAFT_NOTICE
from dutchdoor.audit.outputs.text import NOT_STATED

__all__ = ["datasheet"]

_SECTIONS: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]], ...] = (
    ("Motivation", ("motivation",), ()),
    (
        "Composition",
        ("composition",),
        (
            ("Modalities", "data_modalities"),
            ("Data points", "data_points"),
            ("Scope", "data_scope"),
            ("Personal data", "data_personal"),
        ),
    ),
    (
        "Collection process",
        ("collection",),
        (("Provenance", "data_provenance"), ("Obtained and selected", "data_obtained")),
    ),
    (
        "Preprocessing, cleaning and labelling",
        ("preprocessing",),
        (
            ("Curation", "data_curation"),
            ("Harmful data", "data_harmful"),
            ("Bias", "data_bias"),
        ),
    ),
    ("Uses", ("uses",), ()),
    ("Distribution", ("distribution",), ()),
    ("Maintenance", ("maintenance",), (("Contact", "contact"),)),
)


def datasheet(material: Material) -> tuple[File, ...]:
    """The datasheet, from document C3 and the provider's facts. Source: arXiv 1803.09010."""
    draft = (Notice(DRAFT_NOTICE, severe=True),) if material.draft else ()
    sections = [
        Section(
            title,
            (
                *(draft if title == "Motivation" else ()),
                Text(material.quote(DocumentKind.C3, *headings) or NOT_STATED),
                *(Text(f"{name}: {material.facts.get(fact)}") for name, fact in facts),
            ),
        )
        for title, headings, facts in _SECTIONS
    ]
    gap = next((row.gap for row in material.artifacts if row.name == "datasheet"), "")
    paper = material.papers.get(DocumentKind.C3)
    described = (paper.line("data_described") if paper else "") or NOT_STATED
    lead = f"Kept with the audit of the bundle {material.bundle}. Data described: {described}."
    lead += f" With the model itself came no datasheet: {gap}." if gap else ""
    page = Page(f"Datasheet: {material.model}", lead, tuple(sections))
    return (File("datasheet.md", markdown(page).encode()),)
