"""Copies of sealed bundles: recorded first, then made, never more than were decided."""

from __future__ import annotations

import shutil
from pathlib import Path

from dutchdoor.app.bundles import Bundle
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody import copies
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.weights.folder import open_folder

__all__ = ["check_in", "copy_bundle", "record_copy", "record_destroyed"]


def record_copy(workspace: Workspace, bundle: Bundle, place: str) -> copies.Copy:
    """Record a copy that is about to be made elsewhere.

    Raises NotInForce: no decision is. Raises Refused: one more than was decided.
    """
    return copies.made(
        workspace.copies,
        _decision(workspace, bundle),
        place,
        record=workspace.record,
        now_ms=workspace.clock.now_ms(),
    )


def copy_bundle(workspace: Workspace, bundle: Bundle, target: Path, place: str) -> copies.Copy:
    """Copy the sealed folder to `target`, which must not exist; recorded before it is made.

    Raises as `record_copy`. Raises Refused: there is something at `target`. Raises Unavailable:
    the disk; the copy stays recorded, and what was written is removed.
    """
    if target.exists():
        message = f"there is something at {target}"
        raise Refused(message, code="target_exists", hint="name a folder that does not exist yet")
    copy = record_copy(workspace, bundle, place)
    try:
        shutil.copytree(bundle.path, target)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        message = f"the copy {copy.id} was recorded and could not be made: {error.strerror}"
        hint = f"record that there is none: dutchdoor custody destroyed {copy.id} --reason TEXT"
        raise Unavailable(message, code="copy_failed", hint=hint) from error
    open_folder(target, workspace.trust.holder)
    return copy


def record_destroyed(workspace: Workspace, bundle: Bundle, copy: str, reason: str) -> None:
    """Record that a copy is gone. Raises NotFound: no such copy. Raises Unavailable."""
    copies.destroyed(
        workspace.copies,
        bundle.digest,
        copy,
        reason,
        record=workspace.record,
        now_ms=workspace.clock.now_ms(),
    )


def check_in(
    workspace: Workspace, bundle: Bundle, folder: Path, copy: str, place: str
) -> copies.Copy:
    """Look at a copy of `bundle` in `folder` and record that it was seen.

    copy: its id; "" where nobody knows: then it is found by its place, or is an unknown one.
    Raises NotFound, Invalid, Tampered: there is no whole copy there. Raises Refused: of another
    bundle. Raises Unavailable: it cannot be recorded.
    """
    found = open_folder(folder, workspace.trust.holder)
    if found.manifest.digest != bundle.digest:
        message = f"the bundle in {folder} is another one"
        raise Refused(message, code="other_bundle", hint="name it with --bundle")
    where = place or str(folder.resolve())
    if not copy:
        here = folder.resolve() == bundle.path.resolve()
        known = workspace.copies.known(bundle.digest)
        named = [row.id for row in known if row.place == where and row.kind == "copy"]
        copy = bundle.digest if here else (named[0] if len(named) == 1 else "")
    return copies.seen(
        workspace.copies,
        bundle.digest,
        copy,
        where,
        record=workspace.record,
        now_ms=workspace.clock.now_ms(),
    )


def _decision(workspace: Workspace, bundle: Bundle) -> Decision:
    workspace.register.refresh()
    return workspace.register.in_force(bundle.digest, workspace.clock.now_ms()).decision
