"""Profiles from YAML: those that ship, and those that a workspace adds in `profiles/`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.errors import Invalid
from dutchdoor.evidence.terms import OutsideTerms
from dutchdoor.release.plain import CONTACT_ROLES, DUTIES
from dutchdoor.release.profiles.model import Profile, RequiredApproval

__all__ = ["choose", "load_profiles", "read_profile"]

PROFILES_MAX = 100
_FIELDS = {
    "profile",
    "title",
    "what",
    "approvals",
    "conditions",
    "contacts",
    "review_days_max",
}


def load_profiles(folder: Path | None = None) -> dict[str, Profile]:
    """All profiles by name: those that ship and those in `folder`, where there is one.

    Raises Invalid: a file is none, or takes the name of a profile that ships.
    """
    shipped = resources.files("dutchdoor.release.profiles")
    found = {}
    for file in sorted(shipped.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            profile = read_profile(file.read_text(encoding="utf-8"), where=file.name)
            found[profile.name] = profile
    for path in sorted(folder.glob("*.yaml")) if folder else ():
        profile = read_profile(_read(path), where=path.name)
        if profile.name in found or len(found) >= PROFILES_MAX:
            raise _bad(path.name, f"there is a profile '{profile.name}' already", "rename it")
        found[profile.name] = profile
    return found


def choose(profiles: Mapping[str, Profile], name: str) -> Profile:
    """The profile of that name. Raises Invalid: there is none; the hint lists those there are."""
    if name not in profiles:
        hint = "known: " + ", ".join(profiles)
        raise Invalid(f"no deployment profile '{name}'", code="unknown_profile", hint=hint)
    return profiles[name]


def read_profile(text: str, *, where: str) -> Profile:
    """The profile of a YAML text (unverified). Raises Invalid: it is none."""
    value = read_yaml(text, where=where)
    if not isinstance(value, dict) or set(value) - _FIELDS:
        raise _bad(where, "its fields are unknown", "fields: " + ", ".join(sorted(_FIELDS)))
    days = value.get("review_days_max", 0)
    if isinstance(days, bool) or not isinstance(days, int) or days < 0:
        raise _bad(where, "'review_days_max' is no whole number", "0: no review is demanded")
    return Profile(
        name=_text(value, "profile", where),
        title=_text(value, "title", where),
        what=_text(value, "what", where),
        approvals=tuple(
            RequiredApproval(_duty(row, where, DUTIES[1:]), _text(row, "text", where))
            for row in _rows(value, "approvals", {"duty", "text"}, where)
        ),
        conditions=tuple(
            OutsideTerms(_text(row, "by", where), "condition", _text(row, "text", where))
            for row in _rows(value, "conditions", {"by", "text"}, where)
        ),
        contacts=tuple(_roles(value, where)),
        review_days_max=days,
    )


def _rows(value: dict[str, Any], name: str, fields: set[str], where: str) -> list[dict[str, Any]]:
    rows = value.get(name) or []
    if not isinstance(rows, list) or any(
        not isinstance(row, dict) or set(row) != fields for row in rows
    ):
        hint = "each row has " + " and ".join(sorted(fields))
        raise _bad(where, f"'{name}' is no list of rows", hint)
    return rows


def _duty(row: dict[str, Any], where: str, known: tuple[str, ...]) -> str:
    if row["duty"] not in known:
        raise _bad(where, f"'{row['duty']}' is no approval", "known: " + ", ".join(known))
    return str(row["duty"])


def _roles(value: dict[str, Any], where: str) -> list[str]:
    roles = value.get("contacts") or []
    if not isinstance(roles, list) or any(role not in CONTACT_ROLES for role in roles):
        raise _bad(where, "'contacts' is no list of roles", "known: " + ", ".join(CONTACT_ROLES))
    return roles


def _text(row: dict[str, Any], name: str, where: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise _bad(
            where, f"'{name}' is no text", "write it, in quotes where it looks like a number"
        )
    return text.strip()


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path.name, "it cannot be read", "it is a text of UTF-8") from error
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _bad(path.name, "it is too large", f"at most {DOCUMENT_BYTES_MAX} bytes")
    return text


def _bad(where: str, why: str, hint: str) -> Invalid:
    return Invalid(f"profile {where}: {why}", code="bad_profile", hint=hint)
