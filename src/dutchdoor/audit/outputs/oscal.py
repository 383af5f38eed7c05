"""Findings and figures as OSCAL assessment results; the only file that imports oscal_bindings.

The value is held against models generated from NIST's JSON schema. Principles of the audit stand
where OSCAL has controls: there is no catalogue of them to import.
"""

from __future__ import annotations

import json
import re
from typing import Any

from dutchdoor.audit.model import DocumentKind, Finding, FindingStatus
from dutchdoor.audit.outputs.identity import name_uuid
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File
from dutchdoor.audit.outputs.text import NOT_STATED, label, moment
from dutchdoor.errors import Invalid

__all__ = ["oscal"]

_VERSION = "1.2.3"
_NAMESPACE = "urn:dutchdoor:oscal"
_RISK = {
    FindingStatus.OPEN: "open",
    FindingStatus.ACCEPTED: "deviation-approved",
    FindingStatus.MITIGATED: "closed",
}


def oscal(material: Material) -> tuple[File, ...]:
    """The assessment results. Raises Invalid: they do not hold against the schema."""
    value = {"assessment-results": _results(material)}
    _validate(value)
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    checked = f"OSCAL {_VERSION} models (oscal-bindings, generated from NIST's JSON schema)"
    return (File("oscal-assessment-results.json", text.encode(), checked),)


def _results(material: Material) -> dict[str, Any]:
    at = moment(material.stamp_ms)
    auditor = name_uuid(material, "auditor")
    title = f"Audit {material.audit} of {_line(material.model)}"
    value: dict[str, Any] = {
        "uuid": name_uuid(material, "results"),
        "metadata": {
            "title": f"{title}{' (DRAFT)' if material.draft else ''}",
            "last-modified": at,
            "version": "draft" if material.draft else "1",
            "oscal-version": _VERSION,
            "props": [_prop("bundle", material.bundle)],
            "roles": [{"id": "assessor", "title": "Auditor"}],
            "parties": [
                {"uuid": auditor, "type": "person", "name": _line(material.status.auditor)}
            ],
            "responsible-parties": [{"role-id": "assessor", "party-uuids": [auditor]}],
        },
        "import-ap": {"href": f"#{name_uuid(material, 'plan')}"},
        "results": [_result(material)],
        "back-matter": {"resources": _resources(material)},
    }
    return value


def _result(material: Material) -> dict[str, Any]:
    principles = sorted({_token(row.principle) for row in material.findings}) or ["none"]
    result: dict[str, Any] = {
        "uuid": name_uuid(material, "result"),
        "title": "Draft" if material.draft else "Completed audit",
        "description": _line(material.objective) or NOT_STATED,
        "start": moment(material.started_ms),
        "reviewed-controls": {
            "description": "Principles of the audit (its document S0) stand for controls.",
            "control-selections": [
                {"include-controls": [{"control-id": name} for name in principles]}
            ],
        },
    }
    if material.completed_ms:
        result["end"] = moment(material.completed_ms)
    observations = [_observation(material, row) for row in material.evaluations]
    if observations:
        result["observations"] = observations
    if material.findings:
        result["risks"] = [_risk(material, row) for row in material.findings]
        result["findings"] = [_finding(material, row) for row in material.findings]
    return result


def _observation(material: Material, row: Any) -> dict[str, Any]:
    return {
        "uuid": name_uuid(material, f"observation {row.name}"),
        "title": label(row.name),
        "description": row.text,
        "methods": ["TEST"],
        "collected": moment(material.stamp_ms),
        "props": [
            _prop("score", row.score or "none"),
            _prop("low", row.low or "none"),
            _prop("high", row.high or "none"),
            _prop("n", str(row.n)),
            _prop("seed", str(row.seed)),
            _prop("access-depth", row.access_depth or "none"),
            _prop("log", row.log_digest or "none"),
        ],
    }


def _risk(material: Material, row: Finding) -> dict[str, Any]:
    risk: dict[str, Any] = {
        "uuid": name_uuid(material, f"risk {row.id}"),
        "title": f"{row.severity}: {_line(row.harm)}",
        "description": row.text,
        "statement": row.reason or row.text,
        "status": _RISK[row.status],
        "props": [_prop("severity", str(row.severity)), _prop("state", str(row.status))],
    }
    if row.mitigations:
        risk["remediations"] = [
            {
                "uuid": name_uuid(material, f"remediation {row.id} {number}"),
                "lifecycle": "recommendation",
                "title": _line(text),
                "description": text,
            }
            for number, text in enumerate(row.mitigations)
        ]
    return risk


def _finding(material: Material, row: Finding) -> dict[str, Any]:
    # A mitigated finding is satisfied by what mitigates it; an accepted one stays unsatisfied.
    satisfied = row.status is FindingStatus.MITIGATED
    return {
        "uuid": name_uuid(material, f"finding {row.id}"),
        "title": _line(row.id),
        "description": row.text,
        "target": {
            "type": "objective-id",
            "target-id": _token(row.principle),
            "status": {"state": "satisfied" if satisfied else "not-satisfied"},
        },
        "related-risks": [{"risk-uuid": name_uuid(material, f"risk {row.id}")}],
    }


def _resources(material: Material) -> list[dict[str, Any]]:
    found = []
    for row in material.documents:
        uuid = "plan" if row.kind is DocumentKind.S2 else f"document {row.kind}"
        resource: dict[str, Any] = {
            "uuid": name_uuid(material, uuid),
            "title": f"{row.kind} {_line(row.title)}",
        }
        if row.digest:
            digest = row.digest.removeprefix("sha256:")
            hashes = [{"algorithm": "SHA-256", "value": digest}]
            resource["rlinks"] = [{"href": row.file, "hashes": hashes}]
        found.append(resource)
    if not any(row.kind is DocumentKind.S2 for row in material.documents):
        found.append({"uuid": name_uuid(material, "plan"), "title": f"scope: {NOT_STATED}"})
    return found


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": _NAMESPACE, "value": _line(value)}


def _line(text: str) -> str:
    """OSCAL takes a line without spaces at its ends, never an empty one."""
    return " ".join(text.split()) or NOT_STATED


def _token(text: str) -> str:
    """OSCAL's identifiers begin with a letter and hold letters, digits, `.`, `_` and `-`."""
    token = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
    return token if re.match(r"[A-Za-z_]", token) else f"_{token}"


def _validate(value: dict[str, Any]) -> None:
    from oscal_bindings import AssessmentResultsDocument
    from pydantic import ValidationError

    try:
        # From a value, not from JSON text: reading text, the library drops misspelt keys.
        AssessmentResultsDocument.model_validate(value)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        message = f"the assessment results do not hold against OSCAL {_VERSION}: {where}"
        raise Invalid(message, code="output_not_valid") from error
