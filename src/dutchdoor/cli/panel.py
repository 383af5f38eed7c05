"""`dutchdoor panel …`: people drawn or named, briefed, asked, counted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.governance import signer_of
from dutchdoor.app.panels import make_key, member_of, member_signer, panels_of, write_pack
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.panel_text import (
    moment,
    quotas_of,
    ranks_of,
    read_file,
    standing_text,
    standing_value,
)
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.panels import Opening, Rule
from dutchdoor.release.panels.brief import check_brief
from dutchdoor.release.panels.draw import LIST_BYTES_MAX
from dutchdoor.release.panels.service import BALLOT_BYTES_MAX, new_panel_id

__all__ = ["register"]

DAY_MS = 86_400_000
ADDED_BYTES_MAX = 8 << 20

app = typer.Typer(
    help="Ask a panel of people: drawn by lot or named, briefed, counted in the open.",
    no_args_is_help=True,
)

AsOption = Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")]
BundleOption = Annotated[
    str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
]
PanelArgument = Annotated[str, typer.Argument(help="The panel, panel_….")]
ListOption = Annotated[
    Path | None, typer.Option("--list", help="The list, CSV with a column 'name'.")
]
SeedsOption = Annotated[
    list[str] | None, typer.Option("--seed", help="The published value, one for each source.")
]
DeclinedOption = Annotated[
    list[str] | None, typer.Option("--declined", help="Drawn, and would not come; repeat it.")
]
OptionsOption = Annotated[
    list[str] | None, typer.Option("--option", help="An answer; repeat it. Default: yes, no.")
]


def register(program: typer.Typer) -> None:
    """Add `panel` to the program."""
    program.add_typer(app, name="panel")


@app.command("key")
@command
def key(
    name: Annotated[str, typer.Argument(help="Whose key; on a drawn panel the name on the list.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a member's key, to sign votes with. Its .pub file is for whoever opens the panel."""
    signer, public = make_key(places_of(workspace), name)
    Output(json_output).data(
        {"name": name, "public": str(public), "line": signer.public.line()},
        f"made the key of {name}\n  give away only {public}",
    )


