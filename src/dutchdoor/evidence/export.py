"""A copy of the log in the plain C2SP layout, partial tiles included, for anyone's tools."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.errors import Invalid
from dutchdoor.evidence.files import Files
from dutchdoor.evidence.lock import or_unavailable
from dutchdoor.evidence.merkle import leaf_hash
from dutchdoor.evidence.tiles import (
    TILE_HEIGHT,
    TILE_WIDTH,
    bundle_path,
    encode_bundle,
    tile_path,
)
from dutchdoor.evidence.tree import Tree, View

__all__ = ["export"]


def export(view: View, destination: Path) -> None:
    """Write `view`'s checkpoint, tiles, entry bundles and partial ones to `destination`.

    destination: a folder that is missing or empty. The checkpoint comes last.
    Raises Invalid: it is not empty. Raises Unavailable: the disk. Raises Tampered: see `View`.
    """
    files = Files()
    with or_unavailable():
        destination.mkdir(parents=True, exist_ok=True)
        if any(destination.iterdir()):
            hint = "name a folder that does not exist yet"
            raise Invalid(f"{destination} is not empty", code="not_empty", hint=hint)
        tree = Tree()
        bundle: list[bytes] = []
        for index, entry in view.entries():
            bundle.append(entry)
            for tile in tree.add(leaf_hash(entry)):
                path = destination / tile_path(tile.level, tile.number)
                files.replace(path, b"".join(tile.hashes))
            if len(bundle) == TILE_WIDTH or index + 1 == view.size:
                path = destination / bundle_path(index // TILE_WIDTH, len(bundle))
                files.replace(path, encode_bundle(bundle))
                bundle = []
        for level, row in enumerate(tree.rows):
            if row:
                number = view.size >> TILE_HEIGHT * (level + 1)
                files.replace(destination / tile_path(level, number, len(row)), b"".join(row))
        files.replace(destination / "checkpoint", view.note)
