"""An opening whose custodians are elsewhere: asked by file or HTTP, waited for, recorded twice.

1. `key_requested` is durable: what is asked, why, until when, under which decision.
2. The ceremony lies in a file: the request, and the signed manifest and shares to judge it by.
3. Each custodian grants on their own machine (`app.granting`); the grant comes back (`deposit`).
4. With a quorum, and the same decision still in force, `key_released` is durable.
5. Only then do the sealed shares reach the process that asked. Nobody else can open them.

The ephemeral key lives in the process that waits. When that ends, the ceremony has ended.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor.app.attesting import host_evidence
from dutchdoor.app.bundles import Bundle
from dutchdoor.app.workspace import Workspace
from dutchdoor.canonical import sha256_hex
from dutchdoor.config import Places
from dutchdoor.custody.attestation.model import NOTHING_ATTESTED, Attested
from dutchdoor.custody.attestation.verify import EnrolledHosts
from dutchdoor.custody.custodian import Agreement
from dutchdoor.custody.demands import check_custody
from dutchdoor.custody.messages import Ceremony, OpenRequest, ShareGrant, ShareRelease
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.opening import check_grant, release_entry
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.register import InForce
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.model import MANIFEST_NAME, SHARES_NAME, Manifest

__all__ = [
    "PURPOSES",
    "Deposited",
    "Judged",
    "Plan",
    "Waiting",
    "deposit",
    "has_waiting",
    "hold",
    "judge",
    "waiting",
]

PURPOSES = ("serve", "rotate", "revoke")
REASON_CHARACTERS_MAX = 500
REQUEST_NAME = "request"
LOCK_NAME = "lock"
SHARE_SUFFIX = ".share"
POLL_S = 0.1
LOOK_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What a person asks the custodians for. purpose: one of PURPOSES. reason: in their words.

    lifetime_ms: how long to wait for them, a day at most.
    """

    purpose: str
    reason: str
    lifetime_ms: int

    def __post_init__(self) -> None:
        if not self.reason.strip().isprintable() or not 0 < len(self.reason.strip()) <= (
            REASON_CHARACTERS_MAX
        ):
            message = f"a reason has 1 to {REASON_CHARACTERS_MAX} printable characters"
            raise Invalid(message, code="no_reason", hint="say why it must be opened: --reason")
        if self.purpose not in PURPOSES:
            raise Invalid("a ceremony for nothing we know", code="bad_purpose")
        if not 0 < self.lifetime_ms <= CustodyLimits().ceremony_lifetime_ms_max:
            message = "a ceremony waits a day at most"
            raise Invalid(message, code="bad_lifetime", hint="write it as 30m or 4h")


class Judged(NamedTuple):
    """A ceremony whose manifest a trusted holder signed, and whose shares it names."""

    ceremony: Ceremony
    request: OpenRequest
    manifest: Manifest
    shares: WrappedShares


class Waiting(NamedTuple):
    """A ceremony that waits here. granted: names of the custodians whose shares have come."""

    folder: Path
    judged: Judged
    granted: tuple[str, ...]


class Deposited(NamedTuple):
    """A grant that was taken in. name: the custodian's. have, need: shares so far, and in all."""

    name: str
    have: int
    need: int


def judge(data: bytes, trust: Trust) -> Judged:
    """The ceremony in `data` (unverified bytes), as far as the holder's signature goes.

    Raises Invalid: malformed, or not signed by a trusted holder. Raises Refused: its parts are of
    different bundles.
    """
    ceremony = Ceremony.decode(data)
    manifest = Manifest.open(ceremony.manifest, trust.holder)
    shares = WrappedShares.decode(ceremony.shares)
    request = OpenRequest.decode(ceremony.request)
    terms = manifest.terms
    named = tuple(share.custodian for share in shares.shares)
    said = (shares.bundle, shares.commitment, shares.threshold, named)
    signed = (terms.bundle, terms.commitment, terms.threshold, terms.custodians)
    digest = "sha256:" + sha256_hex(ceremony.shares)
    if digest != manifest.custody.shares or said != signed or request.bundle != manifest.digest:
        message = "the request, the manifest and the shares are not of one bundle"
        hint = "ask for the request anew: dutchdoor custody request"
        raise Refused(message, code="other_bundle", hint=hint)
    return Judged(ceremony, request, manifest, shares)


