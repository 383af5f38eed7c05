"""Every output is read by another reader than the one that wrote it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast
from xml.etree import ElementTree as ET

import jsonschema
import pypdf
import pytest
import yaml
from cyclonedx.model.bom import Bom
from huggingface_hub import ModelCard
from oscal_bindings import parse_oscal
from spdx_python_model import v3_0_1

from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.outputs import ml_bom as ml_bom_file
from dutchdoor.audit.outputs import oscal as oscal_file
from dutchdoor.audit.outputs.eu_documentation import FIELDS, AudienceView
from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.audit.outputs.material import Material, Paper, gather
from dutchdoor.audit.outputs.service import OUTPUTS, build
from dutchdoor.errors import Invalid
from tests.audit.outputs.parts import CONTROLS, drafted, finished, hostile
from tests.audit.parts import BUNDLE, People

SCHEMA = Path(__file__).parents[4] / "shared" / "vectors" / "mof" / "mof_schema.json"
PEOPLE = People()


@cache
def material(kind: str) -> Material:
    folder = Path(mkdtemp())
    if kind == "hostile":
        return hostile(folder, PEOPLE)
    return gather({"draft": drafted, "finished": finished}[kind](folder, PEOPLE))


@cache
def files(kind: str) -> dict[str, bytes]:
    return {file.path: file.data for file in build(material(kind))}


KINDS = ("finished", "draft", "hostile")


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def words_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize("kind", KINDS)
def test_every_output_names_the_bundle(kind: str) -> None:
    for path, data in files(kind).items():
        text = words_of(data) if path.endswith(".pdf") else data.decode()
        assert BUNDLE.removeprefix("sha256:") in text.replace("\n", ""), path


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_same_audit_gives_the_same_bytes(name: str) -> None:
    again = build(material("finished"), [name])
    assert {file.path: file.data for file in again}.items() <= files("finished").items()


def test_a_draft_says_so_everywhere() -> None:
    for path, data in files("draft").items():
        text = words_of(data) if path.endswith(".pdf") else data.decode()
        assert re.search("draft", text, re.IGNORECASE), path
    for path, data in files("finished").items():
        assert b"DRAFT" not in data, path


@pytest.mark.parametrize("kind", KINDS)
def test_no_output_carries_markup_or_control_characters_of_others(kind: str) -> None:
    for path, data in files(kind).items():
        text = words_of(data) if path.endswith(".pdf") else data.decode()
        assert not [mark for mark in CONTROLS if mark in text], path
        # Everywhere else a text is data, and no reader takes it for markup.
        if path.endswith((".html", ".md")):
            assert "<script" not in text.rpartition("\n---\n")[2], path


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_runs_nothing_and_asks_nobody(kind: str) -> None:
    reader = Reader(files(kind)["report.html"])
    names = {tag for tag, _ in reader.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "img", "form", "base", "b"}
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "xlink:href", "src", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    policy = next(a for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none';")
    addresses = re.findall(r"url\(([^)]*)\)", files(kind)["report.html"].decode())
    assert all(address.startswith("#") for address in addresses)
    assert "@import" not in files(kind)["report.html"].decode()


def test_every_drawing_says_what_it_shows_and_has_ids_of_its_own() -> None:
    reader = Reader(files("finished")["report.html"])
    drawings = [a["aria-label"] for t, a in reader.tags if a.get("role") == "img"]
    assert len(drawings) == sum(1 for tag, _ in reader.tags if tag == "svg") >= 6
    assert all(alt and re.search(r"\d", alt) for alt in drawings)
    ids = [a["id"] for _, a in reader.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    styles = files("finished")["report.html"].decode()
    assert "prefers-color-scheme: dark" in styles
    assert "@media print" in styles
    for svg in re.findall(r"<svg.*?</svg>", styles, re.DOTALL):
        ET.fromstring(svg)
        assert not re.search(r"(fill|stroke): #", svg), "a colour that is not the page's"


def test_hostile_names_stay_text_in_drawings() -> None:
    page = files("hostile")["report.html"].decode()
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ET.fromstring(svg)
        assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
            *("svg", "g", "path", "defs", "style", "text", "tspan", "use", "clipPath", "rect"),
        }


def test_the_pdf_is_whole_and_titled() -> None:
    reader = pypdf.PdfReader(io.BytesIO(files("finished")["report.pdf"]), strict=True)
    assert reader.metadata is not None
    assert reader.metadata.title == "Audit of smol"
    words = words_of(files("finished")["report.pdf"])
    for title in ("At a glance", "What was found", "What modification unlocks", "The guard"):
        assert title in words
    assert sum(len(page.images) for page in reader.pages) >= 6
    catalogue: Any = reader.trailer["/Root"]
    assert not {"/OpenAction", "/AA", "/Names"} & set(catalogue)


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_reads_the_model_card(kind: str) -> None:
    card = ModelCard(files(kind)["model-card/README.md"].decode())
    measured = [row for row in material(kind).evaluations if row.is_measured]
    assert [row.dataset_type for row in card.data.eval_results] == [row.name for row in measured]
    assert [row.metric_value for row in card.data.eval_results] == [
        float(r.score) for r in measured
    ]
    assert card.data.to_dict()["dutchdoor"]["audit"] == material(kind).audit


def test_the_datasheet_has_the_seven_headings_and_quotes_what_was_written() -> None:
    paper = Paper(DocumentKind.C3, "sha256:" + "9" * 64, {"uses": "Chat only."}, {})
    changed = replace(material("finished"), papers={DocumentKind.C3: paper})
    (file,) = build(changed, ["datasheet"])
    text = file.data.decode()
    assert len(re.findall("^## ", text, re.MULTILINE)) == 7
    assert "## Uses\n\nChat only.\n" in text
    assert "## Motivation\n\nnot stated\n" in text


def test_a_sensitive_document_is_not_quoted(tmp_path: Path) -> None:
    people = People()
    audit = drafted(tmp_path, people)
    path = audit.path / "S2-scope.md"
    text = path.read_text().replace("document: S2", "document: S2\nsensitivity: restricted")
    path.write_text(text.replace("how the model was trained", "a secret of the house"))
    for file in build(gather(audit), ["report-html", "eu-safety-report"]):
        assert b"a secret of the house" not in file.data


def test_findings_of_a_sensitive_testing_report_leave_as_digests(tmp_path: Path) -> None:
    audit = drafted(tmp_path, People())
    path = audit.path / "T2-testing.md"
    path.write_text(path.read_text().replace("title:", "sensitivity: infohazard\ntitle:", 1))
    hidden = gather(audit)
    assert len(hidden.findings) == len(material("draft").findings)
    for file in build(hidden):
        text = words_of(file.data) if file.path.endswith(".pdf") else file.data.decode()
        assert "hardly refuses" not in text, file.path


@pytest.mark.parametrize("kind", KINDS)
def test_cyclonedx_is_read_by_its_library(kind: str) -> None:
    value = json.loads(files(kind)["ml-bom.cdx.json"])
    bom = Bom.from_json(value)  # type: ignore[attr-defined]
    component = bom.metadata.component
    assert (component.type.value, component.name) == ("machine-learning-model", "smol")
    assert {part.name for part in bom.components} >= {"model.safetensors", "chat_template.jinja"}


@pytest.mark.parametrize("kind", KINDS)
def test_spdx_names_the_model_and_its_files(kind: str) -> None:
    objects = v3_0_1.SHACLObjectSet()
    v3_0_1.JSONLDDeserializer().read(io.BytesIO(files(kind)["spdx.json"]), objects)
    (package,) = cast(Any, list(objects.foreach_type("ai_AIPackage")))
    assert package.name == "smol"
    files_in = cast(Any, objects.foreach_type("software_File"))
    assert {file.name for file in files_in} >= {"model.safetensors"}
    (document,) = cast(Any, list(objects.foreach_type("SpdxDocument")))
    claims = any(str(profile).endswith("/ai") for profile in document.profileConformance)
    # The hostile facts lack what the AI profile demands.
    assert claims is (kind != "hostile")


@pytest.mark.parametrize("kind", KINDS)
def test_oscal_names_every_finding_and_its_principle(kind: str) -> None:
    parse_oscal(files(kind)["oscal-assessment-results.json"])
    value = json.loads(files(kind)["oscal-assessment-results.json"])["assessment-results"]
    (result,) = value["results"]
    given = material(kind).findings
    assert len(result["findings"]) == len(result["risks"]) == len(given)
    risks = {row["uuid"] for row in result["risks"]}
    assert {row["related-risks"][0]["risk-uuid"] for row in result["findings"]} == risks
    plan = value["import-ap"]["href"].removeprefix("#")
    assert plan in {row["uuid"] for row in value["back-matter"]["resources"]}


@pytest.mark.skipif(not SCHEMA.is_file(), reason="the framework's schema ships in no package")
@pytest.mark.parametrize("kind", KINDS)
def test_mof_holds_against_the_frameworks_schema(kind: str) -> None:
    value = yaml.safe_load(files(kind)["mof.yml"])
    jsonschema.validate(value, json.loads(SCHEMA.read_text()))


def test_mof_has_the_stated_components_and_no_others() -> None:
    value = yaml.safe_load(files("finished")["mof.yml"])
    names = [row["name"] for row in value["release"]["components"]]
    assert names == ["Model parameters (Final)", "Model card"]
    assert len(COMPONENTS) == 17


def test_each_audience_sees_its_fields_and_no_others() -> None:
    for view in AudienceView:
        text = files("finished")[f"eu-documentation/{view}.md"].decode()
        for field in FIELDS:
            assert (f"| {field.title} |" in text) is (view in field.audiences), field.title
    office = files("finished")["eu-documentation/ai-office.md"].decode()
    others = files("finished")["eu-documentation/downstream-providers.md"].decode()
    assert "134515008 parameters" in office
    assert "134515008" not in others
    assert "1 to 500 million" in others


def test_what_nobody_stated_is_not_invented() -> None:
    bare = replace(material("finished"), facts=type(material("finished").facts)())
    for file in build(bare, ["eu-documentation", "datasheet", "eu-safety-report", "model-card"]):
        assert b"not stated" in file.data
        assert b"Example Ltd" not in file.data
        assert b"Apache" not in file.data


def test_what_does_not_hold_against_its_schema_is_refused() -> None:
    bom: dict[str, Any] = json.loads(files("finished")["ml-bom.cdx.json"])
    with pytest.raises(Invalid, match="CycloneDX"):
        ml_bom_file._validate(json.dumps({**bom, "surprise": 1}))
    results = json.loads(files("finished")["oscal-assessment-results.json"])
    del results["assessment-results"]["results"]
    with pytest.raises(Invalid, match="OSCAL"):
        oscal_file._validate(results)
