"""`facts.yaml`: what the provider says about the model, for forms that ask what no audit measures.

The file lies in the audit's folder, is written by people, and every line of it is optional. What it
says is quoted as the provider's word and marked so; what it does not say is "not stated".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_yaml
from dutchdoor.audit.outputs.text import NOT_STATED, cleaned
from dutchdoor.errors import Invalid

__all__ = ["COMPONENTS", "FACTS", "FACTS_NAME", "Component", "Facts", "read_facts"]

FACTS_NAME = "facts.yaml"

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "provider": "legal name of the provider",
        "contact": "where the provider can be asked",
        "family": "the model's family",
        "version": "the model's version",
        "base_models": "models that it was made from",
        "release_date": "date of release, YYYY-MM-DD",
        "union_market_date": "date of placing on the Union market, YYYY-MM-DD",
        "licence": "licence of the weights: an SPDX identifier",
        "licence_link": "where the licence can be read",
        "additional_assets": "further assets released, how, and under which licence",
        "download_location": "where the weights can be had, as a URL",
        "languages": "languages, as ISO 639-1 codes",
        "architecture": "architecture, in twenty words",
        "architecture_detail": "architecture, in detail",
        "design": "design specification of the model",
        "input_modalities": "what goes in, with greatest sizes",
        "output_modalities": "what comes out, with greatest sizes",
        "parameters": "number of parameters, a whole number",
        "acceptable_use": "acceptable use policy, or where it can be read",
        "intended_uses": "intended uses",
        "restricted_uses": "restricted uses",
        "integration_systems": "systems it may and may not be integrated in",
        "integration_means": "technical means for integration",
        "hardware": "hardware that it needs",
        "software": "software that it needs",
        "training_design": "how it was trained: methods and steps",
        "training_rationale": "key choices in training, and why",
        "training_parameters": "what training optimised, and which parameters mattered",
        "data_modalities": "modalities of the training data",
        "data_provenance": "where the training data came from",
        "data_obtained": "how the training data was obtained and selected",
        "data_points": "number of data points, to two significant figures",
        "data_scope": "scope and main characteristics of the training data",
        "data_curation": "how the training data was cleaned, filtered and labelled",
        "data_harmful": "measures on harmful data",
        "data_personal": "measures on personal data",
        "data_bias": "measures on identifiable bias",
        "training_time": "training time, wall clock",
        "training_hardware_days": "training time, in days of hardware",
        "training_compute": "training compute, in floating-point operations",
        "training_compute_method": "how the training compute was found",
        "energy": "energy used for training, in MWh",
        "energy_method": "how the energy was found",
        "inference_compute": "compute of a stated inference, in floating-point operations",
        "inference_compute_method": "how the compute of inference was found",
        "adaptations": "alignment and fine-tuning after pre-training",
        "system_prompt": "the system prompt, or where it can be read",
        "specification": "principles, priorities and topics that the model should refuse",
        "differences": "differences to the provider's other models",
        "expected_use": "past and expected use",
        "system_architecture": "how the parts of the serving system work together",
        "safety_margin": "the safety margin, and why it is enough",
        "invalidating_conditions": "conditions under which the reasons to proceed fail",
        "external_input": "whether and how outsiders informed the decision",
        "external_evaluators": "external evaluators, and how they were chosen",
        "security_goal": "whom the security measures are to withstand",
        "security_measures": "security measures, and how they compare to the goal",
        "outlook": "development expected in the next six months",
        "landscape": "changes in the landscape of models and threats",
        "model_type": "MOF: language, vision, image, audio, video, 3d, code, multimodal or other",
        "model_architecture": "MOF: transformer decoder, diffusion, … or undisclosed",
        "model_treatment": "MOF: pre-trained, instruct fine-tuned or chat fine-tuned",
    }
)
"""Every fact that may be stated, and what is asked for. A list where several things are meant."""

COMPONENTS: tuple[str, ...] = (
    "Model architecture",
    "Model parameters (Final)",
    "Technical report",
    "Evaluation results",
    "Model card",
    "Data card",
    "Sample model outputs",
    "Training code",
    "Inference code",
    "Evaluation code",
    "Evaluation data",
    "Supporting libraries and tools",
    "Datasets",
    "Data preprocessing code",
    "Model parameters (Intermediate)",
    "Research paper",
    "Model metadata",
)
"""The seventeen components of the Model Openness Framework, as its tool spells them."""


@dataclass(frozen=True)
class Component:
    """One component as it is released. licence: an SPDX identifier. path: where it is."""

    name: str
    licence: str = ""
    path: str = ""


@dataclass(frozen=True)
class Facts:
    """What the provider states. digest: of the file, "" where there is none."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    components: tuple[Component, ...] = ()
    digest: str = ""

    def get(self, name: str) -> str:
        """The fact as one text, or `not stated`."""
        assert name in FACTS, f"{name} is a fact"
        return ", ".join(self.values.get(name, ())) or NOT_STATED

    def all(self, name: str) -> tuple[str, ...]:
        """The fact as a list, empty where it is not stated."""
        assert name in FACTS, f"{name} is a fact"
        return tuple(self.values.get(name, ()))

    def given(self, name: str) -> bool:
        """Whether it is stated."""
        return bool(self.all(name))

    @property
    def parameters(self) -> int | None:
        """The number of parameters, where it is stated."""
        return int(self.get("parameters")) if self.given("parameters") else None


def read_facts(folder: Path) -> Facts:
    """The facts in an audit's folder, none where there is no file.

    Raises Invalid: not plain YAML, an unknown name, a value that is no text or list of texts, or a
    number of parameters that is none.
    """
    try:
        with (folder / FACTS_NAME).open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except FileNotFoundError:
        return Facts()
    if len(data) > DOCUMENT_BYTES_MAX:
        raise _bad(f"it is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        value = cleaned(read_yaml(data.decode(), where=FACTS_NAME)) or {}
    except UnicodeDecodeError as error:
        raise _bad("it is not UTF-8") from error
    if not isinstance(value, dict):
        raise _bad("it is no mapping")
    components = _components(value.pop("components", None) or {})
    values = {str(name): _texts(str(name), item) for name, item in value.items()}
    count = "".join(values.get("parameters", ()))
    if count and not (count.isascii() and count.isdigit() and len(count) <= 15):
        raise _bad("'parameters' is a whole number")
    return Facts(values, components, "sha256:" + canonical.sha256_hex(data))


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if name not in FACTS:
        raise _bad(f"'{name}' is not a fact that is asked for")
    items = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        raise _bad(f"'{name}' is neither text nor a list of texts")
    return tuple(text for text in (str(item).strip() for item in items) if text)


def _components(value: Any) -> tuple[Component, ...]:
    if not isinstance(value, dict):
        raise _bad("'components' is no mapping")
    found = []
    for name, row in value.items():
        if name not in COMPONENTS:
            raise _bad(f"'{name}' is no component of the Model Openness Framework")
        if not isinstance(row, dict) or not set(row) <= {"licence", "path"}:
            raise _bad(f"component '{name}' has 'licence' and 'path', nothing else")
        if not all(isinstance(item, str) for item in row.values()):
            raise _bad(f"component '{name}' holds something that is no text")
        found.append(Component(name, row.get("licence", ""), row.get("path", "")))
    return tuple(found)


def _bad(why: str) -> Invalid:
    hint = "docs/reference/outputs.md lists every fact that may be stated"
    return Invalid(f"{FACTS_NAME}: {why}", code="bad_facts", hint=hint)
