"""The class of a release by the rules of the Model Openness Framework: pure, from a table.

1. Classes are cumulative: II asks for all of III, and I for all of both.
2. A class is met only in full; above a class that is not met, nothing counts.
3. A component counts if its licence is open. The licence is the component's own, else that for its
   type of content, else the distribution's, else there is none. One that is open and not meant for
   that type counts, with a warning.
4. The technical report may be left out if the research paper counts; the paper then stands in.
5. Evaluation results may stand in the report, the paper or the model card, and the data card in the
   model card. They count then as what they stand in does, and somebody must say so.

It is computed by our reading of these rules; nobody's conformity is claimed by it.
Source: White et al. 2024 (arXiv 2403.13784); the Model Openness Tool's evaluator and its README,
"Evaluation" (rules 4 and 5), at the state of May 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.audit.outputs.text import cleaned
from dutchdoor.errors import Invalid

__all__ = [
    "CLASS_NAMES",
    "INSIDE",
    "ClassResult",
    "Licences",
    "classify",
    "progress_text",
    "read_mof",
]

UNLICENSED = "unlicensed"
REPORT, PAPER, CARD = "Technical report", "Research paper", "Model card"
INSIDE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Evaluation results": frozenset({REPORT, PAPER, CARD}),
        "Data card": frozenset({CARD}),
    }
)
"""What may stand inside what."""

CLASS_NAMES: Mapping[int, str] = MappingProxyType(
    {
        0: "no class",
        3: "Class III, Open Model",
        2: "Class II, Open Tooling",
        1: "Class I, Open Science",
    }
)


@dataclass(frozen=True)
class Licences:
    """What is released, under which licences (SPDX ids).

    components: each released one with its own licence; None where it has none of its own, and
    `unlicensed` or "" where it is said to have none at all. by_type: for `code`, `data` and
    `document`. inside: what stands inside what, of INSIDE.
    """

    components: Mapping[str, str | None]
    by_type: Mapping[str, str] = field(default_factory=dict)
    distribution: str = ""
    inside: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The licence that holds for a component, or `unlicensed`."""
        own = self.components.get(name)
        if own is not None:
            return own or UNLICENSED
        return self.by_type.get(_types()[name]) or self.distribution or UNLICENSED


@dataclass(frozen=True)
class ClassResult:
    """The class, and why it is no better.

    number: 3, 2, 1, or 0 for none; 1 is the most open. counted, needed: required components by
    class, cumulative; counted is 0 above a class that is not met. missing: required ones not
    released. not_open: released under a licence that is not open, with it. unlicensed: under none.
    warned: open, and not meant for that type of content.
    """

    number: int
    counted: Mapping[int, int]
    needed: Mapping[int, int]
    missing: tuple[str, ...]
    not_open: Mapping[str, str]
    unlicensed: tuple[str, ...]
    warned: Mapping[str, str]

    @property
    def name(self) -> str:
        """The class in words."""
        return CLASS_NAMES[self.number]


def classify(release: Licences) -> ClassResult:
    """The class of `release` by the rules at the head of this file.

    Raises Invalid: a component that the framework does not know, or one inside another that it may
    not stand in.
    """
    _known(release)
    effective = _with_inside(release)
    good = {name for name in effective if _open(effective[name])}
    standing_in = REPORT not in good and PAPER in good
    counted, needed, reached, met = {}, {}, 0, True
    required: list[str] = []
    for row in _table()["classes"]:
        required += row["required"]
        # The paper stands in for the report, and counts once where it is required itself.
        asked = [name for name in required if not (standing_in and name == REPORT)]
        if standing_in and PAPER not in asked:
            asked.append(PAPER)
        number = row["class"]
        needed[number] = len(asked)
        counted[number] = sum(name in good for name in asked) if met else 0
        met = met and counted[number] == needed[number]
        reached = number if met else reached
    skipped = {REPORT} if standing_in else set()
    return ClassResult(
        number=reached,
        counted=counted,
        needed=needed,
        missing=tuple(n for n in required if n not in effective and n not in skipped),
        not_open={
            name: licence
            for name, licence in effective.items()
            if not _open(licence) and licence != UNLICENSED
        },
        unlicensed=tuple(name for name, row in effective.items() if row == UNLICENSED),
        warned={
            name: licence
            for name, licence in effective.items()
            if _open(licence) and licence not in _table()["appropriate"][_types()[name]]
        },
    )


def progress_text(result: ClassResult) -> str:
    """The class and the way to the next one, in a sentence."""
    for number in (3, 2, 1):
        if result.counted[number] < result.needed[number]:
            more = f"{result.counted[number]} of {result.needed[number]} components"
            return f"{result.name}; {more} of {CLASS_NAMES[number]}"
    return result.name


def read_mof(data: bytes) -> Licences:
    """What a file in the form of the framework's tool (unverified bytes) says is released.

    Raises Invalid: not plain YAML, too large, an unknown component, or not of that form.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _bad(f"the file is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        value = cleaned(read_yaml(data.decode(), where="the MOF file"))
        release = value["release"]
        licences = release.get("license") or {}
        components = {}
        for row in release["components"]:
            name = next(n for n in COMPONENTS if n.casefold() == row["name"].casefold())
            # An empty licence that is written out says "none"; one that is not there inherits.
            components[name] = None if row.get("license") is None else _text(row["license"])
        named = {kind: _text((licences.get(kind) or {}).get("name") or "") for kind in licences}
    except StopIteration as error:
        raise _bad("it names a component that the framework does not know") from error
    except (UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise _bad("it has not the form of the framework's tool") from error
    return Licences(components, named, named.get("distribution", ""))


def _known(release: Licences) -> None:
    unknown = (set(release.components) | set(release.inside)) - set(COMPONENTS)
    if unknown:
        raise _bad(f"no component '{min(unknown)[:64]}'")
    for name, container in release.inside.items():
        if container not in INSIDE.get(name, frozenset()):
            raise _bad(f"'{name}' may not stand inside '{container[:64]}'")


def _with_inside(release: Licences) -> dict[str, str]:
    """The licence of each component that is there, those inside others included (rule 5)."""
    found = {name: release.resolve(name) for name in release.components}
    for name, container in release.inside.items():
        if name not in found and container in found:
            found[name] = found[container]
    return {name: found[name] for name in COMPONENTS if name in found}


def _open(licence: str) -> bool:
    table = _table()
    return licence in table["open"] or any(licence in row for row in table["appropriate"].values())


def _types() -> Mapping[str, str]:
    rows: dict[str, str] = {}
    for row in _table()["classes"]:
        rows |= {**row["required"], **row["optional"]}
    return rows


@lru_cache(maxsize=1)
def _table() -> Any:
    path = resources.files("dutchdoor.audit.outputs").joinpath("mof_classes.yaml")
    return read_yaml(path.read_text(encoding="utf-8"), where=path.name)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _bad("a licence is no text")
    return value.strip()


def _bad(why: str) -> Invalid:
    hint = "the seventeen components are listed in docs/concepts/combinations.md"
    return Invalid(f"Model Openness Framework: {why}", code="bad_mof", hint=hint)
