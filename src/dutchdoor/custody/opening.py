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
from dutchdoor.custody.attestation.ports import HostEvidenceMaker
from dutchdoor.custody.custodian import Agreement, Custodian, check_fresh, other_bundle
from dutchdoor.custody.hpke import PrivateKey
from dutchdoor.custody.messages import NONCE_BYTES, OpenRequest, ShareGrant, ShareRelease
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.ports import (
    Record,
)
from dutchdoor.custody.proof import is_proven
from dutchdoor.custody.shares import (
    WrappedShares,
    combine,
    read_share,
)
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Tampered
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.ids import BundleDigest, DecisionId

__all__ = [
    "REQUEST_LIFETIME_MS",
    "Agreement",
    "Custodian",
    "Opened",
    "Opening",
    "QuorumTerms",
    "check_grant",
    "gather_releases",
    "open_with_quorum",
    "release_entry",
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


class Opened(NamedTuple):
    """A content key, and the decision under which the custodians released it."""

    key: ContentKey
    decision: DecisionId


class Opening:
    """The runtime's side of one opening: its ephemeral key lives and dies here."""

    def __init__(
        self, bundle: BundleDigest, clock: Clock, *, lifetime_ms: int = REQUEST_LIFETIME_MS
    ) -> None:
        """bundle: what to open. lifetime_ms: at most 300,000; a day in a ceremony."""
        self._private: PrivateKey | None = PrivateKey.ephemeral()
        self._clock = clock
        self._lifetime_ms = lifetime_ms
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
        check_fresh(self._request, self._clock.now_ms(), self._lifetime_ms)
        if terms.bundle != self._request.bundle:
            raise other_bundle()
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
    evidence: bytes = b"",
) -> tuple[bytes, ...]:
    """The encoded releases of as many custodians as the quorum needs.

    evidence: what the host that asks shows of itself (unverified), b"" for nothing.

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
            agreed.append((custodian, custodian.agree(request, shares, evidence)))
        except DutchdoorError as refusal:
            # Another custodian may still agree: one that is down must not hold up the quorum.
            refusals.append(refusal)
    if not agreed:
        raise refusals[0]
    if len(agreed) < shares.threshold:
        raise _no_quorum(len(agreed), shares.threshold, refusals)
    recorded = record(release_entry(shares, [agreement for _, agreement in agreed], clock.now_ms()))
    released = [custodian.release(request, shares, recorded, evidence) for custodian, _ in agreed]
    return tuple(release.encode() for release in released)


def open_with_quorum(
    terms: QuorumTerms,
    *,
    shares: WrappedShares,
    custodians: Sequence[Custodian],
    record: Record,
    clock: Clock,
    host: HostEvidenceMaker | None = None,
) -> Opened:
    """The content key of one bundle, with all custodians in this process.

    host: shows what this machine is; None shows nothing.

    The same messages pass as between processes: `Opening`, `gather_releases`, `Opening.finish`.
    Raises as those do.
    """
    opening = Opening(terms.bundle, clock)
    releases = gather_releases(
        opening.request,
        shares=shares,
        custodians=custodians,
        record=record,
        clock=clock,
        evidence=b"" if host is None else host.show(OpenRequest.decode(opening.request)),
    )
    return opening.finish(releases, terms)


def check_grant(data: bytes, request: OpenRequest, shares: WrappedShares) -> ShareRelease:
    """The release in a custodian's grant (unverified bytes), where it answers this request.

    shares: of the bundle's signed manifest. What is sealed in it only the runtime can see; that it
    is this custodian's share, its proof says.
    Raises Invalid: malformed, of another request or bundle, or not its share.
    Raises Refused: of nobody who holds a share.
    """
    grant = ShareGrant.decode(data)
    release = ShareRelease.decode(grant.release)
    if release.request != request.digest or release.bundle != request.bundle:
        message = f"the share of {release.custodian} answers another request"
        hint = "ask the custodian for an answer to this one"
        raise Invalid(message, code="other_request", hint=hint)
    share = shares.of(release.custodian)
    placed = (release.index, release.threshold) == (share.index, shares.threshold)
    if not placed or (share.proof and not is_proven(share.proof, grant.release, grant.proof)):
        message = f"what came from {share.name} is not its share of this bundle"
        hint = "it was changed, or made with another key: ask this custodian again"
        raise Invalid(message, code="wrong_proof", hint=hint)
    return release


def release_entry(shares: WrappedShares, agreed: Sequence[Agreement], now_ms: int) -> Entry:
    """The entry `key_released` of these agreements. Raises Invalid: under several decisions."""
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
        "grade": str(first.attested.grade),
        "host": first.attested.host,
        "evidence": first.attested.evidence,
    }
    return Entry(EntryKind.KEY_RELEASED, now_ms, body)


def _twice() -> Invalid:
    hint = "a quorum is of different custodians"
    return Invalid("a custodian takes part twice", code="duplicate_custodian", hint=hint)


def _no_quorum(have: int, need: int, refusals: Sequence[DutchdoorError] = ()) -> Refused:
    reasons = "".join(f"; refused: {refusal.message}" for refusal in refusals)
    message = f"{have} custodians agree, {need} are needed{reasons}"
    return Refused(message, code="no_quorum", hint="ask more custodians")
