"""The Model Openness Framework's class of what a decision makes public."""

from __future__ import annotations

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.audit.outputs.mof_class import INSIDE, ClassResult, Licences, classify
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.terms import ComponentAccess

__all__ = ["class_of", "licences_of"]

_INSIDE = "inside:"


def class_of(decision: Decision) -> ClassResult:
    """The class of what the decision opens to everybody, by its components' licences."""
    return classify(licences_of(decision))


def licences_of(decision: Decision) -> Licences:
    """What the decision makes public, under which licences.

    The framework knows released or not: what is gated is not released here. A condition
    `inside: Model card` says that a component stands in another, where the framework allows it.
    """
    components: dict[str, str | None] = {}
    inside = {}
    for row in decision.terms.components:
        if row.access is not ComponentAccess.PUBLIC or row.name not in COMPONENTS:
            continue
        said = (text for text in row.conditions if text.casefold().startswith(_INSIDE))
        container = next(said, "")[len(_INSIDE) :].strip()
        if container in INSIDE.get(row.name, ()) and not row.licence:
            inside[row.name] = container
        else:
            components[row.name] = row.licence or None
    return Licences(components, inside=inside)
