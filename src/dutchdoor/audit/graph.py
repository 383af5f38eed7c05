"""Which document stands on which, and where each stands: the audit's order as a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, DocumentState, Signature, Stage

__all__ = ["Standing", "needs_of", "standings"]

_STAGES = list(Stage)


class Standing(NamedTuple):
    """A document's state, and why, as one sentence."""

    state: DocumentState
    because: str


def needs_of(kind: DocumentKind, present: Iterable[DocumentKind]) -> tuple[DocumentKind, ...]:
    """What must be signed before `kind`, among the documents this audit has.

    A stage opens when every document of the stages before it is signed; within a stage the
    table's own inputs count.
    """
    here = SPECIFICATIONS[kind]
    order = _STAGES.index(here.stage)
    return tuple(
        other
        for other in DocumentKind
        if other in set(present)
        and other is not kind
        and (other in here.needs or _STAGES.index(SPECIFICATIONS[other].stage) < order)
    )


def standings(
    digests: Mapping[DocumentKind, str], signatures: Mapping[DocumentKind, Signature]
) -> dict[DocumentKind, Standing]:
    """Where each document stands.

    digests: of each document of the audit, "" where its file is gone. signatures: the latest
    verified sign-off of each signed document.
    """
    result: dict[DocumentKind, Standing] = {}
    for kind in DocumentKind:
        if kind in digests:
            result[kind] = _standing(kind, digests, signatures, result)
    return result


def _standing(
    kind: DocumentKind,
    digests: Mapping[DocumentKind, str],
    signatures: Mapping[DocumentKind, Signature],
    before: Mapping[DocumentKind, Standing],
) -> Standing:
    if not digests[kind]:
        return Standing(DocumentState.MISSING, "its file is gone")
    needs = needs_of(kind, digests)
    unsigned = [need for need in needs if before[need].state is not DocumentState.SIGNED]
    signature = signatures.get(kind)
    if signature is None:
        if unsigned:
            return Standing(DocumentState.WAITING, f"waits for {_names(unsigned)} to be signed")
        return Standing(DocumentState.OPEN, "may be written and signed")
    if signature.digest != digests[kind]:
        return Standing(DocumentState.CHANGED, f"changed after {signature.by} signed it")
    moved = [need for need in needs if signature.stands_on.get(need) != digests[need]]
    if moved or unsigned:
        names = _names(moved or unsigned)
        return Standing(DocumentState.REOPENED, f"stands on {names}, changed since it was signed")
    return Standing(DocumentState.SIGNED, f"signed by {signature.by}")


def _names(kinds: Iterable[DocumentKind]) -> str:
    return " and ".join(kinds)
