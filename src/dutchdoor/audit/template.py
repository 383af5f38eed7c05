"""Templates in plain words, one a document, packaged beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from string import Template
from types import MappingProxyType
from typing import Any

from dutchdoor.audit.document import Document
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, Scale

__all__ = ["SHORT", "TEMPLATES", "documents_of", "fresh"]

_K = DocumentKind
TEMPLATES: Mapping[DocumentKind, str] = MappingProxyType(
    {
        _K.S0: "S0-principles.md",
        _K.S1: "S1-requirements.md",
        _K.S2: "S2-scope.md",
        _K.S3: "S3-ethical-review.md",
        _K.S4: "S4-impacts.md",
        _K.M1: "M1-stakeholders.md",
        _K.M2: "M2-system.md",
        _K.M3: "M3-earlier-files.md",
        _K.M4: "M4-field-study.md",
        _K.M5: "M5-failures.md",
        _K.C1: "C1-checklist.md",
        _K.C2: "C2-model-card.md",
        _K.C3: "C3-datasheet.md",
        _K.C4: "C4-artifacts.md",
        _K.T1: "T1-review.md",
        _K.T2: "T2-testing.md",
        _K.T3: "T3-risk-chart.md",
        _K.R1: "R1-failures.md",
        _K.R2: "R2-mitigation.md",
        _K.R3: "R3-history.md",
        _K.R4: "R4-summary.md",
        _K.P1: "P1-decision.md",
        _K.P2: "P2-tracking.md",
    }
)
"""The documents and their file names, here and in an audit's folder."""

SHORT: tuple[DocumentKind, ...] = (_K.S0, _K.S2, _K.C1, _K.T2, _K.R4)
"""The documents of an audit of scale short."""


def documents_of(scale: Scale) -> tuple[DocumentKind, ...]:
    """The documents an audit of this scale has, in order."""
    return SHORT if scale is Scale.SHORT else tuple(DocumentKind)


def fresh(kind: DocumentKind, facts: Mapping[str, str], scale: Scale = Scale.SHORT) -> Document:
    """The document `kind` of a new audit, from its template.

    facts: audit, bundle, model, auditor, objective, started; put in as text, never as YAML.
    """
    folder = resources.files("dutchdoor.audit").joinpath("templates")
    path = folder.joinpath("full", TEMPLATES[kind])
    if kind in SHORT and (scale is Scale.SHORT or not path.is_file()):
        path = folder.joinpath(TEMPLATES[kind])
    template = Document.decode(path.read_bytes(), where=TEMPLATES[kind])
    row = SPECIFICATIONS[kind]
    head: dict[str, Any] = {
        "document": str(kind),
        "title": row.title,
        "stage": str(row.stage),
        "written_by": str(row.producer),
        "audit": facts["audit"],
        "bundle": facts["bundle"],
        "model": facts["model"],
        "auditor": facts["auditor"],
    }
    if scale is Scale.FULL:
        head |= {"sensitivity": "internal", "effort_minutes": 0, "dissent": []}
    front = {key: _put(value, facts) for key, value in template.front.items()}
    return Document({**head, **front}, Template(template.body).substitute(facts))


def _put(value: Any, facts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).substitute(facts)
    if isinstance(value, list):
        return [_put(item, facts) for item in value]
    if isinstance(value, dict):
        return {key: _put(item, facts) for key, item in value.items()}
    return value
