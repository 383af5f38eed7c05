"""The demo's first three steps: seal, audit, decide."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.access.model import Budget, MonitorMode
from dutchdoor.app import bundles, governance
from dutchdoor.app.auditing import AuditRun, run_audit
from dutchdoor.app.background import start_background, stop_background, wait_ready
from dutchdoor.app.bundles import Bundle
from dutchdoor.app.example import EXAMPLE_NAME, ensure_example_model
from dutchdoor.app.people import ensure_person
from dutchdoor.app.running import Running
from dutchdoor.app.workspace import APPROVERS_DEFAULT, AUDITORS_DEFAULT, Workspace, make_workspace
from dutchdoor.audit.evaluations.catalogue import names_of
from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.view import write_view
from dutchdoor.cli.demo_findings import REASONS, probe_told, settlement_of
from dutchdoor.cli.teller import Teller
from dutchdoor.config import Places
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Decision, Depth
from dutchdoor.release.model import audience
from dutchdoor.weights.inspect import verify_ciphertext
from dutchdoor.weights.model import Progress

__all__ = ["BUNDLE", "DAY_MS", "Story", "audit", "decide", "seal"]

DAY_MS = 86_400_000
BUNDLE = "smollm2"
AUDITOR = "Ada (auditor)"
WINDOWS = 48
WINDOW_BYTES = 64

VIEW = (
    "The samples of a demo are few, so the figures are rough. They speak for a narrow, watched, "
    "revocable release with the guard required, and against one without it. Nobody has looked at "
    "languages other than English, nor at what fine-tuning would unlock."
)


@dataclass
class Story:
    """What the demo's steps hand on. facts: figures for `--json`."""

    teller: Teller
    places: Places
    model_folder: Path
    samples: int
    examples: int
    port: int
    own_model: bool = False
    layers: int = 0
    url: str = ""
    keys: Path = Path()
    receipts: Path = Path()
    facts: dict[str, Any] = field(default_factory=dict)
    _workspace: Workspace | None = None
    _bundle: Bundle | None = None
    _decision: Decision | None = None

    @property
    def workspace(self) -> Workspace:
        assert self._workspace is not None, "the first step makes the workspace"
        return self._workspace

    @property
    def bundle(self) -> Bundle:
        assert self._bundle is not None, "the first step seals the bundle"
        return self._bundle

    @property
    def decision(self) -> Decision:
        assert self._decision is not None, "the third step decides"
        return self._decision

    def begin(self) -> None:
        """Make the workspace."""
        self._workspace = make_workspace(self.places.root, port=self.port or 8400)
        self.keys = self.places.root / "keys-of-people"
        self.keys.mkdir(mode=0o700)
        self.receipts = self.places.root / "receipts"

    def hold(self, bundle: Bundle) -> None:
        """Keep the sealed bundle."""
        self._bundle = bundle

    @property
    def aside(self) -> Path:
        """Where the demo's own model folder lies meanwhile."""
        return self.model_folder.with_name(self.model_folder.name + ".set-aside")

    @contextmanager
    def model_set_aside(self) -> Iterator[None]:
        """Move the plaintext folder out of the way: what follows has to do without it.

        Only a folder that the demo wrote itself; somebody's own is never moved.
        """
        if not self.own_model:
            yield
            return
        aside = self.aside
        shutil.rmtree(aside, ignore_errors=True)  # Of an earlier demo; this one has its own.
        self.model_folder.replace(aside)
        try:
            yield
        finally:
            aside.replace(self.model_folder)

    def decide(self, stage: str) -> Decision:
        """Propose and approve a decision; in force when this returns."""
        summary = governance.find_audit(self.workspace, None).summary()
        assert summary is not None, "the second step completes the audit"
        release = governance.release_of(self.workspace)
        born = self.workspace.register.history(summary.bundle)[0].decision
        assert born is not None, "a bundle is born under a decision"
        proposal = release.propose(
            audit=summary.digest,
            level="cloud_api",
            stage=stage,
            audiences=[
                audience("developer", ["sampling"]),
                audience("researcher", ["sampling", "logprobs", "activations"]),
            ],
            hidden_size=born.hidden_size,
            proposer="the release team",
            reasons=REASONS,
        )
        for name in APPROVERS_DEFAULT:
            signer = governance.signer_of(self.workspace, name)
            approval = governance.approve(self.workspace, proposal.id, signer)
        assert approval.in_force, "two approvals put it in force"
        self._decision = approval.decision
        return approval.decision

    def serve(self) -> Running:
        """Start gateway and runtime; the address is kept."""
        running = start_background(self.places, BUNDLE, self.port)
        self.url = running.url
        return running

    def reopen(self) -> Running:
        """Put a new decision in force, and wait until the server has followed."""
        decision = self.decide("stage 1, again: vetted researchers")
        return wait_ready(self.places, decision.id)


