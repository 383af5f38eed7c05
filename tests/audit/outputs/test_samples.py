"""Random samples reach the safety report; words of harmful requests never do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dutchdoor import canonical
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.outputs.eu_safety_report import eu_safety_report
from dutchdoor.audit.outputs.material import gather
from dutchdoor.audit.outputs.samples import ShownSamples, read_samples
from dutchdoor.errors import Invalid, Tampered
from tests.audit.outputs.parts import finished
from tests.audit.parts import People, measured

HARM = "how exactly it is done"
HARMLESS, HARMFUL = "capability_short_answers", "refusal"


def sampled(name: str, folder: Path, rows: list[dict[str, Any]] | Any, of: int = 40) -> Evaluation:
    """Figures with a file of samples beside them."""
    row = measured(name, 4, 40, folder)
    data = json.dumps({"evaluation": name, "seed": 7, "of": of, "samples": rows}).encode()
    (folder / f"{name}.samples.json").write_bytes(data)
    digest = "sha256:" + canonical.sha256_hex(data)
    return replace(row, samples=f"{name}.samples.json", samples_digest=digest)


def rows_of(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"q{n}", "verdict": "right", "input": f"{HARM} {n}", "output": f"answer {n}"}
        for n in range(count)
    ]


def test_words_are_shown_only_of_evaluations_that_ask_for_no_harm(tmp_path: Path) -> None:
    given = [sampled(name, tmp_path, rows_of(6)) for name in (HARMLESS, HARMFUL)]
    harmless, harmful = read_samples(tmp_path, given)
    assert (harmless.are_enough, harmful.are_enough) == (True, True)
    assert (harmless.rows[0].given, harmless.rows[0].got) == (f"{HARM} 0", "answer 0")
    for row in harmful.rows:
        assert row.given.startswith("sha256:")
        assert row.got.startswith("sha256:")
        assert HARM not in str(row)


def test_an_unknown_evaluation_and_a_withheld_report_show_digests_alone(tmp_path: Path) -> None:
    unknown = sampled("somebody_elses", tmp_path, rows_of(5))
    known = sampled(HARMLESS, tmp_path, rows_of(5))
    (first,) = read_samples(tmp_path, [unknown])
    (second,) = read_samples(tmp_path, [known], withheld=True)
    assert HARM not in str(first)
    assert HARM not in str(second)


def test_kept_digests_are_told_and_words_in_their_place_are_not(tmp_path: Path) -> None:
    digest = "sha256:" + "1" * 64
    kept = {"id": "a", "verdict": "refused", "answer_digest": digest, "input_digest": digest}
    wrong = {"id": "b", "verdict": "refused", "answer_digest": HARM, "input_digest": HARM}
    (found,) = read_samples(tmp_path, [sampled(HARMFUL, tmp_path, [kept, wrong] * 3)])
    assert (found.rows[0].given, found.rows[0].got) == (digest, digest)
    assert (found.rows[1].given, found.rows[1].got) == ("not kept", "not kept")


def test_changed_or_missing_samples_are_not_passed_on(tmp_path: Path) -> None:
    row = sampled(HARMLESS, tmp_path, rows_of(5))
    path = tmp_path / row.samples
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(Tampered):
        read_samples(tmp_path, [row])
    path.unlink()
    with pytest.raises(Tampered):
        read_samples(tmp_path, [row])


@pytest.mark.parametrize("rows", ["words", [["a"]], [1], None, rows_of(101)])
def test_samples_that_are_not_in_form_leak_only_our_error(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(Invalid):
        read_samples(tmp_path, [sampled(HARMLESS, tmp_path, rows)])


@pytest.mark.parametrize(
    ("kept", "of", "enough"), [(5, 40, True), (4, 40, False), (3, 3, True), (0, 0, False)]
)
def test_five_samples_are_asked_or_all_there_were(
    tmp_path: Path, kept: int, of: int, enough: bool
) -> None:
    (found,) = read_samples(tmp_path, [sampled(HARMLESS, tmp_path, rows_of(kept), of)])
    assert found.are_enough is enough


def test_the_safety_report_shows_them_or_says_what_is_missing(tmp_path: Path) -> None:
    material = gather(finished(tmp_path / "audits", People()))
    assert [row.evaluation for row in material.samples if row.why]
    (shown,) = read_samples(tmp_path, [sampled(HARMLESS, tmp_path, rows_of(6))])
    few = replace(shown, rows=shown.rows[:2])
    none = ShownSamples("refusal", why="it kept no samples")
    (file,) = eu_safety_report(replace(material, samples=(shown, few, none)))
    text = file.data.decode()
    assert "6 of 40 samples" in text
    assert "answer 5" in text
    assert "fewer than 5 were kept" in text
    assert "it kept no samples" in text
