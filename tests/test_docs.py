"""Documentation is under test: generated pages are current, and each thing has its place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from dutchdoor.evidence.model import EntryKind

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_generated_pages_are_what_the_program_says() -> None:
    ran = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_every_kind_of_entry_is_described() -> None:
    page = (DOCS / "reference" / "entries.md").read_text()
    missing = [str(kind) for kind in EntryKind if f"`{kind}`" not in page and kind not in page]
    assert not missing


def test_every_page_is_reachable_from_the_table_of_contents() -> None:
    linked = set()
    for page in (DOCS / "README.md", DOCS / "decisions" / "README.md", DOCS / "security/README.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            linked.add((page.parent / link).resolve())
    pages = {path.resolve() for path in DOCS.rglob("*.md")}
    own = {(DOCS / "README.md").resolve()}
    assert not sorted(str(page.relative_to(DOCS)) for page in pages - linked - own)


def test_no_figure_in_the_documents_without_a_script() -> None:
    """README states no measured figure; those stand beside the script that measured them."""
    text = (ROOT / "README.md").read_text()
    assert not re.findall(r"\b\d+(?:\.\d+)?\s?(?:%|ms|GB/s)\b", text)
