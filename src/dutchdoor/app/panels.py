"""Panels of a workspace, wired to its log, its audits, its proposals and its keyring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dutchdoor.app.governance import find_audit, release_of
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.keyring import (
    FileSigner,
    KeyKind,
    create_signing_key,
    load_signing_key,
    parse_public_line,
)
from dutchdoor.custody.model import check_name
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.panels import Member
from dutchdoor.release.panels.brief import Brief, write_brief
from dutchdoor.release.panels.service import Panels

__all__ = ["make_key", "member_of", "member_signer", "panels_of", "write_pack"]

LINE_BYTES_MAX = 4_096


def panels_of(workspace: Workspace) -> Panels:
    """The panels of this workspace."""
    return Panels(
        trust=workspace.trust,
        register=workspace.register,
        record=workspace.record,
        clock=workspace.clock,
    )


def make_key(places: Places, name: str) -> tuple[FileSigner, Path]:
    """A new key of a member, and the file of its public line beside it.

    Raises Refused: there is one already, or the folder is open to others. Raises Invalid: the name.
    """
    path = _key_path(places, name)
    signer = create_signing_key(path, name)
    public = path.with_suffix(".pub")
    public.write_text(signer.public.line() + "\n")
    return signer, public


def member_signer(places: Places, name: str) -> FileSigner:
    """A member's key, from the embedded keyring. Raises NotFound: there is none of that name."""
    return load_signing_key(_key_path(places, name))


def member_of(path: Path) -> Member:
    """Somebody to sit on a panel, by the file of their public line (unverified).

    Raises NotFound: no such file. Raises Invalid: no public signing key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LINE_BYTES_MAX).decode("ascii")
    except OSError as error:
        hint = "a member makes their key with 'dutchdoor panel key' and sends its .pub file"
        raise NotFound(f"there is no {path}", code="key_not_found", hint=hint) from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is no public key line", code="bad_public_key") from error
    line = parse_public_line(text)
    if line.kind is not KeyKind.SIGNING:
        raise Invalid(f"{path} is no signing key", code="bad_public_key")
    return Member(line.name, line.data)


def write_pack(
    workspace: Workspace,
    folder: Path,
    *,
    question: str,
    options: Sequence[str],
    reader: str,
    audit: str | None = None,
    proposal: str = "",
    added: Mapping[str, bytes] | None = None,
) -> Brief:
    """The briefing pack on an audit, and on a proposal where one is named.

    Raises NotFound: no such audit or proposal. Raises as `write_brief`.
    """
    page = release_of(workspace).show(proposal) if proposal else ""
    return write_brief(
        folder,
        question=question,
        options=options,
        audit=find_audit(workspace, audit),
        trust=workspace.trust,
        reader=reader,
        decision=page,
        added=added,
    )


def _key_path(places: Places, name: str) -> Path:
    return places.keyring / "panel" / f"{check_name(name)}.key"
