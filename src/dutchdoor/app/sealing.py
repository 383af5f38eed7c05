"""Sealing for whoever types a command: a folder or a model of the hub, begun or gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.access.model import Person
from dutchdoor.app import keys
from dutchdoor.app.bundles import Born, seal
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.weights.draft import read_draft
from dutchdoor.weights.hub import HUB_PREFIX, HubModel, fetch_model, parse_hub_name
from dutchdoor.weights.model import Report
from dutchdoor.weights.public import Public
from dutchdoor.weights.seal import SEALED_SUFFIX

__all__ = ["Choices", "SealedModel", "default_name", "seal_model"]


@dataclass(frozen=True)
class Choices:
    """What the holder chooses. licence: shown to anybody; where empty, the hub's card says it.

    show_tensors: names, types and shapes too. resumes: go on with what was begun.
    """

    licence: str = ""
    show_tensors: bool = False
    resumes: bool = False


@dataclass(frozen=True)
class SealedModel:
    """A bundle just sealed. hub: where it was fetched from, if it was."""

    born: Born
    hub: HubModel | None


def default_name(model: str) -> str:
    """A bundle's name where none is given: the folder's, or the hub model's in small letters."""
    if model.startswith(HUB_PREFIX):
        return parse_hub_name(model).repository.partition("/")[2].lower()
    return Path(model).resolve().name


def seal_model(
    workspace: Workspace,
    model: str,
    name: str,
    *,
    quorum: tuple[int, int],
    custodians: Sequence[str],
    auditors: Sequence[Person],
    choices: Choices,
    report: Report | None = None,
) -> SealedModel:
    """A new bundle of a folder, or of `hf:ORG/NAME`.

    A hub model lies in the workspace in plain until it is sealed; where that is broken off it
    stays, so that the sealing can go on.
    Raises as `bundles.seal` and `weights.hub.fetch_model` do. Raises NotFound, Refused: nothing to
    go on with, or its custodians' keys are not here.
    """
    target = workspace.places.bundles / f"{name}{SEALED_SUFFIX}"
    hub, source = None, Path(model)
    if model.startswith(HUB_PREFIX):
        wanted = parse_hub_name(model)
        source = workspace.places.bundles / ".hub" / wanted.repository.replace("/", "--")
        source.mkdir(mode=0o700, parents=True, exist_ok=True)
        hub = fetch_model(wanted, source)
    origin = "" if hub is None else hub.origin
    licence = choices.licence or ("" if hub is None else hub.licence)
    resume = _key_of_draft(workspace, target) if choices.resumes else None
    try:
        born = seal(
            workspace,
            source,
            name,
            quorum=quorum,
            custodians=custodians,
            auditors=auditors,
            shown=Public(licence=licence, origin=origin),
            show_tensors=choices.show_tensors,
            resume=resume,
            report=report,
        )
    except (Unavailable, KeyboardInterrupt):
        raise
    except BaseException:
        _forget(hub, source)
        raise
    _forget(hub, source)
    return SealedModel(born, hub)


def _key_of_draft(workspace: Workspace, target: Path) -> ContentKey:
    """The draft's key, of the custodians whose keys are here.

    There is no ceremony for a draft: no decision is about it yet. Its custodians come to the
    machine where the model lies in plain anyhow, or the sealing begins again.
    """
    begun = read_draft(target, keys.holder(workspace.places).public_key)
    here = [
        key
        for key in keys.local_custodians(workspace.places)
        if key.key_id in begun.draft.custodians
    ]
    if len(here) < begun.draft.threshold:
        message = f"{len(here)} of the draft's custodians are here, {begun.draft.threshold} needed"
        hint = "bring their keys into keyring/custodians, or remove the draft and seal again"
        raise Refused(message, code="no_quorum", hint=hint)
    shares = [unwrap_share(begun.shares, key) for key in here[: begun.draft.threshold]]
    return combine(shares, begun.draft.commitment)


def _forget(hub: HubModel | None, source: Path) -> None:
    if hub is not None:
        shutil.rmtree(source, ignore_errors=True)
