"""Names of approvers by key id, for people to read; they prove nothing, a signature does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dutchdoor.audit.document import read_yaml, write_yaml
from dutchdoor.errors import Invalid

__all__ = ["Names"]

_NAME = "names.yaml"


class Names:
    """The names in the folder of all proposals. A file that cannot be read holds none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self) -> dict[str, str]:
        """All names, by key id."""
        try:
            text = (self._folder / _NAME).read_text(encoding="utf-8")
            value = read_yaml(text, where=_NAME)
        except (OSError, UnicodeDecodeError, Invalid):
            return {}
        rows = value if isinstance(value, dict) else {}
        return {str(key): str(name) for key, name in rows.items()}

    def learn(self, names: Mapping[str, str]) -> None:
        """Keep these too; a later name of a key takes the place of an earlier one."""
        if names:
            write_yaml(self._folder / _NAME, {**self.known(), **names})

    def of(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The names of these keys, sorted; the key id where there is none."""
        known = self.known()
        return tuple(sorted(known.get(key, key) for key in keys))
