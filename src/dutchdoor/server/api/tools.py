"""Tools in a request: not supported here, and forbidden where the decision says so."""

from __future__ import annotations

from dutchdoor.errors import DutchdoorError, Refused
from dutchdoor.server.errors import BadRequest
from dutchdoor.server.parts import Parts

__all__ = ["TOOL_FIELDS", "about_tools"]

TOOL_FIELDS = frozenset(
    {"tools", "functions", "tool_choice", "function_call", "parallel_tool_calls"}
)


async def about_tools(parts: Parts, error: BadRequest) -> DutchdoorError:
    """What to say to a request that was refused with `error`.

    Where it asks for tools and the decision in force forbids them, that is the reason: it stays
    one when this program learns to serve tools. Raises NotInForce, Unavailable: no decision.
    """
    name = error.param.rsplit(".", 1)[-1]
    if name not in TOOL_FIELDS and name != "tool_calls":
        return error
    decision = await parts.gateway.desk.decision()
    if decision.terms.runtime.tools:
        return error
    message = "the release decision on this model forbids tools and agents"
    hint = "ask without tools; only another decision opens them"
    return Refused(message, code="tools_forbidden", hint=hint)
