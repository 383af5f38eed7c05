"""The bill of materials as a CycloneDX ML-BOM; the only file that imports cyclonedx.

CycloneDX 1.6, JSON. The library has no classes for model cards, so the value is built here and
held against the official schema that the library carries, in strict form.
"""

from __future__ import annotations

import json
from typing import Any

from dutchdoor.audit.outputs.identity import name_uuid
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File
from dutchdoor.audit.outputs.text import label, moment
from dutchdoor.errors import Invalid

__all__ = ["ml_bom"]

_VERSION = "1.6"


def ml_bom(material: Material) -> tuple[File, ...]:
    """The bill of materials. Raises Invalid: it does not hold against the schema."""
    value = {
        "bomFormat": "CycloneDX",
        "specVersion": _VERSION,
        "serialNumber": f"urn:uuid:{name_uuid(material, 'cyclonedx')}",
        "version": 1,
        "metadata": {
            "timestamp": moment(material.stamp_ms),
            "lifecycles": [{"phase": "post-build"}],
            "component": _model(material),
            "properties": [
                _property("draft", "true" if material.draft else "false"),
                _property("audit", material.audit),
                *([_property("summary", material.status.summary)] if material.completed_ms else []),
            ],
        },
        "components": _files(material),
        "compositions": [{"aggregate": "incomplete", "assemblies": ["model"]}],
    }
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    _validate(text)
    return (File("ml-bom.cdx.json", text.encode(), f"CycloneDX {_VERSION} JSON schema, strict"),)


def _model(material: Material) -> dict[str, Any]:
    facts = material.facts
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": material.model,
        "version": facts.get("version"),
        "hashes": [{"alg": "SHA-256", "content": material.bundle.removeprefix("sha256:")}],
        "modelCard": _card(material),
        "properties": [_property("bundle", material.bundle)],
    }
    if facts.given("provider"):
        model["supplier"] = {"name": facts.get("provider")}
    if facts.given("licence"):
        model["licenses"] = [{"license": {"name": facts.get("licence")}}]
    return model


def _card(material: Material) -> dict[str, Any]:
    facts = material.facts
    parameters: dict[str, Any] = {"task": "text-generation"}
    if facts.given("architecture"):
        parameters["modelArchitecture"] = facts.get("architecture")
    for name, key in (("input_modalities", "inputs"), ("output_modalities", "outputs")):
        if facts.given(name):
            parameters[key] = [{"format": item} for item in facts.all(name)]
    metrics = [
        {
            "type": f"{row.name}: {row.counts}",
            "value": row.score,
            "slice": f"n = {row.n}, depth {label(row.access_depth)}, seed {row.seed}",
            "confidenceInterval": {"lowerBound": row.low, "upperBound": row.high},
        }
        for row in material.evaluations
        if row.is_measured
    ]
    risks = [
        {
            "name": f"{row.severity}, {row.status}: {row.text}",
            "mitigationStrategy": row.reason or "; ".join(row.mitigations) or "none stated",
        }
        for row in material.ranked
    ]
    considerations: dict[str, Any] = {"ethicalConsiderations": risks}
    if facts.given("intended_uses"):
        considerations["useCases"] = list(facts.all("intended_uses"))
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": considerations,
    }


def _files(material: Material) -> list[dict[str, Any]]:
    rows: dict[str, str] = {}
    for artifact in material.artifacts:
        if artifact.name != "sealed files":
            rows.update(zip(artifact.files, artifact.digests, strict=False))
    found: list[dict[str, Any]] = [
        {
            "type": "file",
            "bom-ref": f"file-{number}",
            "name": path,
            "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
        }
        for number, (path, digest) in enumerate(sorted(rows.items()))
    ]
    for name, digest in (("probe of the guard", material.probe.get("digest", "")),):
        if digest:
            found.append(
                {
                    "type": "data",
                    "bom-ref": "probe",
                    "name": name,
                    "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
                }
            )
    return found


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"dutchdoor:{name}", "value": value}


def _validate(text: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        message = f"the bill of materials does not hold against CycloneDX {_VERSION}"
        raise Invalid(message, code="output_not_valid")
