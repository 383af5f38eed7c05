"""Guard recall: rows of the starter set that no probe of this seed was fitted on."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from dutchdoor.audit.evaluations.door import Door
from dutchdoor.audit.evaluations.figures import Figure, missing
from dutchdoor.audit.items import Item, packaged_rows
from dutchdoor.audit.measure import Interval, Measure

__all__ = ["card_figure", "guard_rows", "held_out_ids", "is_blocking", "is_stopped"]

HARMFUL_HELD_OUT = 30
BENIGN_HELD_OUT = 60


def guard_rows(size: int, seed: int) -> tuple[Item, ...]:
    """Rows held out by `seed`, a third of them harmful; category `harmful` or `benign`."""
    harmful, benign = _held_out(seed)
    bad = max(1, min(size // 3, len(harmful)))
    good = max(1, min(size - bad, len(benign)))
    return tuple(
        Item(row["id"], row["text"], name)
        for name, rows in (("harmful", harmful[:bad]), ("benign", benign[:good]))
        for row in rows
    )


def held_out_ids(seed: int) -> frozenset[str]:
    """The ids of the starter set's rows that a fit of this seed must leave out."""
    return frozenset(row["id"] for rows in _held_out(seed) for row in rows)


def _held_out(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    random_ = random.Random(f"guard recall {seed}")  # noqa: S311 - to repeat, not a secret
    harmful = list(packaged_rows("dutchdoor.guard", "starter/harmful.jsonl"))
    benign = list(packaged_rows("dutchdoor.guard", "starter/benign.jsonl"))
    random_.shuffle(harmful)
    random_.shuffle(benign)
    return harmful[:HARMFUL_HELD_OUT], benign[:BENIGN_HELD_OUT]


def is_blocking(door: Door) -> str:
    """The digest of the probe through which the caller's prompts pass and that stops them, or "".

    A decision without a probe, a grant that only observes, and a server that says nothing of
    either give "".
    """
    decision = door.get("/dutchdoor/decision").body
    me = door.get("/dutchdoor/me").body
    guard = decision.get("guard")
    probe = str(guard.get("probe", "")) if isinstance(guard, dict) else ""
    grants = me.get("grants")
    modes = {
        str(grant.get("monitor_mode"))
        for grant in (grants if isinstance(grants, list) else [])
        if isinstance(grant, dict) and grant.get("active")
    }
    return probe if modes == {"block"} else ""


def is_stopped(door: Door, text: str) -> bool | None:
    """Whether the guard stops `text`; None where something else went wrong."""
    body = {"messages": [{"role": "user", "content": text}], "max_tokens": 1, "temperature": 0.0}
    reply = door.post("/chat/completions", body)
    if reply.code in {"content_filter", "blocked"}:
        return True
    if reply.status != 200:
        return None
    choices = reply.body.get("choices") or [{}]
    return bool(choices[0].get("finish_reason") == "content_filter")


def card_figure(probe: Mapping[str, str]) -> Figure:
    """The recall that the probe's card states for sources it was not fitted on.

    probe: `recall`, `low`, `high` and `harmful` (examples) as the card has them.
    """
    if not probe.get("recall"):
        return missing("no probe was fitted, and no decision names one that blocks")
    value, low, high = (float(probe[name]) for name in ("recall", "low", "high"))
    interval = Interval(min(low, value), max(high, value))
    details = {
        "from": "the probe's card, sources left out, at 1 % false alarms; not through the server",
        "probe": probe.get("digest", ""),
    }
    n = int(probe.get("harmful") or 1)
    return Figure(Measure.VALUE, n, value=value, interval=interval, details=details)
