"""The reference says what the source does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    return runpy.run_path(str(REFERENCE / "build.py"))


def test_openapi_is_current(build: dict[str, Any]) -> None:
    current = build["openapi_text"]()
    hint = "run python docs/reference/build.py"
    assert (REFERENCE / "openapi.json").read_text() == current, hint


def test_every_code_in_the_source_is_explained() -> None:
    page = (REFERENCE / "errors.md").read_text()
    listed = set(re.findall(r"`([a-z][a-z0-9_]*)`", page))
    missing = {}
    for path in sorted((ROOT / "src" / "dutchdoor").rglob("*.py")):
        for code in re.findall(r'\bcode="([a-z][a-z0-9_]*)"', path.read_text()):
            if code not in listed:
                missing[code] = str(path.relative_to(ROOT))
    assert not missing, f"run python docs/reference/build.py: {missing}"
