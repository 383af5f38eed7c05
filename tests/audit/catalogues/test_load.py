"""Catalogues: an id means one thing, a workspace adds and never replaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from dutchdoor.audit.catalogues.load import CATALOGUES_MAX, CatalogueKind, load
from dutchdoor.errors import Invalid

OWN = """\
catalogue: hospital
title: Harms of our wards
kind: harms
source: our ethics board
status: own
entries:
  - {id: wrong-dose, name: Wrong dose, text: Somebody is given the wrong dose.}
"""


def test_the_packaged_catalogues_are_there_and_say_where_their_words_are_from() -> None:
    every = load()
    by_name = {row.name: row for row in every.all}
    assert {"extreme-risk", "ailuminate", "nist-genai", "eu-systemic-risks"} <= set(by_name)
    assert len(by_name["ailuminate"].entries) == 12
    assert len(by_name["nist-genai"].entries) == 12
    for name in ("ailuminate", "nist-genai", "eu-systemic-risks"):
        assert by_name[name].status == "template"
        assert "from memory" in by_name[name].source.replace("\n", " ")
    assert by_name["extreme-risk"].status == "quoted"
    found = every.harm("extreme-risk")
    assert "significant physical harm or disruption to key societal functions" in found.text


def test_an_unknown_id_is_refused_and_spaces_count_as_hyphens() -> None:
    known = load()
    assert known.harm("malicious use") == known.harm("malicious-use")
    for cited in ("no such harm", "", "malicious"):
        with pytest.raises(Invalid) as caught:
            known.harm(cited)
        assert caught.value.code == "not_in_catalogue"
    # A harm is no principle, even where it is known.
    with pytest.raises(Invalid):
        known.principle("malicious-use")


def test_a_workspace_adds_its_own(tmp_path: Path) -> None:
    (tmp_path / "hospital.yaml").write_text(OWN)
    assert load(tmp_path).harm("wrong-dose").name == "Wrong dose"
    assert load(tmp_path / "nowhere").find(CatalogueKind.HARMS, "extreme-risk")
    with pytest.raises(Invalid):
        load().harm("wrong-dose")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("wrong-dose", "extreme-risk"),  # another meaning for a known id
        ("id: wrong-dose", "id: Wrong Dose"),
        ("kind: harms", "kind: virtues"),
        ("status: own", "status: official"),
        ("source: our ethics board", "source: ''"),
        ("title: Harms of our wards\n", ""),
        (", text: Somebody is given the wrong dose.", ""),
        ("catalogue: hospital", "catalogue: &a hospital\nmore: *a"),
        ("entries:", "entries: []\nrest:"),
    ],
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in OWN
    (tmp_path / "own.yaml").write_text(OWN.replace(old, new))
    with pytest.raises(Invalid):
        load(tmp_path)


def test_bytes_and_numbers_of_catalogues_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid):
        load(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"a: " + b"x" * (1 << 20))
    with pytest.raises(Invalid):
        load(tmp_path)
    for number in range(CATALOGUES_MAX + 1):
        (tmp_path / f"{number}.yaml").write_text("")
    with pytest.raises(Invalid) as caught:
        load(tmp_path)
    assert caught.value.code == "too_many_catalogues"
