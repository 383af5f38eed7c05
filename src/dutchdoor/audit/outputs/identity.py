"""Identifiers that follow from the audit, so that the same audit gives the same bytes."""

from __future__ import annotations

import uuid

from dutchdoor import canonical
from dutchdoor.audit.outputs.material import Material

__all__ = ["name_uuid"]


def name_uuid(material: Material, name: str) -> str:
    """A UUID for `name` in the outputs of this audit as it is, of version 5."""
    documents = [[str(row.kind), row.digest] for row in material.documents]
    summary = material.status.summary
    state = canonical.digest([material.audit, material.bundle, summary, documents])
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:dutchdoor:{state}:{name}"))
