"""The auditor's view: the one part of the summary report that no program can write."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.audit.checks import PLACEHOLDER
from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.service import Audit
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Invalid, Refused

__all__ = ["VIEW_BYTES_MAX", "write_view"]

VIEW_BYTES_MAX = 20_000


def write_view(audit: Audit, text: str) -> Path:
    """Put the auditor's view into R4, which must then be signed (again); the file.

    Raises Invalid: the view is empty or too long. Raises Refused: the audit is completed.
    """
    view = _checked(text)
    if audit.summary() is not None:
        message = f"{audit.subject.audit} is completed and closed"
        raise Refused(message, code="audit_completed", hint="start another audit")
    path = audit.path / TEMPLATES[DocumentKind.R4]
    write_document(path, read_document(path).with_front(view=view))
    return path


def _checked(text: str) -> str:
    view = text.strip()
    hint = "say in your own words what the figures mean for the objective"
    if not view or PLACEHOLDER.search(view):
        raise Invalid("the view says nothing", code="no_view", hint=hint)
    try:
        size = len(view.encode())
    except UnicodeEncodeError as error:
        raise Invalid("the view is not UTF-8", code="no_view", hint=hint) from error
    if size > VIEW_BYTES_MAX:
        message = f"the view is longer than {VIEW_BYTES_MAX} bytes"
        raise Invalid(message, code="view_too_long", hint="put the details into another document")
    return view
