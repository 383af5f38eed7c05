"""One custodian: agrees to an opening, releases its share, grants it from afar, proves it.

A custodian trusts nobody's word: not the register's, not the log writer's, not who brought the
request. Each method checks everything again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dutchdoor.clock import Clock
from dutchdoor.custody.attestation.model import NOTHING_ATTESTED, Attested
from dutchdoor.custody.attestation.ports import HostVerifier
from dutchdoor.custody.demands import check_custody
from dutchdoor.custody.drill import DrillProof, DrillRequest
from dutchdoor.custody.hpke import seal_to
from dutchdoor.custody.messages import OpenRequest, ShareGrant, ShareRelease
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.ports import CountCopies, DecisionsInForce, Identity, InForce, Seen
from dutchdoor.custody.proof import prove
from dutchdoor.custody.shares import Share, WrappedShares, unwrap_share
from dutchdoor.errors import NotInForce, Refused
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.ids import DecisionId

__all__ = ["Agreement", "Custodian", "check_fresh", "other_bundle"]


class Agreement(NamedTuple):
    """A custodian would release its share: no secret yet, only what the entry will say."""

    custodian: str
    request: str
    runtime_key: str
    decision: DecisionId
    decision_index: int
    attested: Attested = NOTHING_ATTESTED


class Custodian:
    """One custodian with its key: agrees and releases only what it has verified itself."""

    def __init__(
        self,
        key: Identity,
        *,
        decisions: DecisionsInForce,
        clock: Clock,
        seen: Seen,
        copies: CountCopies | None = None,
        hosts: HostVerifier | None = None,
    ) -> None:
        """copies: how many copies of a bundle are known; None where nobody counts them.

        hosts: verifies what the host that asks shows of itself; None believes no evidence.
        """
        self._hosts = hosts
        self._key = key
        self._copies = copies
        self._decisions = decisions
        self._clock = clock
        self._seen = seen

    @property
    def key_id(self) -> str:
        return self._key.key_id

    @property
    def name(self) -> str:
        return self._key.name

    def agree(self, request: bytes, shares: WrappedShares, evidence: bytes = b"") -> Agreement:
        """What this custodian would put its share under; nothing leaves it yet.

        request: unverified bytes. shares: unverified; the share itself proves its bundle. evidence:
        what the host shows of itself (unverified), b"" for nothing.
        Raises NotInForce: no decision in force names this bundle. Raises Refused: stale or
        replayed request, another bundle, not a custodian of it. Raises Invalid: malformed.
        """
        parsed, in_force, attested = self._check(request, shares, evidence)
        unwrap_share(shares, self._key)
        return Agreement(
            custodian=self.key_id,
            request=parsed.digest,
            runtime_key=parsed.runtime_key,
            decision=in_force.decision.id,
            decision_index=in_force.index,
            attested=attested,
        )

    def release(
        self, request: bytes, shares: WrappedShares, recorded: Recorded, evidence: bytes = b""
    ) -> ShareRelease:
        """This custodian's share, sealed to the runtime's key.

        recorded: the durable entry `key_released` that names this request, decision, custodian.
        Raises as `agree` does; Refused besides: the entry does not say so.
        """
        parsed, in_force, attested = self._check(request, shares, evidence)
        self._check_recorded(recorded, parsed, in_force, attested)
        return self._seal(parsed, in_force, shares)[0]

    def grant(
        self, request: bytes, shares: WrappedShares, asked: Recorded, evidence: bytes = b""
    ) -> ShareGrant:
        """This custodian's share in a ceremony across machines, sealed to who asked, with proof.

        asked: the durable entry `key_requested` of the custodian's own copy of the log. Whoever
        gathers the grants records `key_released` before a share reaches the one who asked.
        Raises as `release` does.
        """
        lifetime_ms = CustodyLimits().ceremony_lifetime_ms_max
        parsed, in_force, _ = self._check(request, shares, evidence, lifetime_ms)
        self._check_asked(asked, parsed, in_force)
        release, share = self._seal(parsed, in_force, shares)
        data = release.encode()
        return ShareGrant(data, prove(share.words, data) if shares.proves else b"")

    def prove(self, drill: bytes, shares: WrappedShares) -> DrillProof:
        """The proof that this custodian still has its share; the share itself stays here.

        drill: unverified bytes. Raises Refused: stale, or of another split. Raises Invalid.
        """
        asked = DrillRequest.decode(drill)
        asked.check(shares, self._clock.now_ms())
        share = unwrap_share(shares, self._key)
        return DrillProof.make(asked, self.key_id, share.words)

    def _seal(
        self, parsed: OpenRequest, in_force: InForce, shares: WrappedShares
    ) -> tuple[ShareRelease, Share]:
        share = unwrap_share(shares, self._key)
        # Remembered before it leaves: a crash here costs a new request, never a second release.
        self._seen.remember(parsed.digest, parsed.expires_ms, self._clock.now_ms())
        draft = ShareRelease(
            bundle=parsed.bundle,
            request=parsed.digest,
            decision=in_force.decision.id,
            custodian=self.key_id,
            index=share.index,
            threshold=share.threshold,
            sealed=b"",
        )
        sealed = seal_to(parsed.public_key, share.words.encode(), draft.info())
        return ShareRelease(**{**vars(draft), "sealed": sealed}), share

    def _check(
        self, request: bytes, shares: WrappedShares, evidence: bytes, lifetime_ms_max: int = 0
    ) -> tuple[OpenRequest, InForce, Attested]:
        parsed, now_ms = OpenRequest.decode(request), self._clock.now_ms()
        check_fresh(parsed, now_ms, lifetime_ms_max)
        if self._seen.holds(parsed.digest, now_ms):
            raise Refused(
                "this request was answered already",
                code="request_replayed",
                hint="let the runtime make a new request",
            )
        if shares.bundle != parsed.bundle:
            raise other_bundle()
        in_force = self._decisions.in_force(parsed.bundle, now_ms)
        # The register has said so already; a custodian trusts no register with its share.
        if in_force.decision.bundle != parsed.bundle:
            raise other_bundle()
        if not in_force.decision.not_before_ms <= now_ms < in_force.decision.ends_ms:
            raise NotInForce(
                "the decision is not in force now",
                code="decision_not_in_force",
                hint="propose a decision whose dates include today",
            )
        known = None if self._copies is None else self._copies(parsed.bundle)
        attested = self._attested(evidence, parsed)
        check_custody(in_force.decision.terms.custody, shares, known, attested.grade)
        return parsed, in_force, attested

    def _attested(self, evidence: bytes, request: OpenRequest) -> Attested:
        if not evidence:
            return NOTHING_ATTESTED
        if self._hosts is None:
            message = "this custodian believes no host's evidence"
            hint = "give it the hosts that the holder enrolled, in trust.json"
            raise Refused(message, code="unknown_host", hint=hint)
        # Wrong evidence is refused also where the decision would have asked for none.
        return self._hosts.verify(evidence, request)

    def _check_recorded(
        self, recorded: Recorded, request: OpenRequest, in_force: InForce, attested: Attested
    ) -> None:
        body = _body_for(recorded, EntryKind.KEY_RELEASED, request, in_force)
        custodians = body.get("custodians")
        said = Attested(*(body.get(name, "") for name in ("grade", "host", "evidence")))
        listed = isinstance(custodians, list) and self.key_id in custodians
        if not listed or said != attested:
            raise _not_recorded()

    def _check_asked(self, asked: Recorded, request: OpenRequest, in_force: InForce) -> None:
        body = _body_for(asked, EntryKind.KEY_REQUESTED, request, in_force)
        if body.get("expires_ms") != request.expires_ms or not body.get("reason"):
            raise _not_recorded()


def check_fresh(request: OpenRequest, now_ms: int, lifetime_ms_max: int = 0) -> None:
    """lifetime_ms_max: of a ceremony, where people on several machines must be waited for.

    Raises Refused: the request is from the future, lives too long, or has expired.
    """
    limits = CustodyLimits()
    lifetime_ms = request.expires_ms - request.created_ms
    early = request.created_ms > now_ms + limits.clock_skew_ms_max
    if early or not 0 < lifetime_ms <= max(limits.request_lifetime_ms_max, lifetime_ms_max):
        message = "the request is from the future, or lives too long"
        hint = "set the clocks right; a request lives five minutes at most, in a ceremony a day"
        raise Refused(message, code="request_not_fresh", hint=hint)
    if now_ms >= request.expires_ms:
        hint = "let the runtime make a new request"
        raise Refused("the request has expired", code="request_expired", hint=hint)


def _body_for(
    recorded: Recorded, kind: EntryKind, request: OpenRequest, in_force: InForce
) -> dict[str, Any]:
    """The body of an entry that names exactly this request and decision. Raises Refused."""
    entry = Entry.decode(recorded.data)
    named = [entry.body.get(name) for name in ("bundle", "request", "runtime_key", "decision")]
    wanted = [request.bundle, request.digest, request.runtime_key, in_force.decision.id]
    if entry.kind is not kind or named != wanted:
        raise _not_recorded()
    return entry.body


def _not_recorded() -> Refused:
    return Refused(
        "no entry of the log names this release",
        code="not_recorded",
        hint="record the release first; what is not recorded does not happen",
    )


def other_bundle() -> Refused:
    """The refusal where two of them name different bundles."""
    message = "the request, the shares and the decision do not name the same bundle"
    hint = "open the bundle that the decision in force names"
    return Refused(message, code="other_bundle", hint=hint)
