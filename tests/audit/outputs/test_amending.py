"""amend.json is read as far as it goes, and what could not be read is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.audit.outputs.amending import COST_AXIS, read_curves
from dutchdoor.errors import Invalid
from tests.audit.outputs.parts import AMEND
from tests.audit.parts import BUNDLE, OTHER_BUNDLE

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["points", "x", "mean", "low", "high", "cost", "flops", "refusal"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def read(folder: Path, value: Any) -> Any:
    (folder / "amend.json").write_text(json.dumps(value))
    return read_curves(folder, BUNDLE)


def test_steps_and_cost_are_two_axes(tmp_path: Path) -> None:
    curves, remarks = read(tmp_path, AMEND)
    assert remarks == ()
    assert [(row.name, row.behaviour, row.axis, len(row.points)) for row in curves] == [
        ("tune, organism", "refusal", "steps of tuning", 3),
        ("tune, organism", "refusal", COST_AXIS, 2),
    ]


def test_a_flat_curve_is_read_too(tmp_path: Path) -> None:
    points = [{"at": at, "value": "0.5"} for at in (3, 1)]
    ((curve,), _) = read(tmp_path, {"curves": [{"name": "n", "axis": "bits", "points": points}]})
    assert [point.at for point in curve.points] == [1, 3]
    assert (curve.axis, curve.points[0].low, curve.points[0].high) == ("bits", 0.5, 0.5)


def test_what_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    bad = {"points": [{"x": 1, "refusal": {"mean": "much", "low": "0", "high": "1"}}]}
    curves, remarks = read(tmp_path, {"curves": [*AMEND["curves"], bad]})
    assert len(curves) == 2
    assert remarks == ("1 of 2 curves could not be drawn.",)


def test_nothing_to_unlock_is_said(tmp_path: Path) -> None:
    _, remarks = read(tmp_path, {"curves": [], "nothing_to_unlock": True})
    assert remarks[0].startswith("Nothing to unlock")


def test_another_bundles_curves_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="another bundle"):
        read(tmp_path, {**AMEND, "bundle": OTHER_BUNDLE})


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "amend.json").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="no JSON"):
        read_curves(tmp_path, BUNDLE)


@settings(max_examples=60, deadline=None)
@given(value=PLAIN)
def test_whatever_is_there_gives_curves_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    curves, _ = read(tmp_path_factory.mktemp("amend"), {"curves": value})
    assert all(point.low <= point.value <= point.high for row in curves for point in row.points)
