"""One sealed bundle for all tests of this room; who harms it takes a copy."""

from __future__ import annotations

import pytest

from tests.weights.parts import Sealed, plain_files, seal


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """A bundle of eight files: weights of three slots, small ones, an empty one."""
    return seal(tmp_path_factory.mktemp("sealed"), plain_files())


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """The same files with little weight: for attacks that are tried many times."""
    return seal(tmp_path_factory.mktemp("small"), plain_files(weight_bytes=6000))
