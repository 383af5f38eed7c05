"""The terms that `dutchdoor release propose` starts from: files and options of the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.terms import StageTerms, Terms
from dutchdoor.release.plain import read_terms

__all__ = ["terms_of"]


def terms_of(
    terms: Path | None,
    components: Path | None,
    *,
    here: StageTerms,
    profile: str = "",
    review_by: str = "",
) -> Terms:
    """The terms in a file of terms, with the options taking the place of what it says.

    components: a file with a list of rows, or with such a list under `components`.
    Raises NotFound: a file cannot be read. Raises Invalid: it states no terms.
    """
    value: Any = _yaml(terms) if terms else {}
    if isinstance(value, dict) and set(value) == {"terms"}:
        value = value["terms"]
    found = read_terms({} if value is None else value, here=here)
    if components:
        rows = _yaml(components)
        named = rows if isinstance(rows, dict) else {"components": rows}
        found = replace(found, components=read_terms(named).components)
    options = read_terms({"profile": profile, "review_by": review_by})
    return replace(
        found,
        profile=options.profile or found.profile,
        review_by_ms=options.review_by_ms or found.review_by_ms,
    )


def _yaml(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise NotFound(message, code="no_file", hint="name a YAML file") from error
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8", code="bad_terms", hint="save it as UTF-8") from error
    if len(data) > DOCUMENT_BYTES_MAX:
        message = f"{path} is larger than {DOCUMENT_BYTES_MAX} bytes"
        raise Invalid(message, code="bad_terms", hint="keep it short")
    return read_yaml(text, where=path.name)
