"""Reads catalogues: those that are packaged, and a workspace's own beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.errors import Invalid

__all__ = ["CATALOGUES_MAX", "Catalogue", "CatalogueEntry", "CatalogueKind", "Catalogues", "load"]

CATALOGUES_MAX = 64
"""Files of a workspace's own that are read at most."""
_FIELDS = {"catalogue", "title", "kind", "source", "status", "entries"}
_STATUSES = ("quoted", "template", "own")


class CatalogueKind(StrEnum):
    """What a catalogue lists."""

    PRINCIPLES = "principles"
    HARMS = "harms"


class CatalogueEntry(NamedTuple):
    """One principle or harm."""

    id: str
    name: str
    text: str


@dataclass(frozen=True)
class Catalogue:
    """A list of principles or harms.

    status: quoted (read at its source), template (names from memory: no conformance), own.
    digest: of its file.
    """

    name: str
    title: str
    kind: CatalogueKind
    source: str
    status: str
    entries: tuple[CatalogueEntry, ...]
    digest: str


@dataclass(frozen=True)
class Catalogues:
    """All that may be cited, by id."""

    all: tuple[Catalogue, ...]
    _by_id: Mapping[tuple[CatalogueKind, str], CatalogueEntry] = field(default_factory=dict)

    def find(self, kind: CatalogueKind, cited: str) -> CatalogueEntry:
        """The entry that is cited. Raises Invalid: no catalogue has it."""
        found = self._by_id.get((kind, plain_id(cited)))
        if found is None:
            what = "principle" if kind is CatalogueKind.PRINCIPLES else "harm"
            message = f"no catalogue has the {what} '{cited}'"
            hint = "cite one that is there, or add yours to catalogues/ in the workspace"
            raise Invalid(message, code="not_in_catalogue", hint=hint)
        return found

    def principle(self, cited: str) -> CatalogueEntry:
        """The principle that is cited. Raises Invalid: no catalogue has it."""
        return self.find(CatalogueKind.PRINCIPLES, cited)

    def harm(self, cited: str) -> CatalogueEntry:
        """The harm that is cited. Raises Invalid: no catalogue has it."""
        return self.find(CatalogueKind.HARMS, cited)


def plain_id(cited: str) -> str:
    """An id as catalogues write it: lower case, hyphens for spaces."""
    return "-".join(cited.lower().split())


def load(own: Path | None = None) -> Catalogues:
    """The packaged catalogues and those in the folder `own`, if it is there.

    Raises Invalid: a file of `own` is no catalogue, there are too many, or an id is there twice.
    """
    found = list(_packaged())
    if own is not None and own.is_dir():
        paths = sorted(own.glob("*.yaml"))
        if len(paths) > CATALOGUES_MAX:
            message = f"more than {CATALOGUES_MAX} catalogues"
            raise Invalid(message, code="too_many_catalogues")
        found += [_read(path.read_bytes(), path.name) for path in paths]
    return _together(found)


@cache
def _packaged() -> tuple[Catalogue, ...]:
    """Those in the package; they do not change while the program runs."""
    folder = resources.files("dutchdoor.audit").joinpath("catalogues")
    paths = sorted(folder.iterdir(), key=lambda path: path.name)
    return tuple(
        _read(path.read_bytes(), path.name) for path in paths if path.name.endswith(".yaml")
    )


def _read(data: bytes, name: str) -> Catalogue:
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _bad(name, f"it is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        value = read_yaml(data.decode(), where=name)
    except UnicodeDecodeError as error:
        raise _bad(name, "it is not UTF-8") from error
    if not isinstance(value, dict) or set(value) != _FIELDS:
        raise _bad(name, "it has other fields than " + ", ".join(sorted(_FIELDS)))
    texts = {key: value[key] for key in _FIELDS - {"entries"}}
    if not all(isinstance(text, str) and text.strip() for text in texts.values()):
        raise _bad(name, "a field is empty or no text")
    if value["status"] not in _STATUSES or value["kind"] not in set(CatalogueKind):
        raise _bad(name, "its kind or its status is unknown")
    rows = value["entries"]
    if not isinstance(rows, list) or not rows:
        raise _bad(name, "it has no entries")
    return Catalogue(
        name=value["catalogue"],
        title=value["title"],
        kind=CatalogueKind(value["kind"]),
        source=value["source"],
        status=value["status"],
        entries=tuple(_entry(row, name) for row in rows),
        digest="sha256:" + canonical.sha256_hex(data),
    )


def _entry(row: Any, name: str) -> CatalogueEntry:
    if not isinstance(row, dict) or set(row) != set(CatalogueEntry._fields):
        raise _bad(name, "an entry has other fields than id, name, text")
    entry = CatalogueEntry(**row)
    if not all(isinstance(text, str) and text.strip() for text in entry):
        raise _bad(name, "an entry's field is empty or no text")
    if entry.id != plain_id(entry.id):
        raise _bad(name, f"the id '{entry.id}' is not lower case with hyphens")
    return entry


def _together(catalogues: Iterable[Catalogue]) -> Catalogues:
    found = tuple(catalogues)
    by_id: dict[tuple[CatalogueKind, str], CatalogueEntry] = {}
    for catalogue in found:
        for entry in catalogue.entries:
            # A second meaning for a known id would change what earlier findings said.
            if (catalogue.kind, entry.id) in by_id:
                raise _bad(catalogue.name, f"the id '{entry.id}' is taken")
            by_id[catalogue.kind, entry.id] = entry
    return Catalogues(found, by_id)


def _bad(name: str, why: str) -> Invalid:
    return Invalid(f"{name} is no catalogue: {why}", code="bad_catalogue")
