"""What no test is about: principles, harms, groups of people, failures; and whom nobody asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor.audit.catalogues.load import plain_id
from dutchdoor.audit.documents.reading import front_of, impacts, rows, trials
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind

__all__ = ["Coverage", "Covered", "coverage"]

_K = DocumentKind


@dataclass(frozen=True)
class Covered:
    """One thing that may be tested, and the tests that are about it."""

    id: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """What is tested and what is not.

    stakeholders: ids of M1 with the dates of their interviews in place of tests.
    """

    principles: tuple[Covered, ...]
    harms: tuple[Covered, ...]
    groups: tuple[Covered, ...]
    failures: tuple[Covered, ...]
    stakeholders: tuple[Covered, ...]

    def gaps(self) -> dict[str, tuple[str, ...]]:
        """The ids without any test (or interview), by what they are."""
        return {
            name: tuple(row.id for row in group if not row.tests)
            for name, group in vars(self).items()
        }


def coverage(folder: AuditFolder) -> Coverage:
    """Coverage by the documents as they are now. A test that was never tried covers nothing.

    Raises Invalid: a test names an evaluation that was not run.
    """
    seen = {kind: front_of(folder, kind) for kind in (_K.S0, _K.S2, _K.S4, _K.M1, _K.M4, _K.M5)}
    ran = [test for test in trials(front_of(folder, _K.T2)) if test.tried > 0]
    all_impacts = impacts(seen[_K.S4])
    group_of = {row.id: row.group for row in all_impacts}
    by_principle = _by((test.principle, test.id) for test in ran)
    by_harm = _by((plain_id(test.harm), test.id) for test in ran)
    by_group = _by((group_of.get(test.impact, ""), test.id) for test in ran)
    by_failure = _by((test.failure, test.id) for test in ran)
    asked = _by(
        (str(row.get("stakeholder")), str(row.get("date")))
        for row in rows(seen[_K.M4], "interviews")
    )
    harms = [
        *_texts(seen[_K.S2], "harms"),
        *(row.harm for row in all_impacts if row.is_harm),
        *(str(row.get("harm")) for row in rows(seen[_K.M5], "failures")),
    ]
    return Coverage(
        principles=_covered(
            (str(r.get("id")) for r in rows(seen[_K.S0], "principles")), by_principle
        ),
        harms=_covered((plain_id(harm) for harm in harms), by_harm),
        groups=_covered((row.group for row in all_impacts if row.is_harm), by_group),
        failures=_covered((str(r.get("id")) for r in rows(seen[_K.M5], "failures")), by_failure),
        stakeholders=_covered((str(r.get("id")) for r in rows(seen[_K.M1], "stakeholders")), asked),
    )


def _by(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _covered(ids: Iterable[str], by: Mapping[str, list[str]]) -> tuple[Covered, ...]:
    return tuple(Covered(name, tuple(by.get(name, ()))) for name in dict.fromkeys(ids))


def _texts(front: Mapping[str, Any], name: str) -> list[str]:
    value = front.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
