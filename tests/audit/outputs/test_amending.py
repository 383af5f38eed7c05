"""Only the curves that a testing report names are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor import canonical
from dutchdoor.audit.outputs.amending import COST_AXIS, read_curves
from dutchdoor.errors import Invalid, Tampered
from tests.audit.outputs.parts import AMEND
from tests.audit.parts import BUNDLE, OTHER_BUNDLE


def write(folder: Path) -> str:
    data = canonical.encode(AMEND)
    (folder / "amend.json").write_bytes(data)
    return "sha256:" + canonical.sha256_hex(data)


def test_what_is_done_and_what_it_costs_are_two_axes(tmp_path: Path) -> None:
    curves, remarks = read_curves(tmp_path, BUNDLE, write(tmp_path))
    assert [(row.behaviour, len(row.points)) for row in curves] == [
        ("refusal", 3),
        ("harmless refused", 3),
        ("refusal", 2),
    ]
    assert {row.name for row in curves} == {"organism, direct tuning"}
    assert [row.axis == COST_AXIS for row in curves] == [False, False, True]
    assert [point.at for point in curves[0].points] == [0, 4, 16]
    assert any("nothing to unlock" in remark for remark in remarks)


def test_without_a_test_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert read_curves(tmp_path, BUNDLE, "") == ((), ())


def test_figures_that_nobody_signed_for_are_not_drawn(tmp_path: Path) -> None:
    write(tmp_path)
    curves, (remark,) = read_curves(tmp_path, BUNDLE, "")
    assert curves == ()
    assert "does not name it" in remark


def test_another_test_than_the_one_named_is_noticed(tmp_path: Path) -> None:
    digest = write(tmp_path)
    with pytest.raises(Tampered):
        read_curves(tmp_path, OTHER_BUNDLE, digest)
    (tmp_path / "amend.json").write_bytes(canonical.encode({**AMEND, "model": "other"}))
    with pytest.raises(Tampered):
        read_curves(tmp_path, BUNDLE, digest)
    (tmp_path / "amend.json").unlink()
    with pytest.raises(Tampered):
        read_curves(tmp_path, BUNDLE, digest)


def test_what_is_not_in_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "amend.json").write_bytes(b"\xff")
    with pytest.raises(Invalid):
        read_curves(tmp_path, BUNDLE, "sha256:" + "0" * 64)
