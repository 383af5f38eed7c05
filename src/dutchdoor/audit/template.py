"""Templates in plain words, one a document, packaged beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from string import Template
from types import MappingProxyType
from typing import Any

from dutchdoor.audit.document import Document
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind

__all__ = ["TEMPLATES", "fresh"]

TEMPLATES: Mapping[DocumentKind, str] = MappingProxyType(
    {
        DocumentKind.S0: "S0-principles.md",
        DocumentKind.S2: "S2-scope.md",
        DocumentKind.C1: "C1-checklist.md",
        DocumentKind.T2: "T2-testing.md",
        DocumentKind.R4: "R4-summary.md",
    }
)
"""The documents of the first form and their file names, here and in an audit's folder."""


def fresh(kind: DocumentKind, facts: Mapping[str, str]) -> Document:
    """The document `kind` of a new audit, from its template.

    facts: audit, bundle, model, auditor, objective, started; put in as text, never as YAML.
    """
    data = resources.files("dutchdoor.audit").joinpath("templates", TEMPLATES[kind]).read_bytes()
    template = Document.decode(data, where=TEMPLATES[kind])
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
