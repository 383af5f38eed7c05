"""A gateway over real parts: log, decisions, access and rules on disk, the twin on its socket."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.access.cedar import PolicyBook, install_default_policies
from dutchdoor.access.keys import HashKey
from dutchdoor.access.model import Budget, ContentMode, Grant, MonitorMode, Person
from dutchdoor.access.service import Access
from dutchdoor.access.store import AccessStore
from dutchdoor.clock import SystemClock
from dutchdoor.config import Config, LimitsConfig, Places
from dutchdoor.custody.keyring import (
    FileSigner,
    create_folder,
    create_secret,
    create_signing_key,
    load_secret,
    load_signing_key,
)
from dutchdoor.db.engine import open_database, sqlite_url
from dutchdoor.db.migrate import upgrade
from dutchdoor.evidence.committer import Committer
from dutchdoor.evidence.decision import Audience, Decision, Depth, GuardTerms, Level, Trust
from dutchdoor.evidence.incidents import INCIDENT_KIND, Incident, IncidentClass, IncidentNature
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.rollback import ROLL_BACK_KIND, RollBack
from dutchdoor.evidence.statement import key_id, sign_statement
from dutchdoor.evidence.verify.report import Report
from dutchdoor.gateway.ledger import Ledger
from dutchdoor.gateway.model import (
    Event,
    Finished,
    InferenceRequest,
    Prompt,
    Route,
    Sampling,
)
from dutchdoor.gateway.service import Gateway
from dutchdoor.guard.rules import RuleSet
from dutchdoor.ids import BundleDigest, PersonId, new_decision_id
from dutchdoor.runtime.client import RuntimeClient
from dutchdoor.runtime.protocol import ChatMessage
from tests.check_log import check_log
from tests.runtime.twin import TWIN_BUNDLE, TWIN_PROBE, Twin, TwinEngine

BUNDLE = BundleDigest(TWIN_BUNDLE)
ORIGIN = "tests.example/gateway"
DAY_MS = 86_400_000
PLAIN = (Depth.SAMPLING,)
DEEP = (Depth.SAMPLING, Depth.DECODING_CONTROL, Depth.LOGPROBS, Depth.ACTIVATIONS)
RULES = b"""
- id: nerve-recipe
  literal: "brew the nerve agent"
  category: indiscriminate_weapons_cbrne
  action: block
  side: both
