"""The EU Code of Practice's model documentation form, in the views of its three audiences.

Source: the Code's transparency chapter (10 July 2025), measure 1.1. Which field which audience sees
follows the third draft's form as we have read it; check it against the published form before use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dutchdoor.audit.outputs.markdown import markdown
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File, Notice, Page, Section, Table, Text
from dutchdoor.audit.outputs.report import DRAFT_NOTICE
from dutchdoor.audit.outputs.text import NOT_STATED, day, label

__all__ = ["FIELDS", "AudienceView", "eu_documentation"]


class AudienceView(StrEnum):
    """For whom a view of the form is."""

    AI_OFFICE = "ai-office"
    NATIONAL = "national-authorities"
    DOWNSTREAM = "downstream-providers"


_TITLES = {
    AudienceView.AI_OFFICE: "for the AI Office (on request)",
    AudienceView.NATIONAL: "for national competent authorities (on request)",
    AudienceView.DOWNSTREAM: "for downstream providers",
}
_ALL = frozenset(AudienceView)
_OFFICES = frozenset({AudienceView.AI_OFFICE, AudienceView.NATIONAL})
_OFFICE = frozenset({AudienceView.AI_OFFICE})
_OTHERS = frozenset({AudienceView.NATIONAL, AudienceView.DOWNSTREAM})
_DOWN = frozenset({AudienceView.DOWNSTREAM})

_BANDS = (
    (500_000_000, "1 to 500 million"),
    (5_000_000_000, "500 million to 5 billion"),
    (15_000_000_000, "5 to 15 billion"),
    (50_000_000_000, "15 to 50 billion"),
    (100_000_000_000, "50 to 100 billion"),
    (500_000_000_000, "100 to 500 billion"),
    (1_000_000_000_000, "500 billion to 1 trillion"),
)


@dataclass(frozen=True)
class Field:
    """One field. fact: which stated fact fills it, or what does. words_max: 0 where unlimited."""

    section: str
    title: str
    audiences: frozenset[AudienceView]
    fact: str | Callable[[Material], str]
    words_max: int = 0


def eu_documentation(material: Material) -> tuple[File, ...]:
    """The three views; what nobody stated says so."""
    return tuple(
        File(f"eu-documentation/{view}.md", markdown(_view(material, view)).encode())
        for view in AudienceView
    )


def _view(material: Material, view: AudienceView) -> Page:
    names = dict.fromkeys(field.section for field in FIELDS if view in field.audiences)
    sections = []
    for name in names:
        rows = tuple(
            _row(material, field)
            for field in FIELDS
            if field.section == name and view in field.audiences
        )
        sections.append(Section(name, (Table(("field", "answer"), rows, name),)))
    head = Section(
        "About this form",
        (
            *((Notice(DRAFT_NOTICE, severe=True),) if material.draft else ()),
            Text(f"Last updated: {day(material.stamp_ms)}. Audit: {material.audit}."),
            Text(
                "What the provider states is in its own words and was not audited; what comes "
                f"from the audit says so. '{NOT_STATED}' means that nobody stated it. Keep each "
                "version for ten years."
            ),
        ),
    )
    title = f"Model documentation: {material.model}, {_TITLES[view]}"
    return Page(title, f"Bundle {material.bundle}", (head, *sections))


def _row(material: Material, field: Field) -> tuple[str, str]:
    answer = material.facts.get(field.fact) if isinstance(field.fact, str) else field.fact(material)
    words = len(answer.split())
    if field.words_max and words > field.words_max:
        answer += f" (note: {words} words, {field.words_max} are asked for)"
    return field.title, answer


def _authenticity(material: Material) -> str:
    return f"SHA-256 of the sealed bundle's manifest: {material.bundle}"


def _exact_size(material: Material) -> str:
    count = material.facts.parameters
    return NOT_STATED if count is None else f"{count} parameters"


def _banded_size(material: Material) -> str:
    count = material.facts.parameters
    if count is None:
        return NOT_STATED
    return next((name for most, name in _BANDS if count <= most), "more than 1 trillion")


def _channels(material: Material) -> str:
    decision = material.decision
    if decision is None:
        stated = material.facts.get("download_location")
        return f"no release decision in force; download: {stated}"
    who = "; ".join(
        f"{row.name}: {', '.join(label(str(depth)) for depth in row.depths)}"
        for row in decision.audiences
    )
    until = day(decision.not_after_ms)
    return f"level {label(str(decision.level))} until {until}; {who or 'nobody yet'}"


def _evaluated(material: Material) -> str:
    rows = "; ".join(f"{label(row.name)}: {row.text}" for row in material.evaluations)
    return f"from the audit: {rows}" if rows else NOT_STATED


def _adversarial(material: Material) -> str:
    curves = len(material.curves)
    if not curves and not material.amend_notes:
        return "from the audit: what modification unlocks was not tested"
    return f"from the audit: {curves} curves of behaviour after modification, in its report"


_GENERAL, _PROPERTIES = "General information", "Model properties"
_CHANNELS, _USE = "Distribution channels and licences", "Use"
_TRAINING, _DATA = "Training process", "Training, testing and validation data"
_COMPUTE, _ENERGY = "Computational resources", "Energy"
_SYSTEMIC = "Additional information for models with systemic risk"

FIELDS: tuple[Field, ...] = (
    Field(_GENERAL, "Legal name of the provider", _ALL, "provider"),
    Field(_GENERAL, "Model name", _ALL, lambda material: material.model),
    Field(_GENERAL, "Model family", _ALL, "family"),
    Field(_GENERAL, "Version", _ALL, "version"),
    Field(_GENERAL, "Evidence of authenticity", _OFFICES, _authenticity),
    Field(_GENERAL, "Release date", _ALL, "release_date"),
    Field(_GENERAL, "Date of placing on the Union market", _ALL, "union_market_date"),
    Field(_GENERAL, "Models it depends on", _ALL, "base_models"),
    Field(_PROPERTIES, "Architecture", _ALL, "architecture", 20),
    Field(_PROPERTIES, "Architecture in detail", _OFFICE, "architecture_detail"),
    Field(_PROPERTIES, "Design specification", _OFFICES, "design", 100),
    Field(_PROPERTIES, "Input modalities", _ALL, "input_modalities"),
    Field(_PROPERTIES, "Output modalities", _ALL, "output_modalities"),
    Field(_PROPERTIES, "Total size, exact", _OFFICE, _exact_size),
    Field(_PROPERTIES, "Total size, range of parameters", _OTHERS, _banded_size),
    Field(_CHANNELS, "Channels, each with its level of access", _ALL, _channels),
    Field(_CHANNELS, "Link to the licence", _OFFICES, "licence_link"),
    Field(_CHANNELS, "Type of licence", _DOWN, "licence"),
    Field(_CHANNELS, "Further assets, how, under which licence", _OFFICES, "additional_assets"),
    Field(_USE, "Acceptable use policy", _ALL, "acceptable_use"),
    Field(_USE, "Intended uses", _ALL, "intended_uses", 200),
    Field(_USE, "Restricted uses", _ALL, "restricted_uses", 200),
    Field(_USE, "Systems it may be integrated in, and may not", _ALL, "integration_systems", 300),
    Field(_USE, "Technical means for integration", _DOWN, "integration_means", 100),
    Field(_USE, "Required hardware", _DOWN, "hardware", 100),
    Field(_USE, "Required software", _DOWN, "software", 100),
    Field(_TRAINING, "Design specification of the training", _OFFICES, "training_design", 200),
    Field(_TRAINING, "What training optimised", _OFFICES, "training_parameters", 200),
    Field(_TRAINING, "Rationale of key choices", _OFFICES, "training_rationale", 200),
    Field(_DATA, "Modalities", _ALL, "data_modalities"),
    Field(_DATA, "Provenance", _ALL, "data_provenance"),
    Field(_DATA, "How it was obtained and selected", _OFFICES, "data_obtained", 300),
    Field(_DATA, "Number of data points", _OFFICES, "data_points"),
    Field(_DATA, "Scope and main characteristics", _OFFICES, "data_scope", 200),
    Field(_DATA, "Curation", _ALL, "data_curation", 300),
    Field(_DATA, "Measures on harmful data", _OFFICES, "data_harmful", 300),
    Field(_DATA, "Measures on personal data", _OFFICES, "data_personal", 200),
    Field(_DATA, "Measures on identifiable bias", _OFFICES, "data_bias", 200),
    Field(_COMPUTE, "Training time, wall clock", _OFFICES, "training_time"),
    Field(_COMPUTE, "Training time, days of hardware", _OFFICE, "training_hardware_days"),
    Field(_COMPUTE, "Training compute", _OFFICES, "training_compute"),
    Field(_COMPUTE, "How it was found", _OFFICES, "training_compute_method"),
    Field(_ENERGY, "Energy of the training", _OFFICES, "energy"),
    Field(_ENERGY, "How it was found", _OFFICES, "energy_method"),
    Field(_ENERGY, "Compute of a benchmarked inference", _OFFICES, "inference_compute"),
    Field(_ENERGY, "How that was found", _OFFICES, "inference_compute_method"),
    Field(_SYSTEMIC, "Evaluations and their results", _OFFICES, _evaluated),
    Field(_SYSTEMIC, "Adversarial testing", _OFFICES, _adversarial),
    Field(_SYSTEMIC, "Adaptations of the model", _OFFICES, "adaptations"),
    Field(_SYSTEMIC, "Architecture of the system", _OFFICES, "system_architecture"),
)
"""The form, in its order."""
