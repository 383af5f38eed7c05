"""The parts of the report that only a full audit has, and the sentence in place of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dutchdoor.audit.documents.failures import STOPPING_SEVERITY
from dutchdoor.audit.model import DocumentKind, DocumentState
from dutchdoor.audit.outputs.figures import cut
from dutchdoor.audit.outputs.material import Material
from dutchdoor.audit.outputs.model import Block, Bullets, Notice, Section, Table, Text
from dutchdoor.audit.outputs.risk_figures import failure_figure, failures_ranked, risk_figure
from dutchdoor.audit.outputs.text import NOT_STATED, label, short
from dutchdoor.audit.outputs.whole import Whole

__all__ = ["SHORT_NOTICE", "whole_sections"]

_K = DocumentKind
CELL_CHARACTERS_MAX = 320
SCORE_CHARACTERS_MAX = 16
SHORT_NOTICE = (
    "This was a short audit of five documents: it has no ethical risk chart, no failure analysis, "
    "no mitigation plan with owners and dates, no record of dissent, and no account of what no "
    "test is about. That these are not here does not say that there was nothing to write in them."
)


def whole_sections(material: Material) -> list[Section]:
    """The parts of a full audit; for a short one the sentence that it leaves them out."""
    whole = material.whole
    if whole is None:
        return [Section("What a short audit leaves out", (Notice(SHORT_NOTICE),))]
    return [
        _risks(whole),
        _failures(whole),
        _plan(whole),
        _dissent(whole),
        _gaps(whole),
        _after(whole),
    ]


def _risks(whole: Whole) -> Section:
    blocks = _source(whole, _K.T3)
    if _K.S4 in whole.withheld and _K.T3 not in whole.withheld:
        blocks.append(Notice(_withheld(whole, _K.S4)))
    figure = risk_figure(whole.risks)
    if figure is not None:
        words = (
            "Severity is how bad the impact would be (S4); likelihood comes from the upper end of "
            "the 95 % interval of the failures in the tests (T2), of each impact's worst test. "
            "What no test was about is untested, and counts as likely."
        )
        blocks += [figure, Text(words), _risk_table(whole.risks)]
    elif not {_K.T3, _K.S4} & set(whole.withheld):
        blocks.append(Notice("No risk is charted yet: there is nothing to read from this.", True))
    return Section("Which risks are high", tuple(blocks))


def _risk_table(risks: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            f"{_cell(row, 'id')}: {_cell(row, 'group')}",
            _cell(row, "impact"),
            f"{_cell(row, 'principle')}; {_cell(row, 'harm')}",
            _cell(row, "severity"),
            f"{_cell(row, 'likelihood')}: {_cell(row, 'failed')} of {_cell(row, 'tried')}",
            _cell(row, "rating"),
        )
        for row in risks
    )
    head = ("risk to whom", "what may happen", "principle; harm", "severity", "failed", "risk")
    widths = (0.17, 0.29, 0.22, 0.11, 0.13, 0.08)
    return Table(head, rows, "Ethical risk chart as a table", widths)


def _failures(whole: Whole) -> Section:
    blocks = _source(whole, whole.analysed)
    if whole.analysed is _K.M5 and whole.failures:
        words = "The final failure analysis (R1) is not written yet: this is the one before tests."
        blocks.append(Notice(words, severe=True))
    if not whole.failures:
        if whole.analysed not in whole.withheld:
            blocks.append(Notice("No failure is listed yet.", severe=True))
        return Section("How it may fail", tuple(blocks))
    severe = whole.severe_open
    if severe:
        words = (
            f"Open failures of severity {STOPPING_SEVERITY} or 10: {', '.join(severe)}. They stop "
            "the audit, however rare they are."
        )
        blocks.append(Notice(words, severe=True))
    else:
        blocks.append(
            Text(f"No failure of severity {STOPPING_SEVERITY} or 10 is open: none stops the audit.")
        )
    figure = failure_figure(whole.failures)
    words = (
        "Each score is from 1 to 10, 10 worst; a high detection score means hard to notice. The "
        "product (RPN) orders; the action priority weighs severity first; what stops an audit is "
        "severity alone."
    )
    blocks += [*([figure] if figure else []), Text(words), _failure_table(whole)]
    return Section("How it may fail", tuple(blocks))


def _failure_table(whole: Whole) -> Table:
    rows = tuple(
        (
            f"{_cell(row, 'id')}: {_cell(row, 'mode')}",
            _cell(row, "effects"),
            *(_cell(row, name) for name in ("severity", "occurrence", "detection", "rpn")),
            _cell(row, "priority"),
            _joined(_cell(row, "status", "open"), _cell(row, "action", "")),
        )
        for row in failures_ranked(whole.failures)
    )
    head = ("failure", "effect", "S", "O", "D", "RPN", "priority", "status, action")
    widths = (0.22, 0.22, 0.05, 0.05, 0.05, 0.08, 0.11, 0.22)
    caption = "Failures: severity (S), occurrence (O), detection (D), their product, and priority"
    return Table(head, rows, caption, widths)


def _plan(whole: Whole) -> Section:
    blocks = _source(whole, _K.R2)
    if whole.plan:
        rows = tuple(
            (
                _cell(row, "concerns"),
                _cell(row, "mitigation"),
                _cell(row, "owner"),
                _cell(row, "due"),
                _cell(row, "status"),
                _cell(row, "residual"),
            )
            for row in whole.plan
        )
        head = ("concerns", "what is done", "who", "until when", "status", "risk that is left")
        widths = (0.13, 0.28, 0.1, 0.14, 0.12, 0.23)
        blocks.append(Table(head, rows, "Mitigation plan", widths))
    elif _K.R2 not in whole.withheld:
        blocks.append(Notice("No mitigation is planned yet.", severe=True))
    return Section("What is done about it", tuple(blocks))


def _dissent(whole: Whole) -> Section:
    blocks: list[Block] = []
    if whole.dissents:
        items = (f"{row.kind}: {row.by}, on {row.about}: {row.text}" for row in whole.dissents)
        blocks.append(Bullets(tuple(items)))
    else:
        blocks.append(Text("No document records a dissent."))
    if whole.withheld:
        names = ", ".join(str(kind) for kind in whole.withheld)
        blocks.append(Notice(f"Dissent in documents that are not quoted stays there: {names}."))
    return Section("Who disagreed", tuple(blocks))


def _gaps(whole: Whole) -> Section:
    title = "What no test is about"
    if whole.trouble:
        words = f"It is not known what the tests cover: {whole.trouble}."
        return Section(title, (Notice(words, severe=True),))
    items = [
        f"{label(name).capitalize()}: {_counted(ids, named=whole.gaps_named)}"
        for name, ids in whole.gaps.items()
        if ids
    ]
    words = "Stakeholders count as covered when somebody interviewed them."
    if not items:
        words = f"Everything that the documents name has a test. {words}"
        return Section(title, (Text(words),))
    return Section(title, (Bullets(tuple(items)), Text(words)))


def _after(whole: Whole) -> Section:
    blocks: list[Block] = []
    for kind, what in ((_K.P1, "The decision on this audit"), (_K.P2, "What became of the plan")):
        state = whole.states.get(kind)
        if kind in whole.withheld:
            blocks.append(Notice(f"{what}: {_withheld(whole, kind)}"))
        elif state is None or state.state is not DocumentState.SIGNED:
            blocks.append(Text(f"{what} ({kind}) was not signed when this was written."))
        elif kind is _K.P1:
            blocks += [*_source(whole, kind), *_decision(whole)]
        else:
            blocks += [*_source(whole, kind), *_tracking(whole)]
    return Section("After the audit", tuple(blocks))


def _decision(whole: Whole) -> list[Block]:
    given = whole.decision
    rows = (
        ("decision", _cell(given, "decision")),
        ("reasons", _cell(given, "reasons")),
        ("conditions", _listed(given, "conditions") or "none"),
        ("who decided", _listed(given, "approvers") or NOT_STATED),
        ("holds until", _cell(given, "expires")),
        ("in the log", _cell(given, "record")),
    )
    return [Table(("what", "as P1 says"), rows, "Decision on the audit", (0.2, 0.8))]


def _tracking(whole: Whole) -> list[Block]:
    names = ("concerns", "status", "evidence", "retest", "verified_by")
    rows = tuple(tuple(_cell(row, name, "none") for name in names) for row in whole.tracking)
    head = ("concerns", "status", "what shows it", "tested again", "looked at by")
    blocks: list[Block] = [
        Table(head, rows, "Tracking of mitigations", (0.16, 0.14, 0.36, 0.17, 0.17))
    ]
    if whole.triggers:
        blocks += [Text("A new audit starts with:"), Bullets(whole.triggers)]
    return blocks


def _source(whole: Whole, kind: DocumentKind) -> list[Block]:
    """Which document it is from and who signed it; a notice where nobody did, or it was changed."""
    if kind in whole.withheld:
        return [Notice(_withheld(whole, kind))]
    row = whole.states.get(kind)
    if row is None:
        return []
    why = f" ({row.because})" if row.because else ""
    if row.state is DocumentState.SIGNED:
        return [Text(f"From {kind}, {row.title}, {short(row.digest)}: {row.because}.")]
    severe = row.state in {DocumentState.CHANGED, DocumentState.REOPENED, DocumentState.MISSING}
    words = f"From {kind}, {row.title}, which is {row.state}{why}: nobody answers for it as it is."
    return [Notice(words, severe=severe)]


def _withheld(whole: Whole, kind: DocumentKind) -> str:
    return f"{kind} is not for everybody and is not quoted; its digest is {whole.withheld[kind]}."


def _counted(ids: tuple[str, ...], *, named: bool) -> str:
    return ", ".join(ids) if named else f"{len(ids)}, named only inside the audit"


def _cell(row: Mapping[str, Any], name: str, otherwise: str = NOT_STATED) -> str:
    """A cell of at most so many characters that it fits a page; the document has the whole text."""
    value = row.get(name)
    characters_max = SCORE_CHARACTERS_MAX if name in _NARROW else CELL_CHARACTERS_MAX
    return otherwise if value in (None, "", []) else cut(str(value), characters_max)


def _listed(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    given = "; ".join(map(str, value)) if isinstance(value, list) else ""
    return cut(given, CELL_CHARACTERS_MAX)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


_NARROW = frozenset(
    {
        *("severity", "occurrence", "detection", "rpn", "priority", "likelihood", "rating"),
        *("tried", "failed", "status", "due"),
    }
)
