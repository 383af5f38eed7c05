"""Gives the guard's data to others: its rules, its labelled prompts, and their data card.

Nothing of what people asked is in it: the log holds commitments and verdicts, not texts.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import digest_of, write_bytes
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.guard.rules import RuleSet
from dutchdoor.guard.starter import starter_digest, starter_set

__all__ = ["INDEX_NAME", "export_moderation", "read_export"]

INDEX_NAME = "index.json"
_BYTES_MAX = 64 << 20


def export_moderation(folder: Path, rules: RuleSet) -> dict[str, Any]:
    """Write rules, prompts and data card into the new or empty `folder`; gives its index.

    Raises Refused: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder.name} is not an empty folder"
        raise Refused(message, code="export_not_empty", hint="name a new folder")
    prompts = "".join(
        json.dumps(vars(row), ensure_ascii=False, sort_keys=True) + "\n" for row in starter_set()
    )
    lines = [
        {
            "id": rule.id,
            "category": rule.category,
            "action": str(rule.action),
            "side": str(rule.side),
            "literal": rule.literal,
            "regex": rule.regex,
            "note": rule.note,
        }
        for rule in rules.rules
    ]
    written = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in lines)
    card = resources.files("dutchdoor.guard").joinpath("starter", "DATA_CARD.md").read_bytes()
    files = {
        "prompts.jsonl": prompts.encode(),
        "rules.jsonl": written.encode(),
        "DATA_CARD.md": card,
    }
    for name, data in files.items():
        write_bytes(folder / name, data)
    index = {
        "v": 1,
        "rules": rules.version,
        "prompts": starter_digest(),
        "files": [{"file": name, "digest": digest_of(folder / name)} for name in sorted(files)],
    }
    write_bytes(folder / INDEX_NAME, canonical.encode(index))
    return index


def read_export(folder: Path) -> dict[str, Any]:
    """The index of an export, every file as it says.

    Raises NotFound: no export. Raises Invalid: no index. Raises Tampered: a file was changed.
    """
    try:
        with (folder / INDEX_NAME).open("rb") as file:
            index = canonical.parse(file.read(_BYTES_MAX))
    except OSError as error:
        hint = "dutchdoor release moderation DIR"
        raise NotFound("nothing is exported there", code="no_export", hint=hint) from error
    try:
        found = {str(row["file"]): row["digest"] for row in index["files"]}
        texts = (index["rules"], index["prompts"])
    except (KeyError, TypeError) as error:
        raise Invalid("not the index of an export", code="bad_export") from error
    for name, digest in found.items():
        path = folder / Path(name).name
        if not path.is_file() or digest_of(path) != digest:
            message = f"{name} is not what the export's index says"
            raise Tampered(message, code="export_changed", where=name)
    assert len(texts) == 2, "an index names rules and prompts"
    return dict(index)
