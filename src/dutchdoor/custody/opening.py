"""Opening a bundle: custodians release their shares to one runtime, under a decision in force.

1. The runtime makes an ephemeral X-Wing key and a request that names the bundle (`Opening`).
2. Each custodian checks by itself that the request is fresh and not replayed, that a decision in
   force names exactly this bundle, and that its own share opens (`Custodian.agree`).
3. One entry `key_released` names the request, the decision and the custodians, and is durable.
4. Each custodian checks everything again, and that the entry names it and this request; only then
   does its share leave, sealed to the runtime's key (`Custodian.release`).
5. The runtime combines the shares and compares the key with the signed commitment.

If the entry cannot be recorded, step 4 never comes: nothing is released.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dutchdoor.clock import Clock
from dutchdoor.custody.demands import check_custody
from dutchdoor.custody.hpke import PrivateKey, seal_to
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.messages import NONCE_BYTES, OpenRequest, ShareRelease
from dutchdoor.custody.model import ContentKey, CustodyLimits
from dutchdoor.custody.ports import CountCopies, DecisionsInForce, InForce, Record, Seen
from dutchdoor.custody.shares import (
    WrappedShares,
    combine,
    read_share,
    unwrap_share,
)
from dutchdoor.errors import DutchdoorError, Invalid, NotInForce, Refused, Tampered
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.ids import BundleDigest, DecisionId

__all__ = [
    "Agreement",
    "Custodian",
    "Opened",
    "Opening",
    "QuorumTerms",
    "gather_releases",
    "open_with_quorum",
]

REQUEST_LIFETIME_MS = 60_000


@dataclass(frozen=True)
class QuorumTerms:
    """Who opens a bundle together, and which key it must be: from the signed manifest.

    commitment: 64 hexadecimal digits. custodians: key ids of those who hold a share.
    """

    bundle: BundleDigest
    commitment: str
    threshold: int
    custodians: tuple[str, ...]


class Agreement(NamedTuple):
    """A custodian would release its share: no secret yet, only what the entry will say."""

    custodian: str
    request: str
    runtime_key: str
    decision: DecisionId
    decision_index: int


class Opened(NamedTuple):
    """A content key, and the decision under which the custodians released it."""

    key: ContentKey
    decision: DecisionId


class Custodian:
    """One custodian with its key: agrees and releases only what it has verified itself."""

    def __init__(
        self,
        key: CustodianKey,
        *,
        decisions: DecisionsInForce,
        clock: Clock,
        seen: Seen,
        copies: CountCopies | None = None,
    ) -> None:
        """copies: how many copies of a bundle are known; None where nobody counts them."""
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

    def agree(self, request: bytes, shares: WrappedShares) -> Agreement:
        """What this custodian would put its share under; nothing leaves it yet.

        request: unverified bytes. shares: unverified; the share itself proves its bundle.
        Raises NotInForce: no decision in force names this bundle. Raises Refused: stale or
        replayed request, another bundle, not a custodian of it. Raises Invalid: malformed.
        """
        parsed, in_force = self._check(request, shares)
        unwrap_share(shares, self._key)
        return Agreement(
            custodian=self.key_id,
            request=parsed.digest,
            runtime_key=parsed.runtime_key,
            decision=in_force.decision.id,
            decision_index=in_force.index,
        )

    def release(self, request: bytes, shares: WrappedShares, recorded: Recorded) -> ShareRelease:
        """This custodian's share, sealed to the runtime's key.

        recorded: the durable entry `key_released` that names this request, decision, custodian.
        Raises as `agree` does; Refused besides: the entry does not say so.
        """
        parsed, in_force = self._check(request, shares)
        self._check_recorded(recorded, parsed, in_force)
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
        return ShareRelease(**{**vars(draft), "sealed": sealed})

    def _check(self, request: bytes, shares: WrappedShares) -> tuple[OpenRequest, InForce]:
        parsed, now_ms = OpenRequest.decode(request), self._clock.now_ms()
        _check_fresh(parsed, now_ms)
        if self._seen.holds(parsed.digest, now_ms):
            raise Refused(
                "this request was answered already",
                code="request_replayed",
                hint="let the runtime make a new request",
            )
        if shares.bundle != parsed.bundle:
            raise _other_bundle()
        in_force = self._decisions.in_force(parsed.bundle, now_ms)
        # The register has said so already; a custodian trusts no register with its share.
        if in_force.decision.bundle != parsed.bundle:
            raise _other_bundle()
        if not in_force.decision.not_before_ms <= now_ms < in_force.decision.ends_ms:
            raise NotInForce(
                "the decision is not in force now",
                code="decision_not_in_force",
                hint="propose a decision whose dates include today",
            )
        known = None if self._copies is None else self._copies(parsed.bundle)
        check_custody(in_force.decision.terms.custody, shares, known)
        return parsed, in_force

    def _check_recorded(self, recorded: Recorded, request: OpenRequest, in_force: InForce) -> None:
        entry = Entry.decode(recorded.data)
        body = entry.body
        named = [body.get(name) for name in ("bundle", "request", "runtime_key", "decision")]
        wanted = [request.bundle, request.digest, request.runtime_key, in_force.decision.id]
        custodians = body.get("custodians")
        listed = isinstance(custodians, list) and self.key_id in custodians
        if entry.kind is not EntryKind.KEY_RELEASED or named != wanted or not listed:
            raise Refused(
                "no entry of the log names this release",
                code="not_recorded",
                hint="record the release first; what is not recorded does not happen",
            )


class Opening:
    """The runtime's side of one opening: its ephemeral key lives and dies here."""

    def __init__(
        self, bundle: BundleDigest, clock: Clock, *, lifetime_ms: int = REQUEST_LIFETIME_MS
    ) -> None:
        """bundle: what to open. lifetime_ms: at most 300,000."""
        self._private: PrivateKey | None = PrivateKey.ephemeral()
        self._clock = clock
        now_ms = clock.now_ms()
        self._request = OpenRequest(
            bundle=bundle,
            public_key=self._private.public_key,
            nonce=secrets.token_hex(NONCE_BYTES),
            created_ms=now_ms,
            expires_ms=now_ms + lifetime_ms,
        )

    @property
    def request(self) -> bytes:
        """The request to hand to the custodians."""
        return self._request.encode()

    def finish(self, releases: Sequence[bytes], terms: QuorumTerms) -> Opened:
        """The content key of the released shares; once, whatever comes of it.

        releases: unverified bytes. terms: from the bundle's signed manifest.
        Raises Refused: too few shares, an expired request, or a custodian the manifest does not
        name. Raises Invalid: a custodian twice, another request, or several decisions.
        Raises Tampered: a release that does not open, or shares of another key.
        """
        private, self._private = self._private, None
        if private is None:
            message = "this opening was used already"
            raise Refused(message, code="request_replayed", hint="make a new request")
        _check_fresh(self._request, self._clock.now_ms())
        if terms.bundle != self._request.bundle:
            raise _other_bundle()
        parsed = [ShareRelease.decode(data) for data in releases]
        self._check_set(parsed, terms)
        shares = []
        for release in parsed:
            words = private.open(release.sealed, release.info())
            if words is None:
                raise Tampered(
                    f"the release of {release.custodian} does not open",
                    code="release_unopened",
                    hint="it was changed, or sealed to another runtime: make a new request",
                    where=f"release of {release.custodian}",
                )
            shares.append(read_share(words, index=release.index, threshold=terms.threshold))
        return Opened(combine(shares, terms.commitment), parsed[0].decision)

    def _check_set(self, releases: Sequence[ShareRelease], terms: QuorumTerms) -> None:
        for release in releases:
            if release.request != self._request.digest or release.bundle != terms.bundle:
                message = f"the release of {release.custodian} answers another request"
                hint = "make a new request and ask the custodians again"
                raise Invalid(message, code="other_request", hint=hint)
            if release.custodian not in terms.custodians:
                message = f"{release.custodian} is no custodian of this bundle"
                hint = "ask one of the custodians that the bundle's manifest names"
                raise Refused(message, code="not_a_custodian", hint=hint)
        if len({release.custodian for release in releases}) != len(releases):
            raise _twice()
        if len(releases) < terms.threshold:
            raise _no_quorum(len(releases), terms.threshold)
        if len({release.decision for release in releases}) != 1:
            message = "the custodians released under different decisions"
            hint = "a decision changed meanwhile: make a new request"
            raise Invalid(message, code="mixed_decisions", hint=hint)


