"""What an output is, and the pieces that its pages are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dutchdoor.audit.outputs.material import Material

__all__ = [
    "Block",
    "Bullets",
    "Figure",
    "File",
    "Notice",
    "Output",
    "Page",
    "Section",
    "Table",
    "Text",
]


@dataclass(frozen=True)
class File:
    """One file of the outputs.

    path: relative, with `/`. validated: against which official schema, "" where there is none.
    """

    path: str
    data: bytes
    validated: str = ""


@dataclass(frozen=True)
class Output:
    """One kind of output. name: as `--only` takes it. build: its files from an audit's material."""

    name: str
    title: str
    build: Callable[[Material], tuple[File, ...]]


@dataclass(frozen=True)
class Text:
    """A paragraph. strong: a lead that sums up."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be overlooked. severe: it warns."""

    text: str
    severe: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table. caption: what it shows, for readers who hear it. widths: shares of the columns."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    widths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A drawing. alt: what it shows, in words, with its figures. size: in points.

    svg: for screens, colours by variables of the page. png: for paper. Drawn when they are asked.
    """

    name: str
    title: str
    alt: str
    svg: Callable[[], str]
    png: Callable[[], bytes]
    size: tuple[float, float]


Block = Text | Notice | Bullets | Table | Figure


@dataclass(frozen=True)
class Section:
    """A titled part of a page. depth: 1 for a part, 2 for what is in it."""

    title: str
    blocks: tuple[Block, ...]
    depth: int = 1


@dataclass(frozen=True)
class Page:
    """A document for people: the same pieces for screen, paper and Markdown."""

    title: str
    lead: str
    sections: tuple[Section, ...]
