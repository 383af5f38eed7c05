"""A sealing that was broken off, so that it can go on: only ciphertext, and its key for a quorum.

The content key must outlive a killed process, yet nobody may have it alone, neither before nor
after the bundle is published. So it is split and wrapped to the custodians before the first slot
is written: going on takes a threshold of them, as opening does. A key kept beside the draft, or
wrapped to the holder, would open the finished bundle for whoever finds it on a used disk.

The draft is signed by its holder. Without that, who can write here could leave shares of a key of
their own, wrapped to the right custodians, and the holder would seal the model under it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.model import ContentKey, CustodianPublic, CustodyLimits
from dutchdoor.custody.shares import WrappedShares, key_commitment, wrap_shares
from dutchdoor.durable import sync_folder, write_durably
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import key_id, open_statement, sign_statement
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.model import SHARES_NAME

__all__ = ["Draft", "DraftFolder", "draft_path", "read_draft"]

DRAFT_KIND = "seal_draft"
DRAFT_NAME = "draft.json"
BUNDLE_NAME = "bundle"
DRAFT_BYTES_MAX = 65_536


@dataclass(frozen=True)
class Draft:
    """What a sealing that was begun is of. content_id, commitment: 64 hexadecimal digits each."""

    model: str
    content_id: str
    commitment: str
    threshold: int
    custodians: tuple[str, ...]

    @property
    def digest(self) -> BundleDigest:
        """What the draft's shares are bound to, in the place of a bundle's digest."""
        return BundleDigest(canonical.digest({"kind": DRAFT_KIND, **self.to_value()}))

    def to_value(self) -> dict[str, Any]:
        """Canonical values."""
        return {
            "model": self.model,
            "content_id": self.content_id,
            "commitment": self.commitment,
            "threshold": self.threshold,
            "custodians": list(self.custodians),
        }


@dataclass(frozen=True)
class BegunDraft:
    """A draft that its holder signed, with the key's shares."""

    draft: Draft
    shares: WrappedShares


class DraftFolder:
    """A draft's folder, held by this process alone; `begin` and `resume` are the ways in.

    As a context manager it is removed at the end, unless `keeps` is set, and what ended it is not
    a refusal of the model.
    """

    def __init__(self, path: Path, lock: int, *, keeps: bool) -> None:
        self.path = path
        self.keeps = keeps
        self._keeps_always = keeps
        self._lock = lock

    @property
    def bundle(self) -> Path:
        """Where the bundle grows."""
        return self.path / BUNDLE_NAME

    @classmethod
    def begin(cls, path: Path) -> Self:
        """A new draft at `path`.

        Raises Refused: there is one. Raises OSError: the disk.
        """
        try:
            path.mkdir(mode=0o755)
        except FileExistsError as error:
            message = f"a sealing was begun at {path}"
            hint = "go on with it (--resume), or remove that folder to begin again"
            raise Refused(message, code="draft_exists", hint=hint) from error
        folder = cls(path, _hold(path), keeps=False)
        folder.bundle.mkdir(mode=0o755)
        return folder

    @classmethod
    def resume(cls, path: Path) -> Self:
        """The draft at `path`. Raises NotFound: none. Raises Refused: another process is at it."""
        if not (path / BUNDLE_NAME).is_dir():
            raise _no_draft(path)
        return cls(path, _hold(path), keeps=True)

    def commit(
        self, draft: Draft, key: ContentKey, custodians: Sequence[CustodianPublic], holder: Signer
    ) -> None:
        """Writes durably what it takes to go on: shares first, then what is signed over them."""
        shares = wrap_shares(
            key, bundle=draft.digest, custodians=custodians, threshold=draft.threshold
        ).encode()
        body = {"draft": draft.to_value(), "shares": "sha256:" + canonical.sha256_hex(shares)}
        for name, data in (
            (SHARES_NAME, shares),
            (DRAFT_NAME, sign_statement(DRAFT_KIND, body, [holder])),
        ):
            write_durably(self.path / name, data)
        sync_folder(self.path)
        self.keeps = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Of an unsafe or unsound model nothing is kept, unless it was kept before.
        refused = isinstance(error, Invalid | Refused) and not self._keeps_always
        if self.keeps and not refused:
            self.release()
        else:
            self.remove()

    def remove(self) -> None:
        """Takes the folder away, whatever is left in it: ciphertext."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Lets another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def draft_path(target: Path) -> Path:
    """Where the draft of a bundle at `target` lies."""
    return target.parent / f".{target.name}.draft"


def read_draft(target: Path, holder: bytes) -> BegunDraft:
    """The draft of a bundle at `target`, signed by this holder (a public key of 32 bytes).

    Raises NotFound: none was begun, or killed before its first slot. Raises Invalid: malformed, or
    not signed by the holder.
    """
    path = draft_path(target)
    data = _read(path, DRAFT_NAME, DRAFT_BYTES_MAX)
    shares = _read(path, SHARES_NAME, CustodyLimits().shares_file_bytes_max)
    keys = {key_id(holder): holder}
    body = open_statement(data, kind=DRAFT_KIND, keys=keys, signatures_min=1).body
    try:
        value = body["draft"]
        draft = Draft(
            model=fields.text(value["model"]),
            content_id=fields.hexadecimal(value["content_id"], 64),
            commitment=fields.hexadecimal(value["commitment"], 64),
            threshold=fields.count(value["threshold"]),
            custodians=tuple(fields.text(name) for name in value["custodians"]),
        )
        named = fields.digest(body["shares"])
    except fields.BAD_FIELD as error:
        raise _bad_draft("not the draft of a bundle") from error
    if body != {"draft": draft.to_value(), "shares": named}:
        raise _bad_draft("a draft of another form")
    if "sha256:" + canonical.sha256_hex(shares) != named:
        raise _bad_draft("the shares are not those of the draft")
    wrapped = WrappedShares.decode(shares)
    if (wrapped.bundle, wrapped.commitment) != (draft.digest, draft.commitment):
        raise _bad_draft("the shares are not those of the draft")
    return BegunDraft(draft, wrapped)


def check_resumed(draft: Draft, key: ContentKey, wanted: Draft) -> None:
    """Raises where a draft cannot become what is now asked for, or with this key.

    wanted: its content_id and commitment are not looked at.
    """
    if key_commitment(key) != draft.commitment:
        message = "this is not the key of the draft"
        raise Invalid(message, code="wrong_key", hint="ask the draft's own custodians")
    asked = (wanted.model, wanted.threshold, wanted.custodians)
    if asked != (draft.model, draft.threshold, draft.custodians):
        message = "the draft is of another model or for other custodians"
        hint = "seal with what the draft was begun with, or remove the draft"
        raise Refused(message, code="other_draft", hint=hint)


def _hold(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        message = f"another process is sealing at {path}"
        raise Refused(message, code="draft_busy", hint="wait for it, or end it") from error
    return handle


def _read(folder: Path, name: str, largest: int) -> bytes:
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _no_draft(folder) from error
    with os.fdopen(handle, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise _bad_draft(f"{name} is too long")
    return data


def _no_draft(path: Path) -> DutchdoorError:
    hint = "seal from the beginning, without --resume; remove that folder if it is there"
    return NotFound(f"no sealing to go on with at {path}", code="no_draft", hint=hint)


def _bad_draft(message: str) -> Invalid:
    hint = "remove the draft and seal from the beginning"
    return Invalid(message, code="bad_draft", hint=hint)
