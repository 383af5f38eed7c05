"""`dutchdoor custody rotate`, `revoke`, `drill`: other custodians, another key, and proofs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app import keys
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.ceremonies import Plan
from dutchdoor.app.custody import ask_drill, drill_state, prove_here, settle_drill
from dutchdoor.app.files import read_input, write_new
from dutchdoor.app.people import ensure_person
from dutchdoor.app.resealing import reseal
from dutchdoor.app.rotating import rotate
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.cli.ceremonies import ExpiresOption, lifetime_ms_of
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.custody.drill import DrillRequest
from dutchdoor.custody.model import CustodianPublic, CustodyLimits
from dutchdoor.custody.shares import parse_quorum
from dutchdoor.errors import Invalid

__all__ = ["register"]

BundleOption = Annotated[
    str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
]
ToOption = Annotated[str, typer.Option("--to", help="How many of how many, as 2of3.")]
CustodianOption = Annotated[
    list[str], typer.Option(help="A custodian whose .pub file is here; repeat it for each.")
]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]
CeremonyOption = Annotated[
    bool, typer.Option("--ceremony", help="The present custodians are elsewhere: ask, and wait.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("rotate")(rotate_custodians)
    app.command("revoke")(revoke)
    app.command("drill")(drill)


@command
def rotate_custodians(
    to: ToOption,
    custodian: CustodianOption,
    reason: ReasonOption,
    ceremony: CeremonyOption = False,
    expires: ExpiresOption = "1h",
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Wrap a bundle's key to other custodians. The weights are not touched, and stay the same.

    This takes nothing back from the former custodians: with the former shares.json and a quorum of
    the former keys, any copy still opens. `custody revoke` takes it back.
    """
    opened, output = open_workspace(places_of(workspace)), Output(json_output)
    found = find_bundle(opened, bundle)
    threshold, public = _quorum(opened, to, custodian)
    plan = Plan("rotate", reason, lifetime_ms_of(expires)) if ceremony else None
    done = rotate(opened, found, public, threshold, reason, plan=plan, say=output.note)
    Output(json_output).data(
        {
            "bundle": found.digest,
            "custodians": list(done.after),
            "threshold": done.threshold,
            "before": list(done.before),
            "entry": done.entry,
        },
        f"{found.name}: {done.threshold} of {len(done.after)} custodians open it from now on\n"
        "  the weights and every decision are the same\n"
        "  NOT revoked: the former shares.json still opens any copy with its former quorum; "
        "to take that back: dutchdoor custody revoke",
    )


@command
def revoke(
    name: Annotated[str, typer.Option(help="What the bundle that is sealed anew is called.")],
    to: ToOption,
    custodian: CustodianOption,
    reason: ReasonOption,
    auditor: Annotated[list[str], typer.Option(help="Who audits the new bundle; repeat it.")],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the former folder here.")] = False,
    ceremony: CeremonyOption = False,
    expires: ExpiresOption = "1h",
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Seal a bundle anew under another key: no former share, key or decision opens it.

    It is another bundle: audit it and decide on it. Copies of the former one elsewhere still open
    for whoever has its key; those that are known are listed, and people must destroy them.
    """
    opened, output = open_workspace(places_of(workspace)), Output(json_output)
    found = find_bundle(opened, bundle)
    threshold, public = _quorum(opened, to, custodian)
    people = [ensure_person(opened, person, "auditor").id for person in auditor]
    plan = Plan("revoke", reason, lifetime_ms_of(expires)) if ceremony else None
    done = reseal(
        opened,
        found,
        name,
        public,
        threshold,
        reason=reason,
        auditors=people,
        plan=plan,
        keep=keep,
        say=output.note,
    )
    left = [f"  {row.kind}: {row.place}  {row.id}" for row in done.left]
    Output(json_output).data(
        {
            "bundle": done.bundle.digest,
            "decision": done.decision.id,
            "revoked": done.revoked,
            "former": found.digest,
            "copies_left": [row.id for row in done.left],
        },
        "\n".join(
            [
                f"{done.bundle.name} is sealed under another key: {done.bundle.digest}",
                f"  born under {done.decision.id}; {done.revoked} on the former bundle is revoked",
                "  revoked: nothing of the former custody opens the new bundle",
                *(["still known of the former bundle, to be destroyed by people:"] if left else []),
                *left,
            ]
        ),
    )


@command
def drill(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Only write the question, for custodians elsewhere."),
    ] = None,
    question: Annotated[
        Path | None, typer.Option("--question", help="The question that these proofs answer.")
    ] = None,
    proof: Annotated[
        list[Path] | None, typer.Option(help="A custodian's proof; repeat it for each.")
    ] = None,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that the custodians can still open a bundle. Nothing is opened, no share leaves them.

    Custodians whose keys are here, behind no lock, prove at once. Exit code 1: too few proved.
    """
    opened, output = open_workspace(places_of(workspace)), Output(json_output)
    found = find_bundle(opened, bundle)
    limit = CustodyLimits().message_bytes_max
    if out is not None:
        asked = ask_drill(opened, found)
        write_new(out, asked.encode())
        output.data(
            {"drill": asked.digest, "expires_ms": asked.expires_ms, "written": str(out)},
            f"wrote {out}: to be answered until {to_iso(asked.expires_ms)} with "
            "'dutchdoor custody prove'",
        )
        return
    if proof and question is None:
        message = "proofs answer a question"
        raise Invalid(message, code="no_question", hint="give --question FILE besides")
    if question is None:
        asked = ask_drill(opened, found)
        proofs = list(prove_here(opened, found, asked))
    else:
        asked = DrillRequest.decode(read_input(question, limit))
        proofs = [read_input(path, limit) for path in proof or []]
    done = settle_drill(opened, found, asked, proofs)
    state = drill_state(opened, found)
    missing = f"\n  not: {', '.join(done.missing)}" if done.missing else ""
    output.data(
        {
            "drill": asked.digest,
            "proven": list(done.proven),
            "missing": list(done.missing),
            "threshold": done.need,
            "passed": done.passed,
            "next_due_ms": state.due_ms,
        },
        f"{len(done.proven)} custodians proved their shares, {done.need} are needed: "
        + ("the quorum can open it" if done.passed else "the quorum CANNOT open it")
        + f"\n  proved: {', '.join(done.proven) or 'nobody'}{missing}",
    )
    if not done.passed:
        raise typer.Exit(1)


def _quorum(workspace: Workspace, to: str, names: list[str]) -> tuple[int, list[CustodianPublic]]:
    threshold, count = parse_quorum(to)
    if len(set(names)) != count or len(names) != count:
        message = f"{count} custodians are needed, {len(set(names))} are named"
        raise Invalid(message, code="bad_quorum", hint="give --custodian NAME for each, once")
    return threshold, [keys.custodian_public(workspace.places, name) for name in names]
