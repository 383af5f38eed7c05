"""One fresh evidence folder a test, verified from its bytes by those that wrote honestly."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.clock import FixedClock
from tests.evidence.parts import BEGIN_MS, Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder in which no log was created yet."""
    return Workspace(tmp_path / "evidence", FixedClock(BEGIN_MS))
