"""What an audit reads in the card of a fitted probe: which thresholds it has, what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX
from dutchdoor.errors import Invalid, Tampered

__all__ = ["NO_CARD", "ProbeCard", "load_card", "read_card"]

_RATE = "fpr_0.01"


@dataclass(frozen=True)
class ProbeCard:
    """The part of a card that findings and decisions rest on.

    thresholds: names a decision may demand. recall, low, high: at 1 % false alarms, on requests
    from sources that the probe was not fitted on, with its 95 % interval; "" where not measured.
    """

    thresholds: tuple[str, ...] = ()
    recall: str = ""
    low: str = ""
    high: str = ""


NO_CARD = ProbeCard()


def read_card(data: bytes) -> ProbeCard:
    """The card in `data` (unverified bytes).

    Raises Invalid: not canonical JSON, or figures that are no figures.
    """
    value = canonical.parse(data)
    if not isinstance(value, dict):
        raise Invalid("the probe's card is no object", code="bad_card")
    thresholds = value.get("thresholds")
    names = tuple(sorted(thresholds)) if isinstance(thresholds, dict) else ()
    found: Any = value
    for name in ("sources_left_out", "recall", _RATE):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return ProbeCard(names)
    figures = [found.get(name) for name in ("value", "low", "high")]
    try:
        if not all(isinstance(text, str) and 0 <= float(text) <= 1 for text in figures):
            raise Invalid("the probe's recall is no rate", code="bad_card")
    except ValueError as error:
        raise Invalid("the probe's recall is no number", code="bad_card") from error
    return ProbeCard(names, *(str(text) for text in figures))


def load_card(path: Path, digest: str) -> ProbeCard:
    """The card in `path`, which must be the one of this digest.

    Raises Tampered: it is gone or another. Raises Invalid: as `read_card`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
    except FileNotFoundError:
        data = b""
    if "sha256:" + canonical.sha256_hex(data) != digest:
        message = "the probe's card is not the one that was measured"
        raise Tampered(message, code="card_changed", where=path.name)
    return read_card(data)
