"""An audit from its start to its signed summary: the order is held here.

Documents are people's. The program fills the parts that can be filled, holds the order, notices
what changed after it was signed, and refuses to complete what is not finished.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dutchdoor.audit.artifacts import BundleFacts
from dutchdoor.audit.checks import check_ready, read_testing
from dutchdoor.audit.documents.coverage import Coverage, coverage
from dutchdoor.audit.documents.crossing import must_not_stop
from dutchdoor.audit.documents.export import Exported, export
from dutchdoor.audit.documents.history import check_copies
from dutchdoor.audit.documents.refresh import check_history, refresh
from dutchdoor.audit.evaluate import SHORT_NAMES, Endpoint, EvaluationOptions, run_evaluations
from dutchdoor.audit.filling import (
    ProbeFacts,
    fill_amend,
    fill_artifacts,
    fill_summary,
    fill_testing,
    put_findings,
    put_import,
)
from dutchdoor.audit.findings import settle
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.graph import Standing
from dutchdoor.audit.imports import Imported, must_name, read_import
from dutchdoor.audit.model import (
    SPECIFICATIONS,
    AuditStatus,
    DocumentKind,
    DocumentState,
    DocumentStatus,
    Finding,
    FindingStatus,
    Scale,
)
from dutchdoor.audit.ports import Leases, Progress, Reader, Record
from dutchdoor.audit.roles import audit_keys, document_keys, must_be_separate, must_be_trusted
from dutchdoor.audit.signing import Signing
from dutchdoor.audit.standing import is_post_audit, standings_of, status_of
from dutchdoor.audit.summary import SUMMARY_KIND, AuditSummary, open_summary
from dutchdoor.audit.template import documents_of, fresh
from dutchdoor.clock import Clock, to_iso
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import random_part

__all__ = ["Audit", "ProbeFacts", "list_audits"]

_CLOSED = frozenset({DocumentState.WAITING, DocumentState.MISSING})


class Audit:
    """One audit. trust: whose signatures count; auditors' for what they write, and the summary.

    leases: says whether external auditors may sign now; without it, none may.
    """

    def __init__(
        self, folder: Path, trust: Trust, clock: Clock, leases: Leases | None = None
    ) -> None:
        """Open the audit in `folder`. Raises NotFound: there is none. Invalid: it was changed."""
        self._folder = AuditFolder(folder)
        self._trust = trust
        self._clock = clock
        self._leases = leases
        self._subject = self._folder.subject()

    @classmethod
    def start(
        cls,
        audits: Path,
        trust: Trust,
        clock: Clock,
        *,
        bundle: str,
        model: str,
        auditor: str,
        objective: str = "",
        scale: Scale = Scale.SHORT,
    ) -> Audit:
        """A new audit in a folder of its own under `audits`, with its documents from templates.

        objective: what is to be found out; a plain default where empty. scale: which documents.
        Raises Invalid: the bundle is no bundle digest, or model or auditor is empty. Raises
        Refused: a full audit where somebody acts in two roles.
        """
        if not bundle.startswith("sha256:") or len(bundle) != 71:
            raise Invalid(f"'{bundle}' is no bundle digest", code="bad_bundle_digest")
        if not model.strip() or not auditor.strip():
            raise Invalid("an audit needs a model and an auditor", code="bad_audit")
        if scale is Scale.FULL:
            must_be_separate(trust)
        name = "audit_" + random_part(12)
        subject = AuditSubject(
            audit=name,
            bundle=bundle,
            model=model,
            auditor=auditor,
            objective=objective or f"Whether {model} may be offered, to whom, and how deep.",
            started_ms=clock.now_ms(),
            scale=scale,
        )
        names = ("audit", "bundle", "model", "auditor", "objective")
        facts = {name: str(getattr(subject, name)) for name in names}
        facts["started"] = to_iso(subject.started_ms)[:10]
        folder = AuditFolder(audits / name)
        folder.create(subject, {kind: fresh(kind, facts, scale) for kind in documents_of(scale)})
        return cls(audits / name, trust, clock)

    @property
    def subject(self) -> AuditSubject:
        """What the audit is about."""
        return self._subject

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    def status(self) -> AuditStatus:
        """Where every document stands, what was found, and what to do next.

        Raises Tampered: a sign-off, a signed version in history/ or the summary does not verify.
        """
        return status_of(self._folder, self._subject, self._trust, self.summary())

    def summary(self) -> AuditSummary | None:
        """The signed summary, verified, or None before the audit is completed."""
        envelope = self._folder.summary()
        return None if envelope is None else open_summary(envelope, audit_keys(self._trust))

    def collect(self, facts: BundleFacts) -> DocumentStatus:
        """Fill C1 from what the bundle's header says.

        Raises Refused: the scope is not signed yet, or the audit is completed. Raises Invalid:
        the facts are of another bundle.
        """
        if facts.bundle != self._subject.bundle:
            raise Invalid("these are facts of another bundle", code="other_bundle")
        self.must_be_open(DocumentKind.C1)
        fill_artifacts(self._folder, facts)
        return self._document(DocumentKind.C1)

    def run(
        self,
        endpoint: Endpoint,
        *,
        evaluations: Sequence[str] = SHORT_NAMES,
        probe: ProbeFacts | None = None,
        options: EvaluationOptions | None = None,
        progress: Progress | None = None,
    ) -> tuple[Finding, ...]:
        """Run evaluations against the server and write T2: figures, findings, the probe's card.

        Figures of evaluations that are not run again stay. Findings that people settled stay
        settled only where they still say the same.
        Raises Refused: the checklist is not signed yet, or the audit is completed. Raises Invalid:
        the server serves another bundle, or an evaluation is unknown. Raises Unavailable: one did
        not come to its end; T2 is then as it was.
        """
        if endpoint.bundle != self._subject.bundle:
            message = "the server serves another bundle than the one audited"
            raise Invalid(message, code="other_bundle", hint="serve the audited bundle")
        self.must_be_open(DocumentKind.T2)
        measured = run_evaluations(
            evaluations, endpoint, options or EvaluationOptions(), self._folder.logs, progress
        )
        return fill_testing(self._folder, measured, endpoint.access_depth, probe)

    def take_import(self, path: Path, *, although_other_model: bool = False) -> Imported:
        """Put another tool's results into T2: digest, kind and headline figures, never the file.

        Raises Refused: T2 is not open, or the file names another model than the audited one and
        nobody said that it is taken all the same. Raises as `read_import`.
        """
        self.must_be_open(DocumentKind.T2)
        imported = read_import(path)
        if not although_other_model:
            must_name(imported, self._subject.model)
        put_import(self._folder, imported)
        return imported

    def amend(self, run: Callable[[Path], object]) -> tuple[Finding, ...]:
        """Run an amend test, which leaves `amend.json` in the folder that it is given, and fill T2.

        Raises Refused: T2 is not open. Raises what `run` raises; T2 is then as it was.
        """
        self.must_be_open(DocumentKind.T2)
        run(self.path)
        return fill_amend(self._folder)

    def settle(
        self, finding: str, status: FindingStatus, reason: str, by: str
    ) -> tuple[Finding, ...]:
        """Accept a finding, or say by what it is mitigated; T2 must then be signed (again).

        Raises NotFound: no such finding. Raises Invalid: no reason. Raises Refused: completed.
        """
        self.must_be_open(DocumentKind.T2)
        testing = read_testing(self._folder)
        if finding not in {row.id for row in testing.findings}:
            known = ", ".join(row.id for row in testing.findings) or "none"
            message = f"no finding '{finding}'"
            raise NotFound(message, code="no_finding", hint=f"findings: {known}")
        findings = tuple(
            settle(row, status, reason, by) if row.id == finding else row
            for row in testing.findings
        )
        put_findings(self._folder, findings)
        return findings

    def report(self) -> Path:
        """Fill R4 from the signed documents; the file to read. Raises Refused: some are open."""
        self.must_be_open(DocumentKind.R4)
        fill_summary(self._folder)
        if self._subject.scale is Scale.FULL:
            refresh(DocumentKind.R4, self._folder, self._subject, self._trust)
        return self._folder.file(DocumentKind.R4)

    def derive(self) -> tuple[DocumentKind, ...]:
        """Make what follows anew in the open documents; which changed. Raises as `refresh`.

        Raises Refused: of scale short. Raises Tampered: history/ is not what was signed.
        """
        if self._subject.scale is not Scale.FULL:
            message = "an audit of scale short has no chart of risks and no failure analysis"
            raise Refused(message, code="audit_short", hint="dutchdoor audit start --full")
        check_copies(self._folder, self._subject, self._trust)
        before = self._folder.digests()
        for kind, standing in self._standings().items():
            if standing.state in {DocumentState.OPEN, DocumentState.REOPENED}:
                refresh(kind, self._folder, self._subject, self._trust)
        after = self._folder.digests()
        return tuple(kind for kind in before if before[kind] != after[kind])

    def coverage(self) -> Coverage:
        """What the tests are about and what no test is about, by the documents as they are."""
        return coverage(self._folder)

    def export(self, target: Path, reader: Reader) -> tuple[Exported, ...]:
        """Write what somebody may read. Raises as `documents.export.export`."""
        return export(self._folder, self._subject, self._trust, target, reader)

    def sign(self, signer: Signer, kinds: Iterable[DocumentKind] = ()) -> tuple[DocumentKind, ...]:
        """Sign documents as they are now; without `kinds`, all that may be signed, in order.

        R4's generated part is made fresh first. Returns what was signed.
        Raises Refused: the signer is not trusted, a document is closed or signed already, nothing
        may be signed, or the audit is completed. Raises Invalid: a document is not finished.
        """
        wanted = set(kinds)
        after = {kind for kind in self._folder.kinds if is_post_audit(kind)}
        # The documents after the audit are the only ones that a completed audit still takes.
        if not after or not wanted <= after:
            self._must_be_unfinished()
        signed: list[DocumentKind] = []
        held: Exception | None = None
        for kind in self._folder.kinds:
            if (wanted and kind not in wanted) or self._is_after(kind, wanted):
                continue
            standing = self._standings()[kind]
            if not wanted and (standing.state in {*_CLOSED, DocumentState.SIGNED}):
                continue
            try:
                self._sign_one(kind, standing, signer)
            except (Invalid, Refused) as error:
                if wanted:
                    raise
                held = held or error
                break
            signed.append(kind)
        if not signed:
            if held is not None:
                raise held
            message = "there is no document to sign"
            raise Refused(message, code="nothing_to_sign", hint="dutchdoor audit status")
        return tuple(signed)

    def complete(self, signer: Signer, record: Record) -> AuditSummary:
        """Sign the summary, record it, keep it: from then on the audit is closed.

        The entry is durable before the summary is written, so that no summary exists unrecorded.
        Raises Refused: a document is not signed, a severe finding is open, the signer is not
        trusted, or the audit is completed. Raises Unavailable: not recorded; all is as it was.
        """
        self._must_be_unfinished()
        must_be_trusted(signer, audit_keys(self._trust))
        self._signing().must_be_in_role(("an auditor",), signer)
        for kind, standing in self._standings().items():
            if is_post_audit(kind):
                continue
            if standing.state is not DocumentState.SIGNED:
                message = f"{kind} ({SPECIFICATIONS[kind].title}) is not signed: {standing.because}"
                raise Refused(message, code="document_open", hint=self.status().next)
            check_ready(kind, self._folder, self._subject)
        if self._subject.scale is Scale.FULL:
            must_not_stop(self._folder)
            check_history(self._folder, self._subject, self._trust)
        testing = read_testing(self._folder)
        blocking = [finding.id for finding in testing.findings if finding.blocks]
        if blocking:
            message = f"severe findings are open: {', '.join(blocking)}"
            hint = "accept each with a reason, or mitigate it and run the audit again"
            raise Refused(message, code="finding_open", hint=hint)
        now_ms = self._clock.now_ms()
        draft = AuditSummary(
            audit=self._subject.audit,
            bundle=self._subject.bundle,
            model=self._subject.model,
            auditor=self._subject.auditor,
            documents={k: d for k, d in self._folder.digests().items() if not is_post_audit(k)},
            evaluations=testing.evaluations,
            findings=testing.findings,
            probe=testing.probe,
            access_depths=testing.access_depths,
            started_ms=self._subject.started_ms,
            completed_ms=now_ms,
            scale=self._subject.scale,
            auditor_keys=self._auditor_keys(),
        )
        envelope = sign_statement(SUMMARY_KIND, draft.to_body(), [signer])
        summary = open_summary(envelope, audit_keys(self._trust))
        body = {
            "audit": summary.audit,
            "bundle": summary.bundle,
            "summary": summary.digest,
            "envelope": base64.b64encode(envelope).decode(),
        }
        record(Entry(EntryKind.AUDIT_SIGNED, now_ms, body))
        self._folder.write_summary(envelope)
        return summary

    def _sign_one(self, kind: DocumentKind, standing: Standing, signer: Signer) -> None:
        if standing.state in _CLOSED:
            message = f"{kind} is not open yet: it {standing.because}"
            raise Refused(message, code="stage_closed", hint="sign what it stands on first")
        if standing.state is DocumentState.SIGNED:
            raise Refused(f"{kind} is signed already, unchanged", code="already_signed")
        signing = self._signing()
        if signing.sign_second(kind, signer, self._clock.now_ms()):
            return
        must_be_trusted(signer, document_keys(self._trust, kind, self._subject.scale))
        if kind is DocumentKind.R4:
            self.report()
        elif self._subject.scale is Scale.FULL:
            refresh(kind, self._folder, self._subject, self._trust)
        check_ready(kind, self._folder, self._subject)
        signing.sign_first(kind, signer, self._clock.now_ms())

    def _signing(self) -> Signing:
        return Signing(self._folder, self._subject, self._trust, self._leases)

    def _auditor_keys(self) -> tuple[str, ...]:
        signatures = self._folder.signatures(self._subject, self._trust).values()
        keys = {key for signature in signatures for key in signature.keys}
        return tuple(sorted(keys & set(self._trust.auditors)))

    def _is_after(self, kind: DocumentKind, wanted: set[DocumentKind]) -> bool:
        """Whether the document's time has not come, or is over, and nobody asked for it."""
        return not wanted and is_post_audit(kind) != (self._folder.summary() is not None)

    def _standings(self) -> dict[DocumentKind, Standing]:
        return standings_of(self._folder, self._subject, self._trust)

    def _document(self, kind: DocumentKind) -> DocumentStatus:
        return next(row for row in self.status().documents if row.kind is kind)

    def must_be_open(self, kind: DocumentKind) -> None:
        """Raises Refused: the document's time has not come, or the audit is completed."""
        self._must_be_unfinished()
        standing = self._standings()[kind]
        if standing.state in _CLOSED:
            message = f"{kind} ({SPECIFICATIONS[kind].title}) is not open: it {standing.because}"
            raise Refused(message, code="stage_closed", hint=self.status().next)

    def _must_be_unfinished(self) -> None:
        if self._folder.summary() is not None:
            message = f"{self._subject.audit} is completed and closed"
            raise Refused(message, code="audit_completed", hint="start another audit")


def list_audits(audits: Path) -> tuple[str, ...]:
    """The names of the audits in a workspace, oldest first by their start."""
    found = []
    for path in audits.glob("*/audit.yaml"):
        subject = AuditFolder(path.parent).subject()
        found.append((subject.started_ms, subject.audit))
    return tuple(name for _, name in sorted(found))