def seal(story: Story) -> None:
    """Step 1."""
    teller = story.teller
    if story.own_model and story.aside.exists() and not story.model_folder.exists():
        story.aside.replace(story.model_folder)  # An earlier demo was killed in the middle.
    with teller.step("Seal", "the bundle opens only together, and only under a decision"):
        with teller.progress("reading the model from its package, once"):
            made = ensure_example_model(story.model_folder)
        where = "written to" if made else "found in"
        name = f"{EXAMPLE_NAME}, " if story.own_model else ""
        teller.seen(f"a real model, {name}{where} {story.model_folder.name}/")
        story.begin()
        workspace = story.workspace
        auditor = ensure_person(workspace, AUDITOR, "auditor")
        with teller.progress("sealing") as advance:

            def report(progress: Progress) -> None:
                advance(progress.done_bytes, progress.total_bytes)

            born = bundles.seal(
                workspace,
                story.model_folder,
                BUNDLE,
                quorum=(2, 3),
                custodians=("custodian-1", "custodian-2", "custodian-3"),
                auditors=[auditor],
                report=report,
            )
        story.hold(born.bundle)
        config = json.loads((story.model_folder / "config.json").read_text())
        story.layers = int(config["num_hidden_layers"])
        manifest = born.bundle.manifest
        megabytes = manifest.sealed_bytes // 1_000_000
        teller.seen(f"sealed {len(manifest.content.files)} files, {megabytes} MB, for 3 custodians")
        teller.detail(f"two of them open it together; its name is {born.bundle.digest}")
        teller.seen(f"born under a decision at level fully closed: only {AUDITOR} may run it")
        if verify_ciphertext(born.bundle.path, workspace.trust.holder):
            raise Invalid("the bundle was changed while it was sealed", code="bundle_changed")
        teller.seen("the signed manifest and every byte of ciphertext verify, without any key")
        with teller.progress("looking for plaintext weights in the workspace"):
            count, bytes_read = _look_for_plaintext(story)
        teller.seen(
            f"{count} samples of the plaintext weights: none is in the {bytes_read // 1_000_000} MB"
            " of the workspace"
            + ("; the plaintext folder is set aside from now on" if story.own_model else "")
        )
        story.facts["bundle"] = born.bundle.digest


def _look_for_plaintext(story: Story) -> tuple[int, int]:
    """Samples of the weights' bytes, looked for in every file of the workspace."""
    generator = random.Random(0)  # noqa: S311 - where to look, no secret
    windows: list[bytes] = []
    for path in sorted(story.model_folder.glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        while len(windows) < WINDOWS:
            place = generator.randrange(start, len(data) - WINDOW_BYTES)
            window = data[place : place + WINDOW_BYTES]
            if len(set(window)) > WINDOW_BYTES // 4:  # Not a run of zeros, which is anywhere.
                windows.append(window)
    bytes_read = 0
    for path in sorted(story.places.root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            bytes_read += len(data)
            if any(window in data for window in windows):
                raise Invalid(f"plaintext weights in {path}", code="plaintext_found")
    return len(windows), bytes_read


def audit(story: Story) -> None:
    """Step 2."""
    teller, workspace = story.teller, story.workspace
    with teller.step("Audit", "no release above fully closed without a signed audit"):
        person = workspace.access.find_person(AUDITOR)
        workspace.access.make_grant(
            person.id,
            story.bundle.digest,
            purpose="internal audit before release",
            depths=(Depth.SAMPLING, Depth.AUDIT),
            budget=Budget(requests=2_000, tokens=2_000_000),
            not_after_ms=workspace.clock.now_ms() + 20 * DAY_MS,
            monitor_mode=MonitorMode.OBSERVE,
            concurrency_max=8,
            record=workspace.record,
        )
        found = governance.start_audit(workspace, story.bundle, person.name)
        signer = governance.signer_of(workspace, AUDITORS_DEFAULT[0])
        found.sign(signer, (DocumentKind.S0, DocumentKind.S2))
        governance.collect(workspace, found)
        found.sign(signer, (DocumentKind.C1,))
        teller.seen("principles, scope and artifact checklist: written, signed by the auditor")
        with teller.progress("two custodians open the bundle for the auditor"):
            story.serve()
        teller.seen("the runtime holds the model in memory, under the decision fully closed")
        with teller.progress("fitting the guard's probe; evaluations") as advance:

            def progress(_name: str, done: int, total: int) -> None:
                advance(done, total)

            outcome = run_audit(
                workspace,
                found,
                AuditRun(
                    limit=story.samples,
                    examples=story.examples,
                    evaluations=names_of("short"),
                ),
                progress=progress,
            )
        teller.seen(f"the guard's probe is fitted on the model itself; {probe_told(outcome.card)}")
        story.facts["probe"] = outcome.card
        for finding in outcome.findings:
            teller.detail(f"finding ({finding.severity}): {finding.text}")
            if finding.blocks:
                status, reason = settlement_of(finding)
                found.settle(finding.id, status, reason, person.name)
                teller.detail(f"{status}: {reason.partition(': ')[0]}")
        write_view(found, VIEW)
        found.sign(signer)
        summary = found.complete(signer, workspace.record)
        for row in summary.evaluations:
            teller.seen(f"{row.name}: {row.text}")
        story.facts["evaluations"] = [row.to_body() for row in summary.evaluations]
        teller.seen(f"the audit is completed; its signed summary is in the log ({summary.audit})")
        stop_background(story.places)


def decide(story: Story) -> None:
    """Step 3."""
    teller = story.teller
    with teller.step("Decide", "how open, for whom, how deep: signed, and then obeyed"):
        decision = story.decide("stage 1: vetted researchers")
        teller.seen(f"level {decision.level}, {decision.stage}: proposed by the release team")
        for row in decision.audiences:
            teller.detail(f"{row.name}: {', '.join(str(depth) for depth in row.depths)}")
        teller.detail(
            f"of {decision.hidden_size} independent vectors that give a layer away, "
            f"{decision.vectors_max} may leave, over all people together"
        )
        teller.seen("approved by two people, each with their own key; in force")
        story.facts["decision"] = decision.id
