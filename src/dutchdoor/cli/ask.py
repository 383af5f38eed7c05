"""`dutchdoor ask`: one question to the running server, for a first look without other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor import canonical
from dutchdoor.app.http import post_json
from dutchdoor.app.running import find_running
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import NotFound

__all__ = ["register"]

ANSWER_S_MAX = 300
KEY_BYTES_MAX = 1_024
TOKENS_DEFAULT = 64


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("ask")(ask)


@command
def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    key: Annotated[Path, typer.Option(help="The file with the caller's API key.")],
    tokens: Annotated[int, typer.Option(help="Tokens of the answer at most.")] = TOKENS_DEFAULT,
    receipt: Annotated[
        Path | None, typer.Option(help="Keep the receipt of the answer in this file.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Ask the running server one question, as its caller; any OpenAI client does the same."""
    output = Output(json_output)
    running = find_running(places_of(workspace))
    try:
        with key.open() as file:
            api_key = file.read(KEY_BYTES_MAX).strip()
    except OSError as error:
        message = f"{key} cannot be read"
        hint = "make one with 'dutchdoor people key NAME --out FILE'"
        raise NotFound(message, code="no_key_file", hint=hint) from error
    body = {
        "model": running.model,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    answer = post_json(f"{running.url}/v1/chat/completions", api_key, body, s_max=ANSWER_S_MAX)
    told = answer["dutchdoor"]
    if receipt is not None:
        receipt.write_bytes(canonical.encode(told["receipt"]["done"]))
    output.data(answer, str(answer["choices"][0]["message"]["content"]))
    output.note(f"entry {told['entry']} of the log, inference {told['inference']}")
