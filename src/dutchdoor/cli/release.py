"""`dutchdoor release …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.governance import approve as approve_proposal
from dutchdoor.app.governance import enact as enact_proposal
from dutchdoor.app.governance import find_audit, release_of, signer_of
from dutchdoor.app.governance import revoke as revoke_decision
from dutchdoor.app.keys import may_record
from dutchdoor.app.stages import place_in_plan
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.release_terms import terms_of
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.decision import Audience
from dutchdoor.evidence.terms import StageTerms
from dutchdoor.release.approvals import APPROVALS_NAME
from dutchdoor.release.model import DEFAULTS, Approval, audience, level_of

__all__ = ["app"]

app = typer.Typer(
    help="Decide how open a model is, for whom; approve, revoke.", no_args_is_help=True
)

AsOption = Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")]


@app.command("propose")
@command
def propose(
    level: Annotated[str, typer.Option(help="A level of the gradient, for instance cloud_api.")],
    stage: Annotated[str, typer.Option(help="The stage, in words.")],
    audiences: Annotated[
        list[str],
        typer.Option("--audience", help="NAME=DEPTH,DEPTH: whom it lets in, how deep; repeat it."),
    ],
    proposer: Annotated[str, typer.Option("--by", help="Who answers for the proposal.")],
    reasons: Annotated[str, typer.Option(help="Why the risk is acceptable.")] = "",
    terms: Annotated[
        Path | None, typer.Option(help="YAML with terms to start from: stages, custody, and so on.")
    ] = None,
    components: Annotated[
        Path | None, typer.Option(help="YAML with rows of name, access, licence, conditions.")
    ] = None,
    profile: Annotated[str, typer.Option(help="The deployment profile; see 'profiles'.")] = "",
    heard: Annotated[
        list[str] | None, typer.Option(help="Who was heard besides the approvers; repeat it.")
    ] = None,
    review_by: Annotated[
        str, typer.Option(help="A day: out of force from then on, unless decided anew.")
    ] = "",
    audit: Annotated[str | None, typer.Option(help="Which audit; default: the latest.")] = None,
    vectors: Annotated[
        int | None, typer.Option(help="Independent vectors over all people; default: h / 4.")
    ] = None,
    days: Annotated[
        int, typer.Option(help="How long the decision lasts.")
    ] = DEFAULTS.in_force_days,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Propose a decision on an audited bundle, as a document to read and edit."""
    opened = open_workspace(places_of(workspace))
    summary = find_audit(opened, audit).summary()
    if summary is None:
        message = "the audit is not completed"
        raise Invalid(message, code="audit_missing", hint="see 'dutchdoor audit status'")
    release = release_of(opened)
    rows = tuple(_audience(text) for text in audiences)
    here = StageTerms(stage, level_of(level), rows)
    proposal = release.propose(
        audit=summary.digest,
        level=level,
        stage=stage,
        audiences=rows,
        terms=terms_of(terms, components, here=here, profile=profile, review_by=review_by),
        heard=heard or (),
        hidden_size=_hidden_size(opened, summary.bundle),
        proposer=proposer,
        reasons=reasons,
        vectors_max=vectors,
        in_force_days=days,
    )
    path = release.document(proposal.id)
    Output(json_output).data(
        {"proposal": proposal.id, "decision": proposal.decision.id, "document": str(path)},
        f"proposed {proposal.id}\n  read and edit {path}\n"
        f"  it takes {proposal.approvals_min} approvals: dutchdoor release approve {proposal.id}",
    )


