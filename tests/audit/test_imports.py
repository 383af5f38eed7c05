"""Other tools' files give their headline figures and nothing else that is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dutchdoor.audit.checks import read_testing
from dutchdoor.audit.evaluate import run_evaluations
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.imports import Imported, imported_of, imports_part, names_another, read_import
from dutchdoor.audit.model import DocumentKind
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from tests.audit.parts import OPTIONS, People, endpoint, examined, openai_server

SECRET = "whatTheModelSaid"
LM_EVAL = {
    "results": {"arc_easy": {"alias": "arc_easy", "acc,none": 0.5123, "acc_stderr,none": 0.01}},
    "n-samples": {"arc_easy": {"original": 2376, "effective": 100}},
    "config": {"model": "local-completions", "model_args": f"model=smol,api_key={SECRET}"},
    "lm_eval_version": "0.4.13",
}
GARAK = [
    {"entry_type": "start_run setup", "garak_version": "0.17.1", "plugins.target_name": "smol"},
    {"entry_type": "attempt", "uuid": "a", "outputs": [SECRET]},
    {
        "entry_type": "eval",
        "probe": "encoding.InjectBase64",
        "detector": "encoding.DecodeMatch",
        "passed": 8,
        "fails": 2,
        "nones": 1,
        "total_evaluated": 10,
        "total_processed": 11,
    },
    {"entry_type": "eval", "probe": "dan.Dan", "detector": "dan.DAN", "passed": 3, "total": 4},
    {"entry_type": "completion"},
]


def write_garak(folder: Path) -> Path:
    path = folder / "scan.report.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in GARAK))
    return path


def test_lm_eval_and_garak_give_headlines_without_contents(tmp_path: Path) -> None:
    results = tmp_path / "results_2026.json"
    results.write_text(json.dumps(LM_EVAL))
    first, second = read_import(results), read_import(write_garak(tmp_path))
    assert (first.kind, first.tool, first.model) == ("lm-eval", "lm-eval 0.4.13", "smol")
    assert first.figures["arc_easy acc,none"] == "0.5123"
    assert first.figures["arc_easy n"] == "100"
    assert (second.kind, second.tool, second.model) == ("garak", "garak 0.17.1", "smol")
    assert second.figures["dan.Dan dan.DAN"].startswith("passed 3 of 4")
    assert "passed 8 of 10" in second.figures["encoding.InjectBase64 encoding.DecodeMatch"]
    for row in (first, second):
        assert SECRET not in json.dumps(row.to_body())
        assert Imported.from_body(row.to_body()) == row


def test_an_imported_result_stands_in_the_testing_report_once(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    path = write_garak(tmp_path)
    before = read_testing(AuditFolder(audit.path))
    for _ in range(2):
        audit.take_import(path)
    folder = AuditFolder(audit.path)
    (row,) = imported_of(folder.read(DocumentKind.T2).front)
    text = folder.file(DocumentKind.T2).read_text()
    assert row.digest in text
    assert "garak 0.17.1" in text
    assert SECRET not in text
    assert not list(audit.path.rglob("*.jsonl")), "the file is not copied"
    after = read_testing(folder)
    assert (after.evaluations, after.findings) == (before.evaluations, before.findings)
    assert imports_part(()) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "no JSON"),
        ("a.json", "[]"),
        ("a.json", "{}"),
        ("a.json", '{"results": {}}'),
        ("a.json", '{"results": {"task": 3}}'),
        ("a.jsonl", ""),
        ("a.jsonl", "[1]"),
        ("a.jsonl", '{"entry_type": "eval", "probe": "p", "passed": 5, "total": 4}'),
        ("a.jsonl", '{"entry_type": "eval", "probe": "p", "passed": "5", "total": 9}'),
        ("a.eval", "PK\x03\x04 but no archive"),
        ("a.json", "[" * 100_000),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        read_import(path)
    assert caught.value.code == "bad_import"


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_import(tmp_path / "none.json")


def test_an_inspect_log_gives_its_head(tmp_path: Path) -> None:
    pytest.importorskip("inspect_ai")
    with openai_server(lambda _: SECRET) as (url, _):
        (row,) = run_evaluations(["capability_short_answers"], endpoint(url), OPTIONS, tmp_path)
    try:
        taken = read_import(tmp_path / row.log)
    except DutchdoorError as error:
        raise AssertionError(error.hint) from error
    assert taken.kind == "inspect"
    assert taken.digest == row.log_digest
    assert taken.figures["capability_short_answers n"] == "4"
    assert SECRET not in json.dumps(taken.to_body())


def test_a_result_about_another_model_is_taken_only_when_somebody_says_so(tmp_path: Path) -> None:
    audit = examined(tmp_path, People())
    path = tmp_path / "results.json"
    foreign = {**LM_EVAL, "config": {"model": "hf", "model_args": "pretrained=org/gpt2"}}
    path.write_text(json.dumps(foreign))
    before = (audit.path / "T2-testing.md").read_bytes()
    with pytest.raises(Refused) as caught:
        audit.take_import(path)
    assert caught.value.code == "other_model"
    assert "'org/gpt2'" in caught.value.message
    assert "--although-other-model" in caught.value.hint
    assert (audit.path / "T2-testing.md").read_bytes() == before
    audit.take_import(path, although_other_model=True)
    assert "about `org/gpt2`" in (audit.path / "T2-testing.md").read_text()


@pytest.mark.parametrize(
    ("named", "another"), [("smol", False), ("OPENAI/Smol", False), ("", False), ("smol2", True)]
)
def test_the_audited_model_is_known_under_its_providers_name(named: str, another: bool) -> None:
    assert names_another(Imported("f", "sha256:", "garak", "t", named), "smol") is another
