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
    # The documents of an example audit are reached from the README beside its folder.
    audits = {path.parent.resolve() for path in (DOCS / "examples").rglob("audit.yaml")}
    every = {path.resolve() for path in DOCS.rglob("*.md")}
    pages = {path for path in every if not audits & set(path.parents)}
    own = {(DOCS / "README.md").resolve()}
    assert not sorted(str(page.relative_to(DOCS)) for page in pages - linked - own)


def test_no_figure_in_the_documents_without_a_script() -> None:
    """README states no measured figure; those stand beside the script that measured them."""
    text = (ROOT / "README.md").read_text()
    assert not re.findall(r"\b\d+(?:\.\d+)?\s?(?:%|ms\b|GB/s)", text)


# A confidence level is no figure, and neither is a threshold's name. A decimal in a table's cell,
# a share, a rate of bytes, an area under a curve are.
FIGURE = re.compile(
    r"(?<![\d.])(?!95 %)\d+(?:[.,]\d+)?(?: to \d+)?\s?(?:%|[GM]B/s)"
    r"|AUROC\D{0,12}\d|\|\s*\d+(?:\.\d+|e-\d+)"
)


def unsourced(page: str) -> list[str]:
    """The figures of a page that does not name the command that measures them."""
    names = re.findall(r"python -m benchmarks\.(\w+)", page)
    if names and all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in names):
        return []
    return FIGURE.findall(page)


def test_a_figure_stands_beside_the_command_that_measures_it() -> None:
    pages = [*(DOCS / "concepts").glob("*.md"), *(DOCS / "security").glob("*.md")]
    found = {str(page.relative_to(DOCS)): unsourced(page.read_text()) for page in pages}
    assert not {name: figures for name, figures in found.items() if figures}


def test_the_check_sees_the_figures_that_once_stood_there_alone() -> None:
    for text in (
        "for 30 to 50 % more time",
        "| rows, N / h = 0.25 | no | 0.84 |",
        "| in bf16 | yes | 2e-3 |",
        "recall 65 % (60-70)",
        "AUROC 0.98 on it",
        "A quarter of h leaves 84 % error.",
        "81.5 % of them (`python -m benchmarks.no_such_script`)",
    ):
        assert unsourced(text), text
    for text in ("with 95 % intervals", "`fpr_0.01`", "every 50 ms", "| `fpr_0.05` | 5 in 100 |"):
        assert not unsourced(text), text


def test_the_guard_is_told_by_its_harshest_figure_and_not_better() -> None:
    for name in ("concepts/guard.md", "security/guard.md"):
        page = (DOCS / name).read_text()
        assert "mostly stopped" not in page, name
        harsh, mild = page.find("sources_left_out"), page.find("out_of_fold")
        assert harsh >= 0, name
        assert mild < 0 or harsh < mild, name