def hold(
    workspace: Workspace,
    bundle: Bundle,
    request: bytes,
    plan: Plan,
    *,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _text: None,
    evidence: bytes | None = None,
) -> tuple[bytes, ...]:
    """The releases of a quorum of custodians for `request`, once they have come; recorded first.

    stopped: whether whoever asked has given up; asked several times a second. evidence: of this
    machine; None makes it where the decision asks for it.
    Raises NotInForce: no decision is, or no longer. Raises Refused: the time is over, the decision
    changed, or custody is less than it demands. Raises Unavailable: it cannot be recorded or
    written, or was stopped. Whatever is raised, nothing was released and no file is left.
    """
    parsed = OpenRequest.decode(request)
    folder = open_folder(bundle.path, workspace.trust.holder)
    in_force = _in_force(workspace, bundle)
    known = workspace.copies.count(bundle.digest)
    if evidence is None:
        evidence = host_evidence(workspace, in_force.decision, parsed)
    attested = NOTHING_ATTESTED
    if evidence:
        # The custodians verify it again, each by itself: here it saves asking them in vain.
        attested = EnrolledHosts(workspace.trust.hosts).verify(evidence, parsed)
    check_custody(in_force.decision.terms.custody, folder.shares, known, attested.grade)
    body = {
        "bundle": parsed.bundle,
        "decision": in_force.decision.id,
        "request": parsed.digest,
        "runtime_key": parsed.runtime_key,
        "purpose": plan.purpose,
        "reason": plan.reason.strip(),
        "expires_ms": parsed.expires_ms,
    }
    recorded = workspace.record(
        Entry(EntryKind.KEY_REQUESTED, workspace.clock.now_ms(), dict(body))
    )
    ceremony = Ceremony(
        request=request,
        entry=recorded.index,
        manifest=(bundle.path / MANIFEST_NAME).read_bytes(),
        shares=(bundle.path / SHARES_NAME).read_bytes(),
        evidence=evidence,
    )
    with _published(workspace.places, parsed, ceremony) as place:
        say(
            f"waiting for {folder.shares.threshold} of {len(folder.shares.shares)} custodians: "
            "dutchdoor custody request --out FILE"
        )
        judged = judge(ceremony.encode(), workspace.trust)
        wait = _Wait(workspace, bundle, judged, in_force)
        releases = wait.gather(place, stopped, say)
        agreed = [_agreement(release, parsed, in_force, attested) for release in releases]
        entry = release_entry(folder.shares, agreed, workspace.clock.now_ms())
        entry.body["requested"] = recorded.index
        workspace.record(entry)
    return tuple(release.encode() for release in releases)


def waiting(workspace: Workspace) -> list[Waiting]:
    """The ceremonies that wait in this workspace, oldest first.

    What a killed process left behind is removed: its key died with it.
    """
    found = []
    for path in sorted(workspace.places.openings.glob(f"*/{REQUEST_NAME}")):
        if not _is_held(path.parent):
            shutil.rmtree(path.parent, ignore_errors=True)
            continue
        try:
            judged = judge(path.read_bytes(), workspace.trust)
        except (DutchdoorError, OSError):
            continue
        if workspace.clock.now_ms() < judged.request.expires_ms:
            names = {share.custodian: share.name for share in judged.shares.shares}
            granted = [_key_id(row.name) for row in path.parent.glob(f"*{SHARE_SUFFIX}")]
            names_of = tuple(sorted(names[key] for key in granted if key in names))
            found.append(Waiting(path.parent, judged, names_of))
    return sorted(found, key=lambda row: row.judged.request.created_ms)


def deposit(workspace: Workspace, data: bytes) -> Deposited:
    """Hand a custodian's grant (unverified bytes) to the ceremony that waits for it.

    Raises NotFound: nothing waits for it. Raises Invalid: malformed, not the custodian's share, or
    there already. Raises Refused: of nobody who holds a share. Raises Unavailable: the disk.
    """
    release = ShareRelease.decode(ShareGrant.decode(data).release)
    for row in waiting(workspace):
        judged = row.judged
        if judged.request.digest != release.request:
            continue
        check_grant(data, judged.request, judged.shares)
        name = judged.shares.of(release.custodian).name
        _write_once(row.folder / _share_name(release.custodian), data, name)
        return Deposited(name, len(row.granted) + 1, judged.shares.threshold)
    message = "nothing here waits for this share"
    hint = "its request has expired or was given up, or is of another machine: custody pending"
    raise NotFound(message, code="no_opening", hint=hint)


