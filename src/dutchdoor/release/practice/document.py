"""practice.yaml: what the holder claims and declares; written once from a template, then edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import read_yaml, write_bytes
from dutchdoor.errors import Invalid, Refused
from dutchdoor.release.practice.model import RECOMMENDATIONS, Claim

__all__ = [
    "FILE_NAME",
    "POLICY_NAME",
    "Commitment",
    "Exclusion",
    "Practice",
    "inside",
    "read_practice",
    "write_templates",
]

FILE_NAME = "practice.yaml"
POLICY_NAME = "infohazard.md"
BYTES_MAX = 1 << 20
_FIELDS = {"holder", "items", "commitments", "training_data", "moderation", "infohazard_policy"}


@dataclass(frozen=True)
class Commitment:
    """Something promised in public: what, where one reads it, since when."""

    title: str
    where: str
    date: str


@dataclass(frozen=True)
class Exclusion:
    """A kind of data that the model was not trained on. match: words or digests that betray it."""

    name: str
    match: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Practice:
    """The file as it stands. Paths are inside the workspace, "" where there is none."""

    holder: str = ""
    claims: Mapping[str, tuple[Claim, str]] = field(default_factory=dict)
    commitments: tuple[Commitment, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    manifest: str = ""
    moderation: str = ""
    published: str = ""
    policy: str = ""

    def claim(self, name: str) -> tuple[Claim, str]:
        """What is claimed of a recommendation, and the words beside."""
        return self.claims.get(name, (Claim.OPEN, ""))

    @property
    def commitments_digest(self) -> str:
        """What a decision's `references` names to stand by exactly these commitments."""
        rows = [{"title": r.title, "where": r.where, "date": r.date} for r in self.commitments]
        return canonical.digest(rows)


def read_practice(folder: Path) -> Practice:
    """The practice that `folder` states; one that claims nothing where there is no file.

    Raises Invalid: a field is missing, unknown or of the wrong kind.
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except FileNotFoundError:
        return Practice()
    if len(data) > BYTES_MAX:
        raise _bad(f"it has more than {BYTES_MAX} bytes")
    try:
        value = read_yaml(data.decode(), where=FILE_NAME)
    except UnicodeDecodeError as error:
        raise _bad("it is not UTF-8") from error
    top = _fields(value, _FIELDS, "the file")
    training = _fields(top["training_data"], {"manifest", "exclusions"}, "training_data")
    moderation = _fields(top["moderation"], {"export", "published"}, "moderation")
    names = [row.name for row in RECOMMENDATIONS]
    items = _fields(top["items"], set(names), "items")
    return Practice(
        holder=_text(top["holder"], "holder"),
        claims={name: _claim(items[name], name) for name in names},
        commitments=tuple(
            _commitment(row, f"commitments[{place}]")
            for place, row in enumerate(_list(top["commitments"], "commitments"))
        ),
        exclusions=tuple(
            _exclusion(row, f"training_data.exclusions[{place}]")
            for place, row in enumerate(_list(training["exclusions"], "exclusions"))
        ),
        manifest=_path(training["manifest"], "manifest"),
        moderation=_path(moderation["export"], "export"),
        published=_text(moderation["published"], "published"),
        policy=_path(top["infohazard_policy"], "infohazard_policy"),
    )


def write_templates(folder: Path) -> tuple[str, ...]:
    """Write what is not there yet of practice.yaml and a policy to fill in; the names written."""
    written = []
    for name in (FILE_NAME, POLICY_NAME):
        if not (folder / name).exists():
            source = resources.files("dutchdoor.release.practice").joinpath("templates", name)
            write_bytes(folder / name, source.read_bytes())
            written.append(name)
    return tuple(written)


def inside(root: Path, name: str) -> Path:
    """The file or folder of that name in the workspace. Raises Refused: it leads out of it."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        message = f"'{name}' leads out of the workspace"
        raise Refused(message, code="outside_workspace", hint="name a path inside it")
    return path


def _claim(value: Any, name: str) -> tuple[Claim, str]:
    row = _fields(value, {"claim", "why"}, f"items.{name}")
    try:
        return Claim(row["claim"]), _text(row["why"], f"items.{name}.why")
    except ValueError as error:
        known = ", ".join(Claim)
        raise _bad(f"items.{name}.claim is none of {known}") from error


def _commitment(value: Any, at: str) -> Commitment:
    row = _fields(value, {"title", "where", "date"}, at)
    texts = [_text(row[name], f"{at}.{name}") for name in ("title", "where", "date")]
    if not all(text.strip() for text in texts):
        raise _bad(f"{at}: a commitment has a title, a place where it is read, and a date")
    return Commitment(*texts)


def _exclusion(value: Any, at: str) -> Exclusion:
    row = _fields(value, {"name", "match", "why"}, at)
    match = tuple(_text(word, f"{at}.match") for word in _list(row["match"], f"{at}.match"))
    if not match or not all(any(char.isalnum() for char in word) for word in match):
        raise _bad(f"{at}.match: an exclusion has words or digests to match")
    return Exclusion(_text(row["name"], f"{at}.name"), match, _text(row["why"], f"{at}.why"))


def _path(value: Any, name: str) -> str:
    text = _text(value, name)
    parts = PurePosixPath(text)
    if parts.is_absolute() or ".." in parts.parts:
        raise _bad(f"{name} is no path inside the workspace")
    return text


def _fields(value: Any, names: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise _bad(f"{where} needs exactly {', '.join(sorted(names))}")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _bad(f"{name} is no list")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _bad(f"{name} is no text: put it into quotes")
    return value


def _bad(reason: str) -> Invalid:
    hint = "docs/concepts/practice.md has the fields"
    return Invalid(f"{FILE_NAME}: {reason}", code="bad_practice", hint=hint)
