"""`assumptions.yaml`: everything a person assumes, read with distrust, all mistakes at once.

Each figure has a value, what it means in plain words, and a source or `assumed`. Nothing that
moves the result stands anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import parse_distribution
from dutchdoor.release.risk.model import (
    LEVELS,
    WEIGHTS_LEAVE,
    Assumption,
    Assumptions,
    Benefit,
    Settings,
    Threat,
    ThreatKind,
    WhatIf,
)

__all__ = ["ASSUMPTIONS_NAME", "fresh_assumptions", "load_assumptions", "read_assumptions"]

ASSUMPTIONS_NAME = "assumptions.yaml"
ROWS_MAX = 24
SAMPLES = range(200, 100_001)
YEARS = range(1, 51)
PROBLEMS_SHOWN_MAX = 8

_THREAT = {
    "attempts_a_year": False,
    "success_without": True,
    "uplift": True,
    "harm_each": False,
}
_BENEFIT = {"value_a_year": False, "not_elsewhere": True}
_GROUPS = {
    "safeguards": {
        "held_back": True,
        "refusal": True,
        "remaining": True,
        "adaptive": True,
        "modify": True,
        "flaws_fixed": True,
        "copies_fixed": True,
    },
    "people": {"operators": False},
    "leak": {
        "operator_rate": False,
        "hosts": False,
        "host_rate": False,
        "custodian_rate": False,
        "common_cause": True,
        "keyring_rate": False,
        "copies_unknown": False,
        "copy_reach": True,
        "attack_rate": False,
        "notice_days": False,
        "reupload_rate": False,
        "reach_attackers": True,
        "reach_users": True,
    },
}
"""Name of each figure, and whether it is a share (within 0 and 1)."""
_BY_LEVEL = {
    "reach": {"attackers": (LEVELS, True), "users": (LEVELS, True)},
    "people": {
        "added": (LEVELS, False),
        "downloads_added": (tuple(row for row in LEVELS if row in WEIGHTS_LEAVE), False),
    },
}
_CHANGES = {"threshold", "custodians", "keys_here", "people", "copies", "egress_bytes_day"}
_SETTINGS = {"seed", "samples", "years", "unit", "level", "deployed", "tail"}
_PARTS = {"settings", "threats", "benefits", "safeguards", "reach", "people", "leak", "what_if"}


class _Row(NamedTuple):
    """A row of threats or benefits as read: its texts, and what else it holds."""

    id: str
    front: Mapping[str, Any]


def fresh_assumptions() -> str:
    """The file to begin with: every figure, with its comment, made up and to be replaced."""
    template = resources.files("dutchdoor.release.risk").joinpath("templates", ASSUMPTIONS_NAME)
    return template.read_text(encoding="utf-8")


def load_assumptions(path: Path) -> Assumptions:
    """The assumptions in `path`. Raises NotFound: no such file. Raises as `read_assumptions`."""
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        hint = "begin with 'dutchdoor release estimate --new', then edit the file"
        message = f"there is no {path.name} yet"
        raise NotFound(message, code="no_assumptions", hint=hint) from error
    return read_assumptions(data, path.name)


def read_assumptions(data: bytes, where: str = ASSUMPTIONS_NAME) -> Assumptions:
    """The assumptions in `data` (unverified bytes).

    Raises Invalid: too large, not plain YAML, or with anything missing, unknown or out of bounds;
    the message lists what, by its place in the file.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise Invalid(f"{where} is too large", code="document_too_large")
    try:
        value = read_yaml(data.decode(), where=where, fenced=False)
    except UnicodeDecodeError as error:
        raise Invalid(f"{where} is not UTF-8", code="bad_document") from error
    reader = _Reader()
    found = reader.whole(value)
    if reader.problems or found is None:
        shown = [f"{where}: {row}" for row in reader.problems[:PROBLEMS_SHOWN_MAX]]
        more = len(reader.problems) - len(shown)
        message = "\n".join([*shown, *([f"and {more} more"] if more else [])])
        hint = "docs/concepts/risk.md explains each part of the file"
        raise Invalid(message, code="bad_assumptions", hint=hint)
    settings, threats, benefits, changes = found
    digest = "sha256:" + canonical.sha256_hex(data)
    return Assumptions(settings, threats, benefits, reader.figures, changes, digest)


