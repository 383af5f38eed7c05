"""What the model cannot do, told to everybody who may use it."""

from __future__ import annotations

from typing import Any

from dutchdoor.evidence.decision import Decision
from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["limitations", "limitations_value"]


async def limitations(exchange: Exchange, parts: Parts) -> None:
    """The limitations that the release decision in force names."""
    await exchange.reply_json(limitations_value(await parts.gateway.desk.decision()))


def limitations_value(decision: Decision) -> dict[str, Any]:
    """The limitations with the decision that names them; an empty list says that it names none."""
    return {
        "object": "dutchdoor.limitations",
        "model": decision.model,
        "decision": decision.id,
        "limitations": list(decision.terms.limitations),
    }
