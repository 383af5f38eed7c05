"""`dutchdoor demo`: the whole way on a real model, told as a story.

The steps are in `demo_steps.py` and `demo_service.py`; the three people in `demo_calls.py`.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from dutchdoor.app.background import stop_background
from dutchdoor.cli.demo_service import prove, revoke_while_streaming, serve_three_people
from dutchdoor.cli.demo_steps import Story, audit, decide, seal
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command
from dutchdoor.cli.teller import Teller
from dutchdoor.config import Places
from dutchdoor.errors import Refused, Unavailable

__all__ = ["register"]

MARK = ".made-by-dutchdoor-demo"
FOLDER = Path("demo-workspace")
MODEL_FOLDER = Path("demo-model")


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("demo")(demo)


@command
def demo(
    keep: Annotated[
        bool | None,
        typer.Option("--keep/--no-keep", help="Leave the server up; default: in a terminal."),
    ] = None,
    model: Annotated[
        Path, typer.Option(help="A model folder; the example model is written where it is not.")
    ] = MODEL_FOLDER,
    samples: Annotated[int, typer.Option(help="Samples of each evaluation.")] = 16,
    examples: Annotated[int, typer.Option(help="Texts to fit the guard's probe on.")] = 1000,
    port: Annotated[int, typer.Option(help="Where the gateway listens; 0 for a free port.")] = 0,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take a real model the whole way: seal, audit, decide, serve, revoke, prove."""
    output = Output(json_output)
    console = output.err if json_output else output.out
    places = Places((workspace or FOLDER).resolve())
    _make_room(places)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)  # Cleaned up like Ctrl-C: no runtime is left behind.
    story = Story(
        teller=Teller(console),
        places=places,
        model_folder=model.resolve(),
        samples=samples,
        examples=examples,
        port=port,
        own_model=model == MODEL_FOLDER,
    )
    staying = sys.stdout.isatty() if keep is None else keep
    console.print("dutchdoor: share a foundation model without giving it away", style="bold")
    try:
        seal(story)
        with story.model_set_aside():
            audit(story)
            decide(story)
            serve_three_people(story)
            revoke_while_streaming(story)
            prove(story)
            url = _ending(story, staying)
    except BaseException:
        _stop(places)
        raise
    if json_output:
        output.data({"workspace": str(places.root), "url": url, **story.facts}, "")


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ending(story: Story, staying: bool) -> str:
    teller = story.teller
    with teller.step("Look around", "everything stays in one folder"):
        if staying:
            running = story.reopen()
            teller.seen(f"the server is up at {running.url}/v1, its status page at {running.url}/")
            teller.detail("a third decision, approved by two again, opened it")
            teller.detail(f"keys to call it with: {story.keys}")
            teller.detail(f"stop it with: dutchdoor stop --workspace {story.places.root}")
            url = running.url
        else:
            url = story.url
            _stop(story.places)
            teller.seen(f"the server was at {url}/v1, its status page at {url}/; it is stopped now")
            teller.detail("its decision is revoked: it takes another one to serve it again")
        teller.detail(f"the workspace: {story.places.root}")
    teller.summary("The whole way")
    return url


def _make_room(places: Places) -> None:
    """An empty folder for the demo; an earlier demo's is removed, nothing else ever is."""
    root = places.root
    if root.exists() and any(root.iterdir()):
        if not (root / MARK).is_file():
            message = f"{root} was not made by the demo"
            raise Refused(message, code="not_a_demo", hint="name another with --workspace DIR")
        _stop(places)
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()


def _stop(places: Places) -> None:
    with contextlib.suppress(Unavailable):
        stop_background(places)
