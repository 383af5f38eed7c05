"""Each document's form. Contents after Raji et al. 2020, with our own reading where it is silent.

Source: arXiv 2001.00973 for the documents, Mitchell et al. 2019 for C2's headings, Gebru et al.
2021 for C3's. The columns are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dutchdoor.audit.documents.fields import Cell, Column, Field, Form, Shape
from dutchdoor.audit.model import DocumentKind, Severity

__all__ = [
    "FORMS",
    "HEAD",
    "MITIGATION_STATUSES",
    "OUTCOMES",
    "RISK_COLUMNS",
    "SENSITIVITIES",
]

SENSITIVITIES = ("public", "internal", "confidential", "infohazard")
OUTCOMES = ("proceed", "proceed with conditions", "escalate", "stop")
DECISIONS = ("go", "go with conditions", "no-go")
MITIGATION_STATUSES = ("planned", "done", "verified", "declined")
_GENERATED = ("document", "title", "stage", "written_by", "audit", "bundle", "model", "auditor")
_HEAD = ("sensitivity", "effort_minutes", "dissent")
HEAD = frozenset((*_GENERATED, *_HEAD))
"""Fields that every document of a full audit has."""

RISK_COLUMNS = (
    *("id", "group", "impact", "principle", "harm", "severity"),
    *("tried", "failed", "likelihood", "rating"),
)
"""The columns of the risk chart."""

_K = DocumentKind
_SEVERITIES = tuple(str(severity) for severity in Severity)


def _text(name: str, meaning: str, *, required: bool = True) -> Field:
    return Field(name, meaning, required=required)


def _texts(name: str, meaning: str, *, required: bool = True) -> Field:
    return Field(name, meaning, Shape.TEXTS, required=required)


def _rows(
    name: str, meaning: str, *columns: Column, required: bool = True, unless: str = ""
) -> Field:
    return Field(name, meaning, Shape.ROWS, columns=columns, required=required, unless=unless)


def _made(name: str) -> Field:
    return Field(name, "made by the program", cell=Cell.DERIVED, required=False)


_PRINCIPLE = Column("principle", "which principle is at stake", Cell.PRINCIPLE)
_HARM = Column("harm", "which harm is meant", Cell.HARM)
_FAILURE = (
    Column("id", "its name", Cell.ID),
    Column("function", "what the system should do"),
    Column("mode", "how it fails"),
    Column("effects", "what follows, for whom"),
    Column("causes", "why it may happen"),
    Column("controls", "what is there against it"),
    _PRINCIPLE,
    _HARM,
    Column("impact", "the row of S4 it would cause", Cell.CITED),
    Column("severity", "10 is worst", Cell.SCORE),
    Column("occurrence", "10 is nearly always", Cell.SCORE),
    Column("detection", "10 is nearly never noticed", Cell.SCORE),
    Column("rpn", "the product of the three", Cell.DERIVED),
    Column("priority", "high, medium or low, severity first", Cell.DERIVED),
)

_SCOPING: dict[DocumentKind, Form] = {
    _K.S0: Form(
        (
            _rows(
                "principles",
                "what a model is held to",
                Column("id", "short and stable, in a catalogue", Cell.ID),
                Column("name", "its name"),
                Column("definition", "what it asks"),
                Column("source", "where it is from"),
                Column("priority", "must, should, or your own word"),
                Column("owner", "who answers for it"),
            ),
        )
    ),
    _K.S1: Form(
        (
            _text("purpose", "what the model is for"),
            _texts("users", "who will use it"),
            _texts("intended_use", "what it is made for"),
            _texts("out_of_scope_use", "what it is not made for"),
            _rows(
                "requirements",
                "what must be so",
                Column("id", "its name", Cell.ID),
                Column("requirement", "what must be so"),
                Column("measure", "how one sees it"),
            ),
            _texts("success_criteria", "when it is a success"),
            _texts("dependencies", "what it needs from others", required=False),
            _text("release_plan", "to whom first, how wide next"),
        )
    ),
    _K.S2: Form(
        (
            _text("objective", "what is to be found out"),
            _text("system", "what is audited"),
            _texts("in_scope", "what is looked at"),
            _texts("out_of_scope", "what is not"),
            _texts("principles", "ids of S0"),
            _texts("harms", "ids of the catalogues"),
            _text("analogous", "comparable releases"),
            _text("access", "what the auditors could reach"),
            _text("timeline", "from when to when"),
            _text("independence", "who pays, employs, overrules"),
        )
    ),
    _K.S3: Form(
        (
            _texts("affected", "who is affected, and how"),
            _rows(
                "reviewers",
                "the panel",
                Column("name", "who"),
                Column("background", "what they know, where they stand"),
            ),
            _rows(
                "alignment",
                "one row or more for each principle in scope",
                _PRINCIPLE,
                Column("question", "what it asks of this use"),
                Column("answer", "what the panel thinks"),
                Column("evidence", "what that rests on"),
            ),
            Field("outcome", "what the panel decides", cell=Cell.CHOICE, choices=OUTCOMES),
            _texts("conditions", "under which it may proceed", required=False),
        )
    ),
    _K.S4: Form(
        (
            _text("sensitivity_of_use", "how sensitive the context is"),
            _text("constraints", "what limits the use"),
            _text("population", "how many, and who among them"),
            _rows(
                "impacts",
                "what may happen to whom",
                Column("id", "its name", Cell.ID),
                Column("group", "which people"),
                Column("impact", "what happens to them"),
                Column("valence", "good or bad", Cell.CHOICE, ("harm", "benefit")),
                Column("mechanism", "how the model brings it about"),
                Column("severity", "if it happens", Cell.CHOICE, _SEVERITIES),
                _PRINCIPLE,
                _HARM,
                Column("evidence", "what makes one think so"),
            ),
        )
    ),
}

_MAPPING: dict[DocumentKind, Form] = {
    _K.M1: Form(
        (
            _rows(
                "stakeholders",
                "who decides, builds, is affected",
                Column("id", "its name", Cell.ID),
                Column("role", "a role"),
                Column("group", "the group of S4 it stands for", Cell.NOTE),
                Column("decision_rights", "what they decide"),
                Column("contribution", "what they did"),
                Column("took_part", "in this audit", Cell.FLAG),
                Column("contact", "how to reach them"),
            ),
        )
    ),
    _K.M2: Form(
        (
            _rows(
                "components",
                "what the system is made of",
                Column("id", "its name", Cell.ID),
                Column("name", "what it is"),
                Column("kind", "model, data, service, person"),
                Column("owner", "whose it is"),
                Column("digest", "of what exactly", Cell.DIGEST_OR_NONE),
            ),
            _rows(
                "flows",
                "what passes between components",
                Column("source", "a component", Cell.CITED),
                Column("target", "a component", Cell.CITED),
                Column("what", "what passes"),
                Column("boundary", "what it crosses, and what guards it"),
            ),
            _texts("hand_offs", "who hands on to whom", required=False),
        )
    ),
    _K.M3: Form(
        (
            _rows(
                "earlier",
                "earlier audits",
                Column("version", "of the model"),
                Column("digest", "of its summary", Cell.DIGEST),
                Column("findings", "what was found"),
                Column("mended", "whether it was mended"),
                unless="without_earlier",
            ),
            _text("without_earlier", "why there is none", required=False),
        )
    ),
    _K.M4: Form(
        (
            _rows(
                "interviews",
                "who was talked with",
                Column("stakeholder", "an id of M1", Cell.CITED),
                Column("date", "when", Cell.DATE),
                Column("consent", "always true", Cell.FLAG),
                Column("transcript", "its digest, never its words", Cell.DIGEST),
                unless="without_interviews",
            ),
            _text("without_interviews", "why there is none", required=False),
            _texts("observations", "what was seen"),
            _texts("gaps", "where what is said and done part"),
            _texts("themes", "what came up again", required=False),
        )
    ),
    _K.M5: Form((_rows("failures", "ways to fail, before testing", *_FAILURE),)),
}

_COLLECTION: dict[DocumentKind, Form] = {
    _K.C1: Form((), open=True),
    _K.C2: Form(
        (_text("version_described", "which version"),),
        sections=(
            "Model details",
            "Intended use",
            "Factors",
            "Metrics",
            "Evaluation data",
            "Training data",
            "Quantitative analyses",
            "Ethical considerations",
            "Caveats and recommendations",
        ),
    ),
    _K.C3: Form(
        (_text("data_described", "which data"),),
        sections=(
            "Motivation",
            "Composition",
            "Collection process",
            "Preprocessing, cleaning and labelling",
            "Uses",
            "Distribution",
            "Maintenance",
        ),
    ),
    _K.C4: Form(
        (
            _rows(
                "attachments",
                "other files that show how the model came to be",
                Column("name", "what it is called"),
                Column("kind", "plan, diagram, review, ..."),
                Column("digest", "of the file", Cell.DIGEST),
                Column("note", "why it matters", Cell.NOTE),
                unless="without_attachments",
            ),
            _text("without_attachments", "why there is none", required=False),
        )
    ),
}

_TESTING: dict[DocumentKind, Form] = {
    _K.T1: Form(
        (
            _rows(
                "claims",
                "what documents claim",
                Column("document", "which", Cell.CHOICE, ("C1", "C2", "C3", "C4")),
                Column("claim", "a sentence of it"),
                Column("verified", "what is left", Cell.CHOICE, ("true", "partly", "false")),
                Column("evidence", "how it was checked"),
            ),
        )
    ),
    _K.T2: Form(
        (
            _rows(
                "tests",
                "what the figures are about",
                Column("id", "its name", Cell.ID),
                Column("hypothesis", "what was expected to fail"),
                Column("failure", "the row of M5", Cell.CITED),
                Column("impact", "the row of S4", Cell.CITED),
                Column("actor", "who was imitated"),
                _PRINCIPLE,
                _HARM,
                Column("evaluation", "whose figures, or empty", Cell.NOTE),
                Column("failed_when", "", Cell.CHOICE, ("", "hit", "miss")),
                Column("tried", "how often", Cell.COUNT),
                Column("failed", "how often", Cell.COUNT),
                Column("reproduced", "how to do it again"),
            ),
        ),
        open=True,
    ),
    _K.T3: Form(
        (
            _rows(
                "risks",
                "severity of S4 with the occurrence of T2",
                *(Column(name, "", Cell.DERIVED) for name in RISK_COLUMNS),
                required=False,
            ),
        )
    ),
}

_REFLECTION: dict[DocumentKind, Form] = {
    _K.R1: Form(
        (
            _text("designers_model", "how makers think it is used"),
            _text("users_model", "how users think it works"),
            _texts("foreseeable_misuse", "what to expect"),
            _rows(
                "failures",
                "M5's failures after the tests",
                *_FAILURE,
                Column("status", "closed says by what in action", Cell.CHOICE, ("open", "closed")),
                Column("action", "what was done", Cell.NOTE),
            ),
        )
    ),
    _K.R2: Form(
        (
            _rows(
                "mitigations",
                "what is done about what was found",
                Column("concerns", "a finding, risk or failure", Cell.CITED),
                Column("mitigation", "what is done"),
                Column("owner", "who answers for it"),
                Column("due", "when", Cell.DATE),
                Column("threshold", "how close is close enough"),
                Column("residual", "what risk is left"),
                Column("evidence", "how one will see that it works"),
                Column("status", "where it stands", Cell.CHOICE, MITIGATION_STATUSES),
            ),
            _text("leadership", "who of the leadership has read it"),
        )
    ),
    _K.R3: Form(tuple(_made(name) for name in ("sign_offs", "evidence", "catalogues"))),
    _K.R4: Form((), open=True),
}

_AFTER: dict[DocumentKind, Form] = {
    _K.P1: Form(
        (
            Field("decision", "what was decided", cell=Cell.CHOICE, choices=DECISIONS),
            Field("summary", "digest of the signed summary", cell=Cell.DIGEST),
            _text("record", "the release decision in the log"),
            _texts("conditions", "under which", required=False),
            _text("reasons", "why"),
            _texts("approvers", "who decided"),
            Field("expires", "until when it holds", cell=Cell.DATE),
        )
    ),
    _K.P2: Form(
        (
            _rows(
                "tracking",
                "what became of R2's mitigations",
                Column("concerns", "as in R2", Cell.CITED),
                Column("status", "where it stands", Cell.CHOICE, MITIGATION_STATUSES),
                Column("evidence", "what shows it"),
                Column("retest", "which test looked again", Cell.NOTE),
                Column("verified_by", "who looked", Cell.NOTE),
            ),
            _texts("triggers", "what starts a new audit"),
        )
    ),
}

FORMS: Mapping[DocumentKind, Form] = MappingProxyType(
    {**_SCOPING, **_MAPPING, **_COLLECTION, **_TESTING, **_REFLECTION, **_AFTER}
)
"""The form of every document."""