class _Reader:
    """Reads on after a mistake, so that a person sees all of them at once."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.figures: dict[str, Assumption] = {}

    def whole(
        self, value: Any
    ) -> tuple[Settings, tuple[Threat, ...], tuple[Benefit, ...], tuple[WhatIf, ...]] | None:
        front = self._mapping(value, "the file", _PARTS)
        if front is None:
            return None
        settings = self._settings(front["settings"])
        threats = [self._threat(row) for row in self._rows(front["threats"], "threats")]
        benefits = [self._benefit(row) for row in self._rows(front["benefits"], "benefits")]
        for part in ("safeguards", "reach", "people", "leak"):
            names = {*_GROUPS.get(part, {}), *_BY_LEVEL.get(part, {})}
            group = self._mapping(front[part], part, names)
            if group is None:
                continue
            for name, share in _GROUPS.get(part, {}).items():
                self._figure(group[name], f"{part}.{name}", share=share)
            for name, (levels, share) in _BY_LEVEL.get(part, {}).items():
                self._levels(group[name], f"{part}.{name}", levels, share=share)
        changes = self._what_if(front["what_if"])
        if settings is None:
            return None
        return settings, tuple(filter(None, threats)), tuple(filter(None, benefits)), changes

    def _settings(self, value: Any) -> Settings | None:
        front = self._mapping(value, "settings", _SETTINGS)
        if front is None:
            return None
        before = len(self.problems)
        levels = {}
        for name in ("level", "deployed"):
            if front[name] in set(LEVELS):
                levels[name] = Level(front[name])
            else:
                self._say(f"settings.{name}: one of {', '.join(LEVELS)}")
        for name, bounds in (("seed", range(2**53)), ("samples", SAMPLES), ("years", YEARS)):
            if not _is_count(front[name]) or front[name] not in bounds:
                self._say(f"settings.{name}: a whole number, {bounds[0]} to {bounds[-1]}")
        if not _is_text(front["unit"]):
            self._say("settings.unit: say what risk and benefit are counted in")
        tail = self._tail(front["tail"])
        if len(self.problems) > before:
            return None
        return Settings(
            seed=front["seed"],
            samples=front["samples"],
            years=front["years"],
            unit=front["unit"].strip(),
            level=levels["level"],
            deployed=levels["deployed"],
            tail=tail,
        )

    def _tail(self, value: Any) -> float:
        try:
            tail = float(str(value))
        except ValueError:
            tail = 0.0
        if not 0.01 <= tail <= 0.5:
            self._say("settings.tail: a share, 0.01 to 0.5")
        return tail

    def _threat(self, row: _Row) -> Threat | None:
        front = self._mapping(row.front, f"threats.{row.id}", {*_THREAT, "id", *_THREAT_TEXTS})
        if front is None:
            return None
        self._figures(front, f"threats.{row.id}", _THREAT)
        if front["kind"] not in set(ThreatKind):
            self._say(f"threats.{row.id}.kind: one of {', '.join(ThreatKind)}")
            return None
        if not _is_text(front["title"]) or not isinstance(front["row"], str):
            self._say(f"threats.{row.id}: 'title' and 'row' are texts; 'row' may be ''")
            return None
        return Threat(row.id, ThreatKind(front["kind"]), front["title"], front["row"])

    def _benefit(self, row: _Row) -> Benefit | None:
        names = {*_BENEFIT, "id", "title", "reached"}
        front = self._mapping(row.front, f"benefits.{row.id}", names)
        if front is None:
            return None
        self._figures(front, f"benefits.{row.id}", _BENEFIT)
        self._levels(front["reached"], f"benefits.{row.id}.reached", LEVELS, share=True)
        if not _is_text(front["title"]):
            self._say(f"benefits.{row.id}.title: a text")
            return None
        return Benefit(row.id, front["title"])

    def _rows(self, value: Any, where: str) -> list[_Row]:
        if not isinstance(value, list) or not 0 < len(value) <= ROWS_MAX:
            self._say(f"{where}: a list of 1 to {ROWS_MAX} rows")
            return []
        found: dict[str, _Row] = {}
        for place, row in enumerate(value, 1):
            name = row.get("id") if isinstance(row, dict) else None
            if not _is_text(name) or not str(name).replace("-", "").isalnum():
                self._say(f"{where}, row {place}: 'id' is a word of letters, digits and '-'")
            elif name in found:
                self._say(f"{where}: '{name}' is there twice")
            else:
                found[str(name)] = _Row(str(name), row)
        return list(found.values())

    def _figures(self, front: Mapping[str, Any], where: str, names: Mapping[str, bool]) -> None:
        for name, share in names.items():
            self._figure(front[name], f"{where}.{name}", share=share)

    def _levels(self, value: Any, where: str, levels: Sequence[Level], *, share: bool) -> None:
        front = self._mapping(value, where, {str(level) for level in levels})
        for level in levels if front is not None else ():
            self._figure(value[str(level)], f"{where}.{level}", share=share)

    def _figure(self, value: Any, where: str, *, share: bool) -> None:
        front = self._mapping(value, where, {"value", "means", "source"})
        if front is None:
            return
        for name in ("means", "source"):
            if not _is_text(front[name]):
                self._say(f"{where}.{name}: a text; a source may be 'assumed'")
                return
        try:
            distribution = parse_distribution(str(front["value"]), share=share)
        except Invalid as error:
            self._say(f"{where}.value: {error.message}; {error.hint}")
            return
        text = " ".join(str(front["value"]).split())
        means, source = " ".join(front["means"].split()), " ".join(front["source"].split())
        self.figures[where] = Assumption(where, text, distribution, means, source)

    def _what_if(self, value: Any) -> tuple[WhatIf, ...]:
        if not isinstance(value, list) or len(value) > ROWS_MAX:
            self._say(f"what_if: a list of at most {ROWS_MAX} rows, or []")
            return ()
        found = []
        for place, row in enumerate(value, 1):
            front = self._mapping(row, f"what_if, row {place}", {"name", "custody"})
            if front is None:
                continue
            changes = front["custody"]
            known = isinstance(changes, dict) and changes and set(changes) <= _CHANGES
            if not _is_text(front["name"]) or not known:
                self._say(f"what_if, row {place}: a name, and of {', '.join(sorted(_CHANGES))}")
            elif not all(_is_count(count) for count in changes.values()):
                self._say(f"what_if, row {place}: whole numbers")
            else:
                found.append(WhatIf(front["name"], dict(changes)))
        return tuple(found)

    def _mapping(self, value: Any, where: str, names: set[str]) -> Mapping[str, Any] | None:
        if not isinstance(value, dict):
            self._say(f"{where}: needs {', '.join(sorted(names))}")
            return None
        missing, unknown = sorted(names - set(value)), sorted(set(value) - names)
        if missing:
            self._say(f"{where}: lacks {', '.join(missing)}")
        if unknown:
            self._say(f"{where}: unknown: {', '.join(unknown)}")
        return None if missing or unknown else value

    def _say(self, problem: str) -> None:
        self.problems.append(problem)


_THREAT_TEXTS = ("kind", "title", "row")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
