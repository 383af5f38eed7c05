"""The view of a text that rules read: plain lower-case letters, whatever the text is dressed in.

A function of one character at a time (and of whether the character before was white space), so
that a stream has the same view however it is cut. The text itself is never changed: the view lies
beside it, and each of its characters knows which character of the text it came from.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

__all__ = ["View", "Viewer", "undisguised", "view_of"]

# Letters of other scripts that are drawn like Latin ones. A short list on purpose: NFKD already
# covers full-width, mathematical, circled and accented letters.
_CONFUSABLE = str.maketrans(
    {
        **dict(zip("авекмнорстухіјѕԁԛԝѵһ", "abekmhopctyxijsdqwvh", strict=True)),
        **dict(zip("αβγεηικνορτυχωϲϳ", "abyeniknoptuxwcj", strict=True)),
        **dict(zip("ıɑɡℓօսո‐‑‒–—―−", "iagloun-------", strict=True)),
        **dict(zip("‘’‚′“”„″", "''''\"\"\"\"", strict=True)),
    }
)
_LEET = str.maketrans("0134578@$!|", "oieastbasil")
_INVISIBLE = {"Cf", "Mn", "Me", "Cc", "Cs"}
_SOFT = {"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"}  # letters drawn as nothing


class View(NamedTuple):
    """text: the view. origins: for each of its characters, an index into the original text."""

    text: str
    origins: list[int]


@lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    """What the view holds for one character: nothing, a space, or plain letters."""
    if character.isspace():
        return " "
    if character in _SOFT:
        return ""
    folded = unicodedata.normalize("NFKD", character).casefold()
    folded = unicodedata.normalize("NFKD", folded).translate(_CONFUSABLE)
    kept = [c for c in folded if unicodedata.category(c) not in _INVISIBLE]
    return "".join(" " if c.isspace() else c for c in kept)


class Viewer:
    """Makes the view of a stream, chunk by chunk."""

    def __init__(self) -> None:
        self._fed = 0
        self._after_space = True

    def feed(self, text: str) -> View:
        """The view of the next chunk; origins count from the start of the stream."""
        if text.isascii() and text.isprintable() and not self._after_space and "  " not in text:
            # Ordinary text, one character for one.
            self._after_space = text.endswith(" ")
            first, self._fed = self._fed, self._fed + len(text)
            return View(text.lower(), list(range(first, self._fed)))
        parts: list[str] = []
        origins: list[int] = []
        for index, character in enumerate(text, self._fed):
            for plain in _plain(character):
                # A run of white space is one space, so that a line break inside hides nothing.
                if plain == " " and self._after_space:
                    continue
                self._after_space = plain == " "
                parts.append(plain)
                origins.append(index)
        self._fed += len(text)
        return View("".join(parts), origins)


def view_of(text: str) -> str:
    """The view of a whole text: what a `Viewer` gives for it, without origins and faster."""
    if text.isascii():
        data = text.encode().translate(_LOWER, _CONTROLS).decode()
        return (_SPACES.sub(" ", data) if "  " in data else data).lstrip()
    return _SPACES.sub(" ", "".join(map(_plain, text))).lstrip()


_SPACES = re.compile(r"\s+")
_CONTROLS = bytes(c for c in (*range(32), 127) if not chr(c).isspace())
_LOWER = bytes(32 if chr(c).isspace() else ord(chr(c).lower()) for c in range(128)) + bytes(128)


def undisguised(view: str) -> str:
    """A view with digits and signs that stand for letters turned into those letters."""
    return view.translate(_LEET)
