"""`dutchdoor custody grant`, `refuse`, `prove`, `desk`: the side of a custodian's own machine."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app import keys
from dutchdoor.app.desk import Answers, find_request, make_server
from dutchdoor.app.files import read_input, write_new
from dutchdoor.app.granting import Asked, Desk
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.secrets import SecretFdOption, asker
from dutchdoor.clock import to_iso
from dutchdoor.custody.identity import load_identity
from dutchdoor.custody.messages import Ceremony, OpenRequest
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.errors import Invalid, Refused
from dutchdoor.weights.folder import open_folder

__all__ = ["register"]

AsOption = Annotated[str, typer.Option("--as", help="The custodian: whose key is used.")]
EvidenceOption = Annotated[
    Path | None, typer.Option(help="Another copy of the log than the workspace's.")
]
RequestArgument = Annotated[
    str, typer.Argument(metavar="REQUEST", help="A file, or the beginning of one on the desk.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("grant")(grant)
    app.command("refuse")(refuse)
    app.command("prove")(prove)
    app.command("desk")(desk)


@command
def grant(
    request: RequestArgument,
    custodian: AsOption,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where the share goes; default: beside the request."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask at the terminal.")] = False,
    evidence: EvidenceOption = None,
    secret_fd: SecretFdOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Judge a request by your own copy of the log, and give your share, sealed to who asked."""
    opened = open_workspace(places_of(workspace))
    output, answers = Output(json_output), Answers(opened.places.desk)
    data, path = _read(request, answers)
    judge = Desk(opened, evidence)
    asked = judge.look(data)
    output.note(_told(asked))
    if not yes:
        typer.confirm("Release your share for this?", abort=True, err=True)
    place = keys.custodian_path(opened.places, custodian)
    identity = load_identity(place, asker(secret_fd))
    target = out or (path and path.with_name(f"{path.name}.{custodian}.share"))
    if target is not None and target.exists():
        # Before the key is used: a share that could not be written would cost a new request.
        message = f"there is something at {target}"
        raise Refused(message, code="target_exists", hint="name another file with --out")
    granted = judge.grant(data, identity, place)
    if target is not None:
        write_new(target, granted.data)
    if path is None:
        answers.answer(_name(data), "share", granted.data)
    where = str(target) if target is not None else "the desk"
    output.data(
        {"request": asked.judged.request.digest, "custodian": granted.custodian, "share": where},
        f"{custodian} granted: {where}\n  only who asked can open it",
    )


@command
def refuse(
    request: Annotated[str, typer.Argument(help="The beginning of a request on the desk.")],
    reason: Annotated[str, typer.Option(help="Why; who asked is told.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Refuse a request on the desk. One that came as a file is refused by not answering it."""
    opened = open_workspace(places_of(workspace))
    if not reason.strip():
        raise Invalid("say why", code="no_reason", hint="give --reason TEXT")
    answers = Answers(opened.places.desk)
    name = _name(find_request(answers, request))
    answers.answer(name, "refused", reason.strip().encode())
    Output(json_output).data({"request": name, "refused": True}, f"refused {name[:16]}…")


@command
def prove(
    drill: Annotated[Path, typer.Argument(help="The question of a drill.")],
    custodian: AsOption,
    bundle: Annotated[Path, typer.Option(help="A folder with its manifest.json and shares.json.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where the proof goes; default: beside the drill.")
    ] = None,
    secret_fd: SecretFdOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that you still have your share of a bundle. The share stays where it is."""
    opened = open_workspace(places_of(workspace))
    question = read_input(drill, CustodyLimits().message_bytes_max)
    place = keys.custodian_path(opened.places, custodian)
    shares = open_folder(bundle, opened.trust.holder).shares
    identity = load_identity(place, asker(secret_fd))
    proof = Desk(opened).prove(question, shares, identity, place)
    target = out or drill.with_name(f"{drill.name}.{custodian}.proof")
    write_new(target, proof.data)
    Output(json_output).data(
        {"custodian": proof.custodian, "proof": str(target)}, f"{custodian} proved: {target}"
    )


@command
def desk(
    port: Annotated[int, typer.Option(help="On this machine alone; 0 for a free one.")] = 8410,
    evidence: EvidenceOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take requests in over HTTP on this machine, until stopped. It answers none: a person does."""
    opened = open_workspace(places_of(workspace))
    output, lock = Output(json_output), threading.Lock()
    judge = Desk(opened, evidence)

    def look(data: bytes) -> None:
        # One at a time: the reader of the log is nobody's to share.
        with lock:
            asked = judge.look(data)
        output.note(
            f"asked:\n{_told(asked)}\n  dutchdoor custody grant {_name(data)[:12]} --as NAME"
        )

    server = make_server(port, look, Answers(opened.places.desk), opened.clock.now_ms)
    output.note(f"listening on http://127.0.0.1:{server.server_address[1]}")
    with contextlib.closing(server.socket):
        server.serve_forever()


def _read(request: str, answers: Answers) -> tuple[bytes, Path | None]:
    path = Path(request)
    if path.is_file():
        return read_input(path, CustodyLimits().ceremony_bytes_max), path
    return find_request(answers, request), None


def _name(data: bytes) -> str:
    return OpenRequest.decode(Ceremony.decode(data).request).digest.removeprefix("sha256:")


def _told(asked: Asked) -> str:
    request, decision, terms = asked.judged.request, asked.decision, asked.terms
    return "\n".join(
        [
            f"  to {asked.purpose}: {asked.reason}",
            f"  bundle   {asked.judged.manifest.content.model}, {request.bundle}",
            f"  decision {decision.id}: {decision.level}, until {to_iso(decision.ends_ms)}",
            f"  for      {request.runtime_key}, {terms.threshold} of {len(terms.custodians)}",
            f"  expires  {to_iso(request.expires_ms)}; entry {asked.recorded.index} of the log",
        ]
    )


def _workspace(workspace: Path | None) -> Workspace:
    return open_workspace(places_of(workspace))
