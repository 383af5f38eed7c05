"""The model in SPDX 3.0.1, software and AI profiles; the only file that imports spdx_python_model.

The library's classes are generated from the official SHACL model and refuse what does not fit it.
The AI profile demands five facts of every package; where the provider states fewer, the document
names no conformance to that profile and says in a comment what is not stated.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from typing import Any

from dutchdoor.audit.outputs.identity import name_uuid
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File
from dutchdoor.audit.outputs.text import NOT_STATED, label, moment
from dutchdoor.errors import Invalid

__all__ = ["spdx"]

_DEMANDED = ("provider", "version", "release_date", "download_location")


def spdx(material: Material) -> tuple[File, ...]:
    """The document as JSON-LD. Raises Invalid: a stated fact does not fit the SPDX model."""
    from spdx_python_model import v3_0_1 as model

    try:
        objects = _objects(material, model)
        target = io.BytesIO()
        model.JSONLDSerializer().write(
            objects, target, indent=2, sort_keys=True, ensure_ascii=False
        )
        back = model.SHACLObjectSet()
        model.JSONLDDeserializer().read(io.BytesIO(target.getvalue()), back)
        missing = back.link()
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(f"a fact does not fit SPDX: {error}", code="output_not_valid") from error
    if missing:
        raise Invalid("the SPDX document names what is not in it", code="output_not_valid")
    checked = "SPDX 3.0.1 model (spdx-python-model, generated from its SHACL)"
    return (File("spdx.json", target.getvalue() + b"\n", checked),)


def _objects(material: Material, model: Any) -> Any:
    base = f"urn:uuid:{name_uuid(material, 'spdx')}#"
    tool = model.Agent(_id=f"{base}auditor", name=material.status.auditor)
    created = model.CreationInfo(
        _id="_:creation", specVersion="3.0.1", created=_time(moment(material.stamp_ms))
    )
    created.createdBy.append(tool)
    tool.creationInfo = created
    package = _package(material, model, base, created)
    supplier = model.Organization(
        _id=f"{base}supplier", name=material.facts.get("provider"), creationInfo=created
    )
    package.suppliedBy = supplier
    elements = [tool, package, supplier, *_files(material, model, base, created)]
    elements += _relations(material, model, created, package, elements[3:])
    document = model.SpdxDocument(
        _id=f"{base}document",
        creationInfo=created,
        name=f"{material.model}: audit {material.audit}{' (DRAFT)' if material.draft else ''}",
    )
    profiles = [model.ProfileIdentifierType.core, model.ProfileIdentifierType.software]
    missing = [name for name in _DEMANDED if not material.facts.given(name)]
    if missing:
        names = ", ".join(label(name) for name in missing)
        document.comment = (
            f"The AI profile demands facts that are {NOT_STATED}: {names}. No conformance to it "
            "is claimed."
        )
    else:
        profiles.append(model.ProfileIdentifierType.ai)
    document.profileConformance.extend(profiles)
    document.rootElement.append(package)
    document.element.extend(elements)
    objects = model.SHACLObjectSet()
    for element in (document, *elements):
        objects.add(element)
    objects.add(created)
    return objects


def _package(material: Material, model: Any, base: str, created: Any) -> Any:
    facts = material.facts
    package = model.ai_AIPackage(
        _id=f"{base}model",
        creationInfo=created,
        name=material.model,
        software_packageVersion=facts.get("version"),
        software_primaryPurpose=model.software_SoftwarePurpose.model,
    )
    package.comment = f"bundle {material.bundle}"
    package.verifiedUsing.append(
        model.Hash(
            algorithm=model.HashAlgorithm.sha256,
            hashValue=material.bundle.removeprefix("sha256:"),
        )
    )
    if facts.given("download_location"):
        package.software_downloadLocation = facts.get("download_location")
    if re.fullmatch(r"\d{4}-\d\d-\d\d", facts.get("release_date")):
        package.releaseTime = _time(facts.get("release_date") + "T00:00:00Z")
    for name, field in (
        ("training_design", "ai_informationAboutTraining"),
        ("expected_use", "ai_informationAboutApplication"),
    ):
        if facts.given(name):
            setattr(package, field, facts.get(name))
    package.ai_domain.extend(facts.all("intended_uses"))
    package.ai_modelDataPreprocessing.extend(facts.all("data_curation"))
    if facts.given("architecture"):
        package.ai_typeOfModel.append(facts.get("architecture"))
    limits = "\n".join(f"{row.severity}, {row.status}: {row.text}" for row in material.ranked)
    if limits:
        package.ai_limitation = limits
    for row in material.evaluations:
        if row.is_measured:
            package.ai_metric.append(
                model.DictionaryEntry(
                    key=row.name, value=f"{row.score} (95 %: {row.low} to {row.high}; n = {row.n})"
                )
            )
    return package


def _files(material: Material, model: Any, base: str, created: Any) -> list[Any]:
    rows: dict[str, str] = {}
    for artifact in material.artifacts:
        if artifact.name != "sealed files":
            rows.update(zip(artifact.files, artifact.digests, strict=False))
    found = []
    for number, (path, digest) in enumerate(sorted(rows.items())):
        file = model.software_File(_id=f"{base}file-{number}", creationInfo=created, name=path)
        file.verifiedUsing.append(
            model.Hash(
                algorithm=model.HashAlgorithm.sha256, hashValue=digest.removeprefix("sha256:")
            )
        )
        found.append(file)
    return found


def _relations(
    material: Material, model: Any, created: Any, package: Any, files: list[Any]
) -> list[Any]:
    base = package._id.removesuffix("model")
    found = []
    if files:
        holds = model.Relationship(
            _id=f"{base}contains",
            creationInfo=created,
            from_=package,
            relationshipType=model.RelationshipType.contains,
        )
        holds.to.extend(files)
        found.append(holds)
    if material.facts.given("licence"):
        licence = model.simplelicensing_LicenseExpression(
            _id=f"{base}licence",
            creationInfo=created,
            simplelicensing_licenseExpression=material.facts.get("licence"),
        )
        declared = model.Relationship(
            _id=f"{base}declared",
            creationInfo=created,
            from_=package,
            relationshipType=model.RelationshipType.hasDeclaredLicense,
        )
        declared.to.append(licence)
        found += [licence, declared]
    return found


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid(f"'{text}' is no date", code="bad_facts") from error