class _Wait:
    """Waits for a quorum, and looks all the while whether it may still go on."""

    def __init__(
        self, workspace: Workspace, bundle: Bundle, judged: Judged, in_force: InForce
    ) -> None:
        self._workspace = workspace
        self._bundle = bundle
        self._judged = judged
        self._in_force = in_force
        self._look_at_s = 0.0

    def gather(
        self, place: Path, stopped: Callable[[], bool], say: Callable[[str], None]
    ) -> list[ShareRelease]:
        shares = self._judged.shares
        found: dict[str, ShareRelease] = {}
        while len(found) < shares.threshold:
            if stopped():
                message = "the opening was given up before enough custodians had answered"
                raise Unavailable(message, code="opening_stopped", hint="ask them again")
            self._may_go_on()
            for path in sorted(place.glob(f"*{SHARE_SUFFIX}")):
                if path.name not in found and len(found) < shares.threshold:
                    release = self._take(path, say)
                    if release is not None:
                        found[path.name] = release
                        say(f"{shares.of(release.custodian).name} granted")
            if len(found) < shares.threshold:
                time.sleep(POLL_S)
        # A decision that was revoked a moment ago wins over shares that came before.
        self._look_at_s = 0.0
        self._may_go_on()
        return list(found.values())

    def _take(self, path: Path, say: Callable[[str], None]) -> ShareRelease | None:
        """The release in a file that somebody put there; a wrong one is said and removed."""
        try:
            with path.open("rb") as file:
                data = file.read(CustodyLimits().message_bytes_max + 1)
            release = check_grant(data, self._judged.request, self._judged.shares)
            if release.decision != self._in_force.decision.id:
                message = "granted under another decision than the one in force here"
                raise Refused(message, code="mixed_decisions", hint="bring its log up to date")
            if path.name != _share_name(release.custodian):
                raise Invalid("a share under another's name", code="duplicate_custodian")
        except (DutchdoorError, OSError) as error:
            path.unlink(missing_ok=True)
            said = error.message if isinstance(error, DutchdoorError) else str(error.strerror)
            say(f"a share was refused: {said}")
            return None
        return release

    def _may_go_on(self) -> None:
        now_ms = self._workspace.clock.now_ms()
        if now_ms >= self._judged.request.expires_ms:
            message = "too few custodians answered before the request expired"
            hint = "ask them again: dutchdoor custody request"
            raise Refused(message, code="request_expired", hint=hint)
        if time.monotonic() < self._look_at_s:
            return
        self._look_at_s = time.monotonic() + LOOK_S
        found = _in_force(self._workspace, self._bundle)
        if found.decision.id != self._in_force.decision.id:
            message = "another decision came into force while the custodians were asked"
            hint = "ask them again, under the new one"
            raise Refused(message, code="decision_changed", hint=hint)


def _in_force(workspace: Workspace, bundle: Bundle) -> InForce:
    workspace.register.refresh()
    return workspace.register.in_force(bundle.digest, workspace.clock.now_ms())


def _agreement(
    release: ShareRelease, request: OpenRequest, in_force: InForce, attested: Attested
) -> Agreement:
    return Agreement(
        custodian=release.custodian,
        request=release.request,
        runtime_key=request.runtime_key,
        decision=release.decision,
        decision_index=in_force.index,
        attested=attested,
    )


def has_waiting(places: Places) -> bool:
    """Whether a process waits here for custodians."""
    return any(_is_held(path.parent) for path in places.openings.glob(f"*/{REQUEST_NAME}"))


@contextmanager
def _published(places: Places, request: OpenRequest, ceremony: Ceremony) -> Iterator[Path]:
    place = places.openings / request.digest.removeprefix("sha256:")[:16]
    try:
        place.mkdir(mode=0o700, parents=True)
        # Held while this process lives; the kernel gives it back when it dies, however it dies.
        with (place / LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield _put(place, ceremony)
    except OSError as error:
        message = f"the request cannot be written: {error.strerror}"
        hint = "make room on the disk; nothing was released"
        raise Unavailable(message, code="opening_unavailable", hint=hint) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _put(place: Path, ceremony: Ceremony) -> Path:
    _write_once(place / REQUEST_NAME, ceremony.encode(), "the request")
    return place


def _is_held(folder: Path) -> bool:
    try:
        with (folder / LOCK_NAME).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _write_once(path: Path, data: bytes, name: str) -> None:
    """Write `data` whole or not at all. Raises Invalid: there is one already."""
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError as error:
        message = f"the share of {name} has come already"
        hint = "a quorum is of different custodians: ask another one"
        raise Invalid(message, code="duplicate_custodian", hint=hint) from error
    except OSError as error:
        message = f"the share cannot be written: {error.strerror}"
        hint = "make room on the disk, and hand it in again"
        raise Unavailable(message, code="opening_unavailable", hint=hint) from error
    finally:
        draft.unlink(missing_ok=True)


def _share_name(custodian: str) -> str:
    # A key id is checked against the manifest before; it holds no '/' that could lead elsewhere.
    return custodian.replace(":", "-") + SHARE_SUFFIX


def _key_id(name: str) -> str:
    return name.removesuffix(SHARE_SUFFIX).replace("-", ":", 1)
