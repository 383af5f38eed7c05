"""The model card for Hugging Face; the only file that imports huggingface_hub.

Its front matter is read back with the hub's own classes before it is written; nothing is sent to
the hub. Headings after Mitchell et al. 2019 (arXiv 1810.03993).
"""

from __future__ import annotations

from typing import Any

import yaml

from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.outputs.markdown import markdown
from dutchdoor.audit.outputs.material import Material, describe
from dutchdoor.audit.outputs.model import Block, Bullets, File, Notice, Page, Section, Table, Text
from dutchdoor.audit.outputs.report import DRAFT_NOTICE, UNTESTED
from dutchdoor.audit.outputs.text import NOT_STATED, label, moment
from dutchdoor.errors import Invalid

__all__ = ["model_card"]

_CARD = DocumentKind.C2
_LANGUAGE_CHARACTERS_MAX = 3


def model_card(material: Material) -> tuple[File, ...]:
    """The card. Raises Invalid: the hub's own classes do not read what was written."""
    front = yaml.safe_dump(
        _front(material), sort_keys=False, allow_unicode=True, width=96, default_flow_style=False
    )
    text = f"---\n{front}---\n{markdown(_page(material))}"
    _validate(text, material)
    checked = "huggingface_hub ModelCardData, EvalResult"
    return (File("model-card/README.md", text.encode(), checked),)


def _front(material: Material) -> dict[str, Any]:
    from huggingface_hub import EvalResult, ModelCardData

    facts = material.facts
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=row.name,
            dataset_name=label(row.name),
            metric_type="rate" if row.is_rate else "value",
            metric_value=float(row.score),
            metric_name=f"{row.counts} (95 %: {row.low} to {row.high}; n = {row.n})",
        )
        for row in material.evaluations
        if row.is_measured
    ]
    languages = [
        name
        for name in facts.all("languages")
        if name.isascii() and name.isalpha() and len(name) <= _LANGUAGE_CHARACTERS_MAX
    ]
    data = ModelCardData(
        model_name=material.model,
        language=languages or None,
        license=facts.get("licence").casefold() if facts.given("licence") else None,
        license_link=facts.get("licence_link") if facts.given("licence_link") else None,
        base_model=list(facts.all("base_models")) or None,
        tags=["dutchdoor", "audited", *(["draft"] if material.draft else [])],
        eval_results=results or None,
    )
    ours = {
        "audit": material.audit,
        "bundle": material.bundle,
        "summary": material.status.summary,
        "written": moment(material.stamp_ms),
    }
    return {**data.to_dict(), "dutchdoor": ours}


def _validate(text: str, material: Material) -> None:
    from huggingface_hub import ModelCard

    try:
        card = ModelCard(text)
        results = card.data.eval_results or []
        measured = [row for row in material.evaluations if row.is_measured]
        fits = len(results) == len(measured) and card.data.to_dict()["dutchdoor"]["bundle"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("the model card is none", code="output_not_valid") from error
    if fits != material.bundle:
        raise Invalid("the model card lost what was written", code="output_not_valid")


def _page(material: Material) -> Page:
    facts = material.facts
    sections = [
        Section(
            "Model details",
            (
                *((Notice(DRAFT_NOTICE, severe=True),) if material.draft else ()),
                _quoted(material, "model details"),
                Table(
                    ("what", "as stated"),
                    (
                        ("provider", facts.get("provider")),
                        ("version", facts.get("version")),
                        ("released", facts.get("release_date")),
                        ("architecture", facts.get("architecture")),
                        ("parameters", facts.get("parameters")),
                        ("licence", facts.get("licence")),
                        ("base models", facts.get("base_models")),
                        ("contact", facts.get("contact")),
                        ("bundle digest", material.bundle),
                    ),
                ),
            ),
        ),
        Section(
            "Intended use",
            (
                _quoted(material, "intended use"),
                Text(f"Intended: {facts.get('intended_uses')}"),
                Text(f"Restricted: {facts.get('restricted_uses')}"),
                Text(describe(material.decision)),
            ),
        ),
        Section("Factors", (_quoted(material, "factors"),)),
        Section("Metrics", (_quoted(material, "metrics"), _how(material))),
        Section("Evaluation data", (_quoted(material, "evaluation data"),)),
        Section(
            "Training data",
            (
                _quoted(material, "training data"),
                Text(f"Provenance: {facts.get('data_provenance')}"),
            ),
        ),
        Section("Quantitative analyses", (_figures(material),)),
        Section("Ethical considerations", (_quoted(material, "ethical"), _findings(material))),
        Section(
            "Caveats and recommendations",
            (
                _quoted(material, "caveats"),
                Text(
                    f"Figures and findings come from audit {material.audit}, an internal audit "
                    "through the server that offers the model. They hold for the bundle named "
                    "above, with its guard, and for no other form of the model."
                ),
            ),
        ),
    ]
    lead = f"Bundle {material.bundle}"
    return Page(f"Model card: {material.model}", lead, tuple(sections))


def _quoted(material: Material, heading: str) -> Block:
    return Text(material.quote(_CARD, heading) or f"By the maker: {NOT_STATED}.")


def _how(material: Material) -> Block:
    return Text(
        "Rates with 95 % Wilson score intervals. Refusals are recognised by how an answer opens; "
        "answers to harmful requests were judged and not kept. Depth of access: "
        f"{', '.join(map(label, material.access_depths)) or 'none'}."
    )


def _figures(material: Material) -> Block:
    rows = tuple((label(row.name), row.text, str(row.seed)) for row in material.evaluations)
    if not rows:
        return Text("No evaluation was run.")
    return Table(("evaluation", "figure", "seed"), rows)


def _findings(material: Material) -> Block:
    items = tuple(f"{row.severity}, {row.status}: {row.text}" for row in material.ranked)
    none = "No finding. That says that nothing was found." if material.tested else UNTESTED
    return Bullets(items or (none,))