def gather_releases(
    request: bytes,
    *,
    shares: WrappedShares,
    custodians: Sequence[Custodian],
    record: Record,
    clock: Clock,
) -> tuple[bytes, ...]:
    """The encoded releases of as many custodians as the quorum needs.

    The entry `key_released` is durable before the first share leaves a custodian; where
    recording raises, that error is passed on and nothing is released.
    Raises Refused: too few custodians, or too few of them agree; where all refuse, the first
    refusal itself (for instance NotInForce). Raises Invalid: a custodian twice.
    """
    if len({custodian.key_id for custodian in custodians}) != len(custodians):
        raise _twice()
    if len(custodians) < shares.threshold:
        raise _no_quorum(len(custodians), shares.threshold)
    agreed: list[tuple[Custodian, Agreement]] = []
    refusals: list[DutchdoorError] = []
    for custodian in custodians:
        if len(agreed) == shares.threshold:
            break
        try:
            agreed.append((custodian, custodian.agree(request, shares)))
        except DutchdoorError as refusal:
            # Another custodian may still agree: one that is down must not hold up the quorum.
            refusals.append(refusal)
    if not agreed:
        raise refusals[0]
    if len(agreed) < shares.threshold:
        raise _no_quorum(len(agreed), shares.threshold, refusals)
    recorded = record(_entry(shares, [agreement for _, agreement in agreed], clock.now_ms()))
    released = [custodian.release(request, shares, recorded) for custodian, _ in agreed]
    return tuple(release.encode() for release in released)


