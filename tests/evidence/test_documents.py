"""The pages about the log say what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dutchdoor.evidence.journal import FRAME_ENTRIES_MAX, SEGMENT_ENTRIES
from dutchdoor.evidence.model import ENTRY_BYTES_MAX
from dutchdoor.evidence.verify.history import FIELDS
from tests.evidence.parts import small

ROOT = Path(__file__).parents[2]
VECTORS = Path(__file__).parent / "vectors"


def test_the_reference_names_each_kind_and_each_field() -> None:
    page = (ROOT / "docs" / "reference" / "entries.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE))
    assert rows.keys() == FIELDS.keys()
    for kind, cell in rows.items():
        # Fields of an inner object, {so}, belong to that object.
        names = re.findall(r"`(\w+)`", re.sub(r"\{[^}]*\}", "", cell))
        assert names == list(FIELDS[kind]), kind


def test_the_specification_shows_true_bytes_and_true_limits() -> None:
    page = (ROOT / "docs" / "spec" / "evidence-log.md").read_text()
    formats = json.loads((VECTORS / "formats.json").read_text())
    assert bytes.fromhex(formats["checkpoint"]).decode() in page
    assert small(2).encode().decode() in page
    for limit in (FRAME_ENTRIES_MAX, SEGMENT_ENTRIES, ENTRY_BYTES_MAX):
        assert f"{limit:,}" in page
