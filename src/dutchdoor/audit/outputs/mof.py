"""The release in the terms of the Model Openness Framework, as its tool's YAML.

It says what is released under which licence as far as that is stated. Which class that makes by our
reading of the framework's rules stands in its head, as a remark: the framework's tool judges.
The framework's schema ships in no package: `docs/reference/outputs.md`.
"""

from __future__ import annotations

from typing import Any

import yaml

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import File
from dutchdoor.audit.outputs.mof_class import Licences, classify, progress_text
from dutchdoor.audit.outputs.text import NOT_STATED, day

__all__ = ["mof"]

_TYPES = ("language", "vision", "image", "audio", "video", "3d", "code", "multimodal", "other")
_ARCHITECTURES = (
    "transformer",
    "transformer decoder",
    "transformer encoder-decoder",
    "decoder",
    "encoder",
    "diffusion",
    "RNN",
    "CNN",
    "LSTM",
    "NeRF",
    "hybrid",
    "undisclosed",
    "other",
)
_TREATMENTS = ("pre-trained", "instruct fine-tuned", "chat fine-tuned")


def mof(material: Material) -> tuple[File, ...]:
    """The file: framework version 1.0, the components that are stated, no others."""
    facts = material.facts
    licence = facts.get("licence") if facts.given("licence") else None
    link = facts.get("licence_link") if facts.given("licence_link") else None
    stated = {row.name: row for row in facts.components}
    components = []
    for name in COMPONENTS:
        if name not in stated:
            continue
        row: dict[str, str] = {"name": name}
        if stated[name].licence:
            row["license"] = stated[name].licence
        if stated[name].path:
            row["component_path"] = stated[name].path
        components.append(row)
    release: dict[str, Any] = {
        "name": material.model,
        "version": facts.get("version"),
        "license": {
            "distribution": {"name": licence, "path": link},
            "code": {"name": None, "path": None},
            "data": {"name": None, "path": None},
            "document": {"name": None, "path": None},
        },
        "type": _one(facts.get("model_type"), _TYPES, ""),
        "architecture": _one(facts.get("model_architecture"), _ARCHITECTURES, ""),
        "origin": facts.get("base_models"),
        "producer": facts.get("provider"),
        "contact": facts.get("contact"),
        "components": components,
    }
    if facts.given("release_date"):
        release["date"] = facts.get("release_date")
    treatment = _one(facts.get("model_treatment"), _TREATMENTS, "")
    if treatment:
        release["treatment"] = treatment
    framework = {"name": "Model Openness Framework", "version": "1.0", "date": "2024-12-15"}
    found = classify(
        Licences(
            {row.name: row.licence or None for row in facts.components}, distribution=licence or ""
        )
    )
    unstated = [name for name in COMPONENTS if name not in stated]
    head = [
        f"# audit {material.audit}, {day(material.stamp_ms)}{', DRAFT' if material.draft else ''}",
        f"# bundle {material.bundle}",
        f"# components {NOT_STATED}: {', '.join(unstated) or 'none'}",
        f"# computed by the framework's rules, no conformity is claimed: {progress_text(found)}",
    ]
    text = yaml.safe_dump(
        {"framework": framework, "release": release},
        sort_keys=False,
        allow_unicode=True,
        width=96,
    )
    return (File("mof.yml", ("\n".join(head) + "\n" + text).encode()),)


def _one(text: str, known: tuple[str, ...], otherwise: str) -> str:
    return next((name for name in known if name.casefold() == text.casefold()), otherwise)