@app.command("check")
@command
def check(
    proposal: Annotated[str, typer.Argument(help="The proposal, proposal_….")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say whether a proposal may be approved as it reads now, and who is to sign. Signs nothing."""
    opened = open_workspace(places_of(workspace))
    release = release_of(opened)
    decision = release.check(proposal)
    found = release.proposal(proposal)
    in_plan = place_in_plan(opened, decision)
    Output(json_output).data(
        {
            "proposal": proposal,
            "decision": decision.id,
            "approvals_min": found.approvals_min,
            "approved_by": list(found.approved_by),
            "outside_missing": list(found.outside_missing),
            "in_plan": list(in_plan),
        },
        f"{proposal} may be approved: {len(found.approved_by)} of {found.approvals_min} approvals"
        + "".join(f"\n  from outside, {name} must sign too" for name in found.outside_missing)
        + "".join(f"\n  {text}" for text in in_plan),
    )


@app.command("approve")
@command
def approve(
    proposal: Annotated[str, typer.Argument(help="The proposal, proposal_….")],
    approver: AsOption,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Approve a proposal exactly as it reads now; with enough approvals it is in force.

    Somebody outside whom its terms ask signs the same way, and is counted apart.
    Without the log's key here it is only signed: 'release enact' puts it in force elsewhere.
    """
    opened = open_workspace(places_of(workspace))
    approval = approve_proposal(opened, proposal, signer_of(opened, approver))
    output = Output(json_output)
    path = release_of(opened).document(proposal).with_name(APPROVALS_NAME)
    word = "signed" if approver in approval.outside_by else "approved"
    lines = [f"{approver} {word} {proposal}: {_counted(approval)}"]
    if approval.in_force:
        lines.append(f"{approval.decision.id} is in force")
    elif not may_record(opened.places):
        lines.append(f"signed, not recorded: the log's key is elsewhere; carry {path} there, then:")
        lines.append(f"  dutchdoor release enact {proposal} --approvals FILE")
    output.data({**_approval_value(approval), "approvals": str(path)}, "\n".join(lines))
    if approval.voided:
        output.note(f"the text was changed: {len(approval.voided)} earlier approvals are void")


@app.command("enact")
@command
def enact(
    proposal: Annotated[str, typer.Argument(help="The proposal, proposal_….")],
    approvals: Annotated[
        list[Path] | None,
        typer.Option("--approvals", help="An approvals.json carried back; repeat it."),
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Put a proposal in force by approvals that were signed on other machines."""
    opened = open_workspace(places_of(workspace))
    brought = {str(path): _approvals(path) for path in approvals or []}
    approval = enact_proposal(opened, proposal, brought)
    Output(json_output).data(
        _approval_value(approval),
        f"{proposal}: {_counted(approval)}\n{approval.decision.id} is in force",
    )


@app.command("show")
@command
def show(
    name: Annotated[str, typer.Argument(help="A proposal, a decision or a bundle.")] = "",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show a decision on one page, for a reader without this program."""
    opened = open_workspace(places_of(workspace))
    release = release_of(opened)
    proposed = name in release.proposals()
    in_plan = place_in_plan(opened, release.proposal(name).decision) if proposed else ()
    page = release.show(_bundle_or(opened, name), in_plan)
    Output(json_output).data({"page": page}, page)


@app.command("history")
@command
def history(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List all decisions ever signed, in the log's order, then the open proposals."""
    opened = open_workspace(places_of(workspace))
    rows = release_of(opened).history()
    Output(json_output).data(
        [
            {
                "decision": row.decision,
                "bundle": row.bundle,
                "model": row.model,
                "level": str(row.level),
                "stage": row.stage,
                "state": str(row.state),
                "index": row.index,
                "reason": row.reason,
            }
            for row in rows
        ],
        "\n".join(
            f"{row.model}: {row.level}, {row.stage}: {row.state}"
            + (f" ({row.reason})" if row.reason else "")
            + f"  {row.decision}"
            for row in rows
        )
        or "nothing was decided yet",
    )


@app.command("revoke")
@command
def revoke(
    reason: Annotated[str, typer.Option(help="Why; it is signed and recorded.")],
    revoker: AsOption,
    decision: Annotated[
        str | None, typer.Argument(help="The decision; default: the one in force.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Revoke a decision for good. Running streams are cut within a second."""
    opened = open_workspace(places_of(workspace))
    chosen = decision or _only_in_force(opened)
    revoke_decision(opened, chosen, reason, signer_of(opened, revoker))
    Output(json_output).data(
        {"decision": chosen, "revoked": True},
        f"revoked {chosen}\nno decision is in force on that bundle now",
    )


def _approval_value(approval: Approval) -> dict[str, Any]:
    return {
        "proposal": approval.proposal,
        "decision": approval.decision.id,
        "approved_by": list(approval.approved_by),
        "outside_by": list(approval.outside_by),
        "outside_missing": list(approval.outside_missing),
        "voided": list(approval.voided),
        "in_force": approval.in_force,
        "index": approval.index,
    }


def _counted(approval: Approval) -> str:
    missing = ", ".join(approval.outside_missing)
    waits = f"; from outside, {missing} must sign too" if missing else ""
    return f"{len(approval.approved_by)} of {approval.approvals_min} approvals{waits}"


def _approvals(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(DEFAULTS.approvals_bytes_max)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        hint = "name the approvals.json that was carried back"
        raise NotFound(message, code="no_approvals", hint=hint) from error


def _audience(text: str) -> Audience:
    name, equals, depths = text.partition("=")
    if not equals:
        hint = "write --audience researcher=sampling,logprobs"
        raise Invalid(f"'{text}' names no depth", code="bad_audience", hint=hint)
    return audience(name.strip(), [depth.strip() for depth in depths.split(",")])


def _hidden_size(workspace: Workspace, bundle: str) -> int:
    for step in workspace.register.history(bundle):
        if step.decision is not None:
            return step.decision.hidden_size
    raise NotFound(f"nothing was ever decided on {bundle}", code="no_decision")


def _bundle_or(workspace: Workspace, name: str) -> str:
    """`name`, or the digest of the bundle of that name."""
    if not name or name.startswith(("proposal_", "decision_", "sha256:")):
        return name
    return find_bundle(workspace, Path(name).name).digest


def _only_in_force(workspace: Workspace) -> str:
    rows = [row for row in release_of(workspace).history() if str(row.state) == "in force"]
    if len(rows) != 1:
        message = f"{len(rows)} decisions are in force; say which"
        raise NotFound(message, code="no_decision", hint="see 'dutchdoor release history'")
    return rows[0].decision