- {id: watched-word, literal: "watched word", category: hate, action: flag, side: both}
"""


class House:
    """One workspace with a log, people and rules; gateways are opened over it as needed."""

    def __init__(
        self, folder: Path, *, limits: LimitsConfig | None = None, fresh: bool = True
    ) -> None:
        """fresh: make it; otherwise open what another process made."""
        self.places = Places(folder)
        self.clock = SystemClock()
        self.config = Config(limits=limits or LimitsConfig())
        keyring = self.places.keyring
        if fresh:
            create_folder(keyring)
            self.places.run.mkdir()
            for name in ("log", "holder", "ann", "bob"):
                create_signing_key(keyring / f"{name}.key", name)
            upgrade(sqlite_url(self.places.database))
            install_default_policies(self.places.policies)
            create_secret(keyring / "access.key", "access")
        self.log_signer = load_signing_key(keyring / "log.key")
        self.holder = load_signing_key(keyring / "holder.key")
        self.approvers = [load_signing_key(keyring / f"{n}.key") for n in ("ann", "bob")]
        self.trust = Trust(
            log_origin=ORIGIN,
            log_key=self.log_signer.public_key,
            holder=_keys([self.holder]),
            approvers=_keys(self.approvers),
            approvals_min=2,
        )
        if fresh:
            Log.create(self.places.evidence, self.log_signer, ORIGIN, self.clock).close()
        # The command line's own log beside the gateway's: two writers on one folder, as in life.
        self.log = self.open_log()
        self.access = self.open_access()
        if fresh:
            body = {"policies": self.access.policies.current.version}
            self.record(Entry(EntryKind.POLICY_LOADED, self.clock.now_ms(), body))
        self.rules = RuleSet.parse(RULES)
        self.socket = folder / "r.sock"

    def open_log(self) -> Log:
        gate = DecisionRegister(None, self.trust)
        return Log(self.places.evidence, self.log_signer, self.clock, gate=gate)

    def open_access(self) -> Access:
        return Access(
            AccessStore(open_database(sqlite_url(self.places.database))),
            self.clock,
            hash_key=HashKey(load_secret(self.places.keyring / "access.key")),
            policies=PolicyBook(self.places.policies),
        )

    def record(self, entry: Entry) -> Recorded:
        return self.log.append([entry])[0]

    def decide(self, **changes: Any) -> Decision:
        """A decision that opens everything to researchers and sampling to developers, in force."""
        now_ms = self.clock.now_ms()
        fields: dict[str, Any] = {
            "id": new_decision_id(),
            "bundle": BUNDLE,
            "model": "twin",
            "level": Level.CLOUD_API,
            "stage": "stage 1",
            "audiences": (
                Audience("researcher", DEEP),
                Audience("developer", PLAIN),
                Audience("auditor", (*DEEP, Depth.AUDIT)),
            ),
            "guard": GuardTerms(TWIN_PROBE, "fpr_0.01", 0),
            "hidden_size": 576,
            "vectors_max": 24,
            "audit": "sha256:" + "0" * 64,
            "reasons": "a test",
            "supersedes": "",
            "not_before_ms": now_ms - 1000,
            "not_after_ms": now_ms + DAY_MS,
        }
        decision = Decision(**{**fields, **changes})
        closed = decision.level is Level.FULLY_CLOSED
        signers = [self.holder] if closed else self.approvers
        envelope = sign_statement("release_decision", decision.to_body(), signers)
        body = {
            "decision": decision.id,
            "bundle": decision.bundle,
            "level": str(decision.level),
            "envelope": base64.b64encode(envelope).decode(),
        }
        self.record(Entry(EntryKind.DECISION_SIGNED, now_ms, body))
        return decision

    def revoke(self, decision: Decision, reason: str = "an incident") -> None:
        said = {"decision": decision.id, "bundle": decision.bundle, "reason": reason}
        envelope = sign_statement("release_revocation", said, [self.holder])
        body = {**said, "envelope": base64.b64encode(envelope).decode()}
        self.record(Entry(EntryKind.DECISION_REVOKED, self.clock.now_ms(), body))

    def roll_back(self, decision: Decision, stage: str, source: str = "") -> None:
        """Back to an earlier stage of its plan. source: where it stands; "" for its own stage."""
        claim = RollBack(
            decision.id, decision.bundle, stage, source or decision.stage, None, -1, "too early"
        )
        envelope = sign_statement(ROLL_BACK_KIND, claim.claim(), [self.holder])
        body = claim.to_body(base64.b64encode(envelope).decode())
        self.record(Entry(EntryKind.STAGE_ROLLED_BACK, self.clock.now_ms(), body))

    def incident(self, grade: IncidentClass = IncidentClass.SERIOUS) -> None:
        """An incident on the bundle becomes known."""
        now_ms = self.clock.now_ms()
        digest = "sha256:" + "3" * 64
        incident = Incident(
            "incident_1", 1, BUNDLE, grade, IncidentNature.OTHER, now_ms, 0, "", digest
        )
        envelope = sign_statement(INCIDENT_KIND, incident.to_body(), [self.holder])
        body = {**incident.to_body(), "envelope": base64.b64encode(envelope).decode()}
        self.record(Entry(EntryKind.INCIDENT_RECORDED, now_ms, body))

    def person(self, audience: str = "researcher") -> tuple[Person, str]:
        """A person and their API key."""
        person = self.access.add_person("Ada", "Institute", audience, record=self.record)
        return person, self.access.issue_key(person.id, record=self.record).secret.reveal()

    def grant(
        self,
        person: PersonId,
        depths: Sequence[Depth] = DEEP,
        *,
        requests: int = 1000,
        tokens: int = 1_000_000,
        vectors: int = 100,
        monitor_mode: MonitorMode = MonitorMode.BLOCK,
        content_mode: ContentMode = ContentMode.COMMITMENT,
        concurrency_max: int = 100,
    ) -> Grant:
        now_ms = self.clock.now_ms()
        return self.access.make_grant(
            person,
            BUNDLE,
            purpose="a test",
            depths=depths,
            budget=Budget(requests=requests, tokens=tokens, vectors=vectors),
            not_before_ms=now_ms - 1000,
            not_after_ms=now_ms + DAY_MS,
            monitor_mode=monitor_mode,
            content_mode=content_mode,
            concurrency_max=concurrency_max,
            record=self.record,
        )

    def granted(self, audience: str = "researcher", **terms: Any) -> str:
        """The API key of a new person with a grant on these terms."""
        person, key = self.person(audience)
        self.grant(person.id, **terms)
        return key

    def entries(self, *kinds: EntryKind) -> list[Entry]:
        """What the log holds, read from its bytes; only of `kinds`, where given."""
        reader = LogReader(self.places.evidence)
        found = [Entry.decode(data) for _, data in reader.entries()]
        return [entry for entry in found if not kinds or entry.kind in kinds]

    @asynccontextmanager
    async def gateway(self, writer: Any = None) -> AsyncIterator[Gateway]:
        """A running gateway; `writer` stands between it and the log, where given."""
        log = self.open_log()
        committer = Committer(log)
        reader = LogReader(self.places.evidence)
        gateway = Gateway(
            evidence=Ledger(writer(committer) if writer else committer, reader),
            decisions=DecisionRegister(LogReader(self.places.evidence), self.trust),
            access=self.open_access(),
            rules=self.rules,
            runtime=RuntimeClient(self.socket),
            config=self.config,
            places=self.places,
            clock=self.clock,
            bundle=BUNDLE,
        )
        await gateway.start()
        try:
            yield gateway
        finally:
            await gateway.aclose()
            await committer.aclose()
            log.close()

    def check(self, *finished: Finished) -> Report:
        """The stand-alone verifier over the log, with the receipts of `finished`."""
        receipts = {
            f"{event.inference}.{name}": canonical.encode(receipt)
            for event in finished
            for name, receipt in event.receipt.items()
        }
        return check_log(self.places.evidence, self.trust, receipts)

    def twin(self, delay_s: float = 0.0) -> Twin:
        return Twin(self.socket, TwinEngine(delay_s=delay_s))


def _keys(signers: Sequence[FileSigner]) -> dict[str, bytes]:
    return {key_id(signer.public_key): signer.public_key for signer in signers}


def chat(text: str, *, role: str = "user", **sampling: Any) -> InferenceRequest:
    """A request with one turn; the twin answers with the words of it, again and again."""
    sampling.setdefault("tokens_max", 8)
    prompt = Prompt(chat=(ChatMessage(role, text),))
    return InferenceRequest(Route.CHAT, "twin", prompt, Sampling(**sampling))


def raw(text: str, **sampling: Any) -> InferenceRequest:
    """A raw text to continue."""
    sampling.setdefault("tokens_max", 8)
    return InferenceRequest(Route.COMPLETIONS, "twin", Prompt(text=text), Sampling(**sampling))


async def collect(gateway: Gateway, key: str, request: InferenceRequest) -> list[Event]:
    """All events of one inference."""
    return [event async for event in gateway.infer(key, request)]


def text_of(events: Sequence[Event]) -> str:
    """The text that left."""
    return "".join(getattr(event, "text", "") for event in events)
