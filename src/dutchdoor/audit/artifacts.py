"""What should have come with a model, what did, and what is missing: rows of the checklist C1.

A sealed bundle tells nobody the names of its files, so the plain ones are listed when it is sealed.
That they are the ones that were sealed is the word of whoever sealed. They have no digests: one
of the plaintext would let anybody who has a copy recognise what the bundle hides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid

__all__ = [
    "Artifact",
    "BundleFacts",
    "BundleFile",
    "artifacts_of",
    "read_artifacts",
]


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle.

    path: relative, with `/`. size: bytes. digest: of a sealed file, `sha256:` and 64 hexadecimal
    digits; "" for a plain one.
    """

    path: str
    size: int
    digest: str = ""


@dataclass(frozen=True)
class BundleFacts:
    """What is known of a bundle.

    bundle: its digest. files: the plain files it was sealed from. sealed: its sealed files, whose
    names tell nothing, as its manifest names them. guard_rules: version of the text rules in use.
    """

    bundle: str
    model: str
    files: tuple[BundleFile, ...]
    sealed: tuple[BundleFile, ...] = ()
    guard_rules: str = ""


@dataclass(frozen=True)
class Artifact:
    """One row: what is expected, whether it must be there, where it was found, and the gap."""

    name: str
    required: bool
    files: tuple[str, ...]
    digests: tuple[str, ...]
    gap: str = ""

    @property
    def present(self) -> bool:
        return bool(self.files)

    def to_body(self) -> dict[str, Any]:
        """Canonical values, for front matter."""
        return {
            "name": self.name,
            "required": self.required,
            "present": self.present,
            "files": list(self.files),
            "digests": list(self.digests),
            "gap": self.gap,
        }


@dataclass(frozen=True)
class _Expected:
    name: str
    required: bool
    names: tuple[str, ...]
    gap: str


_EXPECTED = (
    _Expected("weights", True, (".safetensors",), "without weights there is nothing to audit"),
    _Expected("configuration", True, ("config.json",), "the architecture is not fixed"),
    _Expected(
        "tokenizer",
        True,
        ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"),
        "what text becomes is not fixed",
    ),
    _Expected(
        "chat template",
        True,
        ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"),
        "how a conversation becomes text is not fixed",
    ),
    _Expected(
        "generation settings",
        False,
        ("generation_config.json",),
        "the defaults of the server apply",
    ),
    _Expected(
        "model card",
        False,
        ("readme.md", "model_card.md", "modelcard.md"),
        "intended use, limits and earlier evaluations are not documented by the maker",
    ),
    _Expected(
        "datasheet",
        False,
        ("datasheet.md", "data_card.md"),
        "what the model was trained on cannot be checked here",
    ),
    _Expected(
        "licence",
        False,
        ("license", "license.md", "license.txt", "licence"),
        "under which terms the weights may be used is not documented",
    ),
)


def artifacts_of(facts: BundleFacts, notes: Mapping[str, str]) -> tuple[Artifact, ...]:
    """The checklist's rows for a bundle.

    notes: gap notes that people wrote before, by artifact; they are kept.
    """
    rows = []
    for expected in _EXPECTED:
        found = [file for file in facts.files if _matches(file.path, expected.names)]
        gap = "" if found else notes.get(expected.name, "") or expected.gap
        rows.append(
            Artifact(
                name=expected.name,
                required=expected.required,
                files=tuple(file.path for file in found),
                digests=tuple(file.digest for file in found if file.digest),
                gap=gap,
            )
        )
    sealed = Artifact(
        name="sealed files",
        required=True,
        files=tuple(file.path for file in facts.sealed),
        digests=tuple(file.digest for file in facts.sealed),
        gap="" if facts.sealed else notes.get("sealed files", "") or "the manifest was not read",
    )
    rows.append(sealed)
    rules = (facts.guard_rules,) if facts.guard_rules else ()
    gap = "" if rules else notes.get("guard rules", "") or "no text rules are configured"
    rows.append(Artifact("guard rules", False, rules, (), gap))
    return tuple(rows)


def read_artifacts(rows: Iterable[Any]) -> tuple[Artifact, ...]:
    """The rows of C1's front matter. Raises Invalid: a row of another shape."""
    result = []
    for row in rows:
        try:
            artifact = Artifact(
                name=str(row["name"]),
                required=row["required"] is True,
                files=tuple(str(item) for item in row["files"]),
                digests=tuple(str(item) for item in row["digests"]),
                gap=str(row["gap"] or ""),
            )
        except (KeyError, TypeError) as error:
            raise Invalid("a row of the checklist is not in form", code="bad_document") from error
        result.append(artifact)
    return tuple(result)


def _matches(path: str, names: tuple[str, ...]) -> bool:
    name = path.rsplit("/", 1)[-1].casefold()
    return any(name.endswith(known) if known.startswith(".") else name == known for known in names)