def open_with_quorum(
    terms: QuorumTerms,
    *,
    shares: WrappedShares,
    custodians: Sequence[Custodian],
    record: Record,
    clock: Clock,
) -> Opened:
    """The content key of one bundle, with all custodians in this process.

    The same messages pass as between processes: `Opening`, `gather_releases`, `Opening.finish`.
    Raises as those do.
    """
    opening = Opening(terms.bundle, clock)
    releases = gather_releases(
        opening.request, shares=shares, custodians=custodians, record=record, clock=clock
    )
    return opening.finish(releases, terms)


def _entry(shares: WrappedShares, agreed: Sequence[Agreement], now_ms: int) -> Entry:
    first = agreed[0]
    if {agreement.decision for agreement in agreed} != {first.decision}:
        message = "the custodians see different decisions in force"
        hint = "bring their copies of the log up to date"
        raise Invalid(message, code="mixed_decisions", hint=hint)
    body: dict[str, Any] = {
        "bundle": shares.bundle,
        "request": first.request,
        "runtime_key": first.runtime_key,
        "decision": first.decision,
        "decision_index": first.decision_index,
        "custodians": sorted(agreement.custodian for agreement in agreed),
        "threshold": shares.threshold,
    }
    return Entry(EntryKind.KEY_RELEASED, now_ms, body)


def _check_fresh(request: OpenRequest, now_ms: int) -> None:
    limits = CustodyLimits()
    lifetime_ms = request.expires_ms - request.created_ms
    early = request.created_ms > now_ms + limits.clock_skew_ms_max
    if early or not 0 < lifetime_ms <= limits.request_lifetime_ms_max:
        message = "the request is from the future, or lives too long"
        hint = "set the clocks right; a request lives at most five minutes"
        raise Refused(message, code="request_not_fresh", hint=hint)
    if now_ms >= request.expires_ms:
        hint = "let the runtime make a new request"
        raise Refused("the request has expired", code="request_expired", hint=hint)


def _other_bundle() -> Refused:
    message = "the request, the shares and the decision do not name the same bundle"
    hint = "open the bundle that the decision in force names"
    return Refused(message, code="other_bundle", hint=hint)


def _twice() -> Invalid:
    hint = "a quorum is of different custodians"
    return Invalid("a custodian takes part twice", code="duplicate_custodian", hint=hint)


def _no_quorum(have: int, need: int, refusals: Sequence[DutchdoorError] = ()) -> Refused:
    reasons = "".join(f"; refused: {refusal.message}" for refusal in refusals)
    message = f"{have} custodians agree, {need} are needed{reasons}"
    return Refused(message, code="no_quorum", hint="ask more custodians")
