"""The worked example is what its script makes, and its worksheet is complete."""

from __future__ import annotations

import shutil
from pathlib import Path

from docs.examples.risk import EXAMPLE, make
from dutchdoor import canonical


def test_the_worked_example_is_what_its_script_makes(tmp_path: Path) -> None:
    for name in ("assumptions.yaml", "worksheet.md"):
        shutil.copyfile(EXAMPLE / name, tmp_path / name)
    made = make(tmp_path)
    kept = canonical.parse((EXAMPLE / "estimate.json").read_bytes())
    # Digests of the example audit move whenever it is signed anew; what follows from figures not.
    still = {name: value for name, value in made.body.items() if name != "rests_on"}
    assert {name: value for name, value in kept.items() if name != "rests_on"} == still
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        path.name for path in EXAMPLE.iterdir() if path.name != "README.md"
    )
