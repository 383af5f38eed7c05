"""The evidence log over HTTP, in the paths of C2SP tlog-tiles.

The checkpoint and the hash tiles are for everybody: they say how long the log is and let anybody
check that it only grows. Entries name people by their ids, so they are for people we know.
"""

from __future__ import annotations

import asyncio
import re

from dutchdoor.errors import NotFound
from dutchdoor.evidence.tiles import TILE_HEIGHT, TILE_WIDTH, encode_bundle
from dutchdoor.evidence.tree import View
from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["checkpoint", "entries", "tile"]

LEVEL_MAX = 7
_NUMBER = re.compile(r"(?:x[0-9]{3}/){0,5}[0-9]{3}(?:\.p/[0-9]{1,3})?")


async def checkpoint(exchange: Exchange, parts: Parts) -> None:
    """The newest checkpoint, a signed note."""
    view = await asyncio.to_thread(parts.log.view)
    await exchange.reply(200, view.note, "text/plain; charset=utf-8")


async def tile(exchange: Exchange, parts: Parts) -> None:
    """A hash tile, full or partial."""
    level_text = exchange.arguments["level"]
    if not re.fullmatch(r"[0-9]", level_text) or int(level_text) > LEVEL_MAX:
        raise _missing()
    number, width = _place(exchange.arguments["rest"])
    level = int(level_text)
    data = await asyncio.to_thread(lambda: _hashes(parts.log.view(), level, number, width))
    await exchange.reply(200, data, "application/octet-stream")


async def entries(exchange: Exchange, parts: Parts) -> None:
    """An entry bundle, full or partial."""
    number, width = _place(exchange.arguments["rest"])
    data = await asyncio.to_thread(lambda: _entries(parts.log.view(), number, width))
    await exchange.reply(200, data, "application/octet-stream")


def _hashes(view: View, level: int, number: int, width: int) -> bytes:
    first = number * TILE_WIDTH
    if (first + width) << TILE_HEIGHT * level > view.size:
        raise _missing()
    height = TILE_HEIGHT * level
    return b"".join(view.hash_of(height, first + place) for place in range(width))


def _entries(view: View, number: int, width: int) -> bytes:
    first = number * TILE_WIDTH
    if first + width > view.size:
        raise _missing()
    return encode_bundle(entry for _, entry in view.entries(first, first + width))


def _place(text: str) -> tuple[int, int]:
    """Number and width of `x001/x234/067.p/12` (unverified). Raises NotFound: not such a path."""
    if not _NUMBER.fullmatch(text):
        raise _missing()
    groups, _, width_text = text.partition(".p/")
    number = int(groups.replace("x", "").replace("/", ""))
    canonical = "/".join(_groups(number))
    width = int(width_text) if width_text else TILE_WIDTH
    partial = bool(width_text)
    if groups != canonical or not 1 <= width <= TILE_WIDTH or partial == (width == TILE_WIDTH):
        raise _missing()
    return number, width


def _groups(number: int) -> list[str]:
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    return [*("x" + group for group in groups[:-1]), groups[-1]]


def _missing() -> NotFound:
    hint = "the checkpoint says how many entries there are"
    return NotFound("the log has no such tile", code="no_tile", hint=hint)
