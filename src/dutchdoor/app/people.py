"""People of a workspace, as the command line and the demo speak of them."""

from __future__ import annotations

from dutchdoor.access.model import Person
from dutchdoor.app.workspace import Workspace
from dutchdoor.errors import Invalid, NotFound

__all__ = ["ensure_person"]


def ensure_person(
    workspace: Workspace, name: str, audience: str, organisation: str = "not stated"
) -> Person:
    """The person of this name, added where there is none.

    Raises Invalid: somebody of that name is in another audience.
    """
    try:
        person = workspace.access.find_person(name)
    except NotFound:
        return workspace.access.add_person(name, organisation, audience, record=workspace.record)
    if person.audience != audience:
        message = f"{name} is in audience '{person.audience}', not '{audience}'"
        hint = f"add another person: dutchdoor people add NAME --audience {audience}"
        raise Invalid(message, code="other_audience", hint=hint)
    return person
