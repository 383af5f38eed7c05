"""The program `dutchdoor`: one command a task, one file a room."""

from __future__ import annotations

from typing import Annotated

import typer

import dutchdoor
from dutchdoor.cli import (
    ask,
    audit,
    bundles,
    custody,
    demo,
    doctor,
    evidence,
    hosts,
    incidents,
    inspecting,
    panel,
    people,
    practice,
    reaudit,
    release,
    release_combinations,
    release_enforcement,
    release_export,
    release_outside,
    release_risk,
    release_stages,
    selftest,
    serving,
)

__all__ = ["app", "main"]

app = typer.Typer(
    name="dutchdoor",
    help="Share a foundation model without giving it away.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dutchdoor {dutchdoor.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Share a foundation model without giving it away."""


bundles.register(app)
inspecting.register(app)
serving.register(app)
ask.register(app)
selftest.register(app)
demo.register(app)
reaudit.register(audit.app)
panel.register(app)
release_outside.register(release.app)
app.add_typer(audit.app, name="audit")
release_risk.register(release.app)
release_combinations.register(release.app)
release_enforcement.register(release.app)
release_export.register(release.app)
practice.register(release.app)
release_stages.register(release.app)
app.add_typer(release.app, name="release")
incidents.register(app)
app.add_typer(people.people, name="people")
app.add_typer(people.grants, name="grants")
hosts.register(custody.app)
app.add_typer(custody.app, name="custody")
doctor.register(app)
app.add_typer(evidence.app, name="evidence")


def main() -> None:
    """Run the program."""
    app()


if __name__ == "__main__":
    main()
