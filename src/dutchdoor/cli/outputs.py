"""`dutchdoor audit outputs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.governance import find_audit, signer_of
from dutchdoor.app.outputs import write_outputs
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.outputs.service import OUTPUTS, OutputSet, check_set
from dutchdoor.audit.roles import audit_keys
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.trust import load_trust

__all__ = ["outputs"]


@command
def outputs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the set is, or shall be.")],
    signer: Annotated[
        str, typer.Option("--as", help="Whose key signs: an auditor, from the keyring.")
    ] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"One output, may be repeated; of: {', '.join(OUTPUTS)}."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the set in DIR instead of writing one.")
    ] = False,
    trust: Annotated[
        Path | None,
        typer.Option(help="With --check: the trust.json to check by; no workspace is needed then."),
    ] = None,
    audit: Annotated[
        str | None, typer.Option("--audit", help="Which audit; default: the latest.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write reports, cards, bills of materials and forms of an audit: signed and recorded."""
    if trust is not None and not check:
        hint = "add --check, or leave --trust away"
        raise Invalid("--trust is for checking a set", code="wrong_use", hint=hint)
    if check:
        found = check_set(folder, audit_keys(load_trust(trust or places_of(workspace).trust)))
        Output(json_output).data(
            _value(found), f"{_lines(found)}\n  every file is as it was signed"
        )
        return
    opened = open_workspace(places_of(workspace))
    if not signer:
        message = "outputs are signed by an auditor"
        raise Invalid(message, code="no_signer", hint="say whose key signs: --as auditor-1")
    key = signer_of(opened, signer)
    found = write_outputs(opened, find_audit(opened, audit), folder, key, only or ())
    listed = "\n".join(f"  {folder / path}" for path in found.files)
    Output(json_output).data(_value(found), f"{_lines(found)}\n{listed}")


def _lines(found: OutputSet) -> str:
    kind = "a DRAFT: the audit is not completed" if found.draft else f"summary {found.summary}"
    return f"outputs of {found.audit}, {to_iso(found.time_ms)[:10]}\n  {kind}"


def _value(found: OutputSet) -> dict[str, object]:
    return {
        "audit": found.audit,
        "bundle": found.bundle,
        "summary": found.summary,
        "draft": found.draft,
        "outputs": found.digest,
        "time_ms": found.time_ms,
        "files": dict(found.files),
    }
