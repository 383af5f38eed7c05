"""What the decision in force makes possible, and what a change would: nothing runs, nothing opens.

For everybody with a key: the decision itself is theirs to read, and this follows from it alone.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.opening import opening_from, opening_of
from dutchdoor.release.combinations.openness import class_of
from dutchdoor.release.combinations.value import (
    answer_value,
    class_value,
    difference_value,
    opening_value,
)
from dutchdoor.release.combinations.what_if import change_from, next_steps, what_if
from dutchdoor.server.api.bodies import convert, decode_object
from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["WhatIfBody", "combinations", "try_change"]

BODY_BYTES_MAX = 1 << 16
_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Components = Annotated[dict[_Word, _Word], msgspec.Meta(max_length=17)]
_Depths = Annotated[
    dict[_Word, Annotated[list[_Word], msgspec.Meta(min_length=1, max_length=9)]],
    msgspec.Meta(max_length=7),
]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]


class OpeningBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An opening to start from; components that are not named are closed."""

    level: _Word
    components: _Components = {}
    depths: _Depths = {}
    vectors_max: _Size = 0
    hidden_size: _Size = 0


class ChangeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What would be set; depths in addition to what an audience has, level "" for the same."""

    components: _Components = {}
    depths: _Depths = {}
    level: Annotated[str, msgspec.Meta(max_length=64)] = ""


class WhatIfBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/dutchdoor/release/what-if`: without `base` the decision in force is asked about,
    without `change` every single step further."""

    base: OpeningBody | None = None
    change: ChangeBody | None = None


async def combinations(exchange: Exchange, parts: Parts) -> None:
    """What the decision in force makes possible, its flags, and the framework's class."""
    decision = await parts.gateway.desk.decision()
    opening = opening_of(decision)
    value = {
        "object": "dutchdoor.combinations",
        "decision": decision.id,
        "opening": opening_value(opening),
        **answer_value(answer(opening)),
        "openness": class_value(class_of(decision)),
    }
    await exchange.reply_json(value)


async def try_change(exchange: Exchange, parts: Parts) -> None:
    """What a change would do to what is possible now, or to a stated opening."""
    asked = convert(decode_object(await exchange.body(BODY_BYTES_MAX)), WhatIfBody)
    if asked.base is None:
        decision = await parts.gateway.desk.decision()
        opening, of = opening_of(decision), str(decision.id)
    else:
        row = asked.base
        opening, of = (
            opening_from(
                row.level,
                row.components,
                row.depths,
                vectors_max=row.vectors_max,
                hidden_size=row.hidden_size,
            ),
            "",
        )
    if asked.change is None:
        found = next_steps(opening)
    else:
        change = change_from(asked.change.level, asked.change.components, asked.change.depths)
        found = (what_if(opening, change),)
    value = {
        "object": "dutchdoor.what_if",
        "decision": of,
        "opening": opening_value(opening),
        "now": answer_value(answer(opening)),
        "changes": [difference_value(row) for row in found],
    }
    await exchange.reply_json(value)