@app.command("call")
@command
def call(
    people: Annotated[Path, typer.Option("--list", help="The list, CSV with a column 'name'.")],
    seats: Annotated[int, typer.Option(help="How many are drawn.")],
    sources: Annotated[
        list[str],
        typer.Option("--source", help="Where the seed will be published, exactly; repeat it."),
    ],
    seed_from: Annotated[str, typer.Option(help="When nobody knows the seed before: a time.")],
    signer: AsOption = "holder",
    stratum: Annotated[str, typer.Option(help="A column of the list to draw by.")] = "",
    quotas: Annotated[
        list[str] | None, typer.Option("--quota", help="VALUE=SEATS of that column; repeat it.")
    ] = None,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fix list, seats and source of the seed in the log, before anybody can know the seed."""
    opened = open_workspace(places_of(workspace))
    found = panels_of(opened).call(
        find_bundle(opened, bundle).digest,
        read_file(people, LIST_BYTES_MAX),
        seats=seats,
        sources=sources,
        seed_from_ms=moment(seed_from, opened.clock.now_ms()),
        signer=signer_of(opened, signer),
        stratum=stratum,
        quotas=quotas_of(quotas or []),
    )
    Output(json_output).data(
        found.to_body(),
        f"called {found.panel}: {found.seats} of {found.rows} people, from a seed of\n"
        + "\n".join(f"  {source}" for source in found.sources)
        + f"\n  not before {to_iso(found.seed_from_ms)}\n  the list: {found.list_digest}",
    )


@app.command("draw")
@command
def draw(
    panel: PanelArgument,
    people: ListOption = None,
    seeds: SeedsOption = None,
    declined: DeclinedOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Draw a called panel by the published seed; anybody draws the same people."""
    opened = open_workspace(places_of(workspace))
    if people is None:
        raise Invalid("a draw takes its list", code="bad_list", hint="give --list FILE")
    data = read_file(people, LIST_BYTES_MAX)
    seated = panels_of(opened).drawn(panel, data, seeds or (), declined or ())
    Output(json_output).data({"panel": panel, "drawn": list(seated)}, "\n".join(seated))


@app.command("brief")
@command
def brief(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or a new folder.")],
    question: Annotated[str, typer.Option(help="What the panel is asked.")],
    options: OptionsOption = None,
    reader: Annotated[
        str, typer.Option("--for", help=f"What members may read: {', '.join(SENSITIVITIES)}.")
    ] = SENSITIVITIES[0],
    audit: Annotated[str | None, typer.Option(help="Which audit; default: the latest.")] = None,
    proposal: Annotated[str, typer.Option(help="A proposal or decision to show beside.")] = "",
    added: Annotated[
        list[Path] | None, typer.Option("--add", help="A document to add; repeat it.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the briefing pack: the audit as members may read it, with every file's digest."""
    opened = open_workspace(places_of(workspace))
    pack = write_pack(
        opened,
        folder,
        question=question,
        options=options or ["yes", "no"],
        reader=reader,
        audit=audit,
        proposal=proposal,
        added={path.name: read_file(path, ADDED_BYTES_MAX) for path in added or []},
    )
    Output(json_output).data(
        {"folder": str(folder), "digest": pack.digest, "redacted": list(pack.redacted)},
        f"wrote {len(pack.files)} files to {folder}\n  redacted: "
        f"{', '.join(pack.redacted) or 'nothing'}\n  its digest: {pack.digest}",
    )


@app.command("open")
@command
def open_panel(
    question: Annotated[str, typer.Option(help="What the panel is asked.")],
    members: Annotated[
        list[Path], typer.Option("--member", help="The .pub file of a member's key; repeat it.")
    ],
    quorum: Annotated[int, typer.Option(help="How many must vote for the outcome to count.")],
    closes: Annotated[str, typer.Option("--until", help="When the vote ends: a time.")],
    opens: Annotated[
        str, typer.Option("--from", help="When the vote begins: a time; default: now.")
    ] = "",
    options: OptionsOption = None,
    rule: Annotated[str, typer.Option(help="approval or ranked.")] = str(Rule.APPROVAL),
    percent: Annotated[
        int, typer.Option(help="An approval must exceed this share of those who vote.")
    ] = 50,
    about: Annotated[str, typer.Option(help="What it decides on: a stage, a proposal.")] = "",
    pack: Annotated[Path | None, typer.Option("--brief", help="The briefing pack.")] = None,
    called: Annotated[str, typer.Option("--called", help="The panel that was called.")] = "",
    people: ListOption = None,
    seeds: SeedsOption = None,
    declined: DeclinedOption = None,
    signer: AsOption = "holder",
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Open a panel: members with their keys, question, rule and window stand in the log."""
    opened = open_workspace(places_of(workspace))
    if rule not in list(Rule):
        hint = f"known: {', '.join(Rule)}"
        raise Invalid(f"no rule '{rule}'", code="bad_panel", hint=hint)
    now_ms = opened.clock.now_ms()
    opening = Opening(
        panel=called or new_panel_id(),
        bundle=find_bundle(opened, bundle).digest,
        about=about,
        question=question,
        options=tuple(options or ("yes", "no")),
        rule=Rule(rule),
        quorum=quorum,
        percent_min=percent if rule == Rule.APPROVAL else 0,
        # The entry comes a moment later than this, and no vote may open in the past.
        opens_ms=moment(opens, now_ms) if opens else now_ms + 1_000,
        closes_ms=moment(closes, now_ms),
        members=tuple(member_of(path) for path in members),
        brief=check_brief(pack).digest if pack else "",
        seeds=tuple(seeds or ()),
        declined=tuple(declined or ()),
    )
    data = read_file(people, LIST_BYTES_MAX) if people else None
    panels_of(opened).open(opening, signer_of(opened, signer), data)
    Output(json_output).data(
        opening.to_body(),
        f"opened {opening.panel}: {len(opening.members)} members, quorum {quorum}\n"
        f"  votes from {to_iso(opening.opens_ms)} until {to_iso(opening.closes_ms)}",
    )


@app.command("vote")
@command
def vote(
    panel: Annotated[str, typer.Argument(help="The panel, panel_….")] = "",
    member: Annotated[str, typer.Option("--as", help="Whose key signs the vote.")] = "",
    approve: Annotated[
        list[str] | None, typer.Option("--approve", help="An option you approve; repeat it.")
    ] = None,
    rank: Annotated[str, typer.Option(help="A ranking: 'a > b = c'; what is left is last.")] = "",
    blank: Annotated[bool, typer.Option("--blank", help="Vote for none of the options.")] = False,
    reason: Annotated[str, typer.Option(help="What is to be read beside the outcome.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Sign only, into this file; record elsewhere.")
    ] = None,
    ballot: Annotated[
        Path | None, typer.Option("--ballot", help="Record a ballot signed elsewhere.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Vote as a member. A vote is open to all who read the log, and final."""
    opened = open_workspace(places_of(workspace))
    panels, output = panels_of(opened), Output(json_output)
    if ballot is not None:
        envelope = read_file(ballot, BALLOT_BYTES_MAX)
    else:
        if not panel or not member:
            hint = "dutchdoor panel vote PANEL --as NAME --approve OPTION"
            raise Invalid("say on which panel, and as whom", code="bad_panel", hint=hint)
        if [bool(rank), bool(approve), blank].count(True) != 1:
            hint = "give --approve, --rank or --blank; a vote is final"
            raise Invalid("say for what, in one way", code="bad_panel", hint=hint)
        choice = ranks_of(rank) if rank else [list(approve)] if approve else []
        envelope = panels.ballot(panel, member_signer(opened.places, member), choice, reason)
    if out is not None:
        out.write_bytes(envelope)
        output.data({"ballot": str(out)}, f"signed, not recorded: {out}")
        return
    cast = panels.vote(envelope)
    said = " > ".join(" = ".join(row) for row in cast.choice) or "none of the options"
    output.data(cast.to_body(), f"{cast.member} voted on {cast.panel}: {said}")


@app.command("state")
@command
def state(
    panel: Annotated[str, typer.Argument(help="One panel; default: all.")] = "",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show panels: who is asked what, until when, who has voted, the count so far."""
    panels = panels_of(_open(workspace))
    rows = [panels.standing(panel)] if panel else list(panels.standings())
    Output(json_output).data(
        [standing_value(row) for row in rows],
        "\n".join(standing_text(row) for row in rows) or "no panel was ever called or opened",
    )


@app.command("close")
@command
def close(
    panel: PanelArgument,
    signer: AsOption = "holder",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Count and record the outcome, once the window is over."""
    opened = _open(workspace)
    panels = panels_of(opened)
    body = panels.close(panel, signer_of(opened, signer))
    Output(json_output).data(body, standing_text(panels.standing(panel)))


@app.command("verify")
@command
def verify(
    panel: PanelArgument,
    people: ListOption = None,
    pack: Annotated[Path | None, typer.Option("--brief", help="The briefing pack.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Recount a panel from its signed votes; with list and pack, draw again and compare."""
    panels = panels_of(_open(workspace))
    data = read_file(people, LIST_BYTES_MAX) if people else None
    tally = panels.recount(panel, data)
    found = panels.panel(panel)
    opening = found.opening
    assert opening is not None, "it was recounted"
    checked = ["votes"]
    if data is not None and found.call is not None:
        checked.append("draw")
    if pack is not None:
        check_brief(pack, opening.brief or "none")
        checked.append("briefing pack")
    Output(json_output).data(
        {"panel": panel, "outcome": tally.outcome, "voted": tally.voted, "checked": checked},
        f"{panel} holds: {', '.join(checked)}\n  outcome: {tally.outcome or 'none'}",
    )


def _open(workspace: Path | None) -> Workspace:
    return open_workspace(places_of(workspace))
