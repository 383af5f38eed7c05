"""Makes the vectors beside this file: `python -m tests.evidence.vectors.make`, from the root.

merkle.json comes from a naive tree, written here as RFC 6962 has it, not from the code under test.
formats.json holds one log's bytes in each format, made by the code and frozen: a change of any
byte on disk must be a decision, not an accident.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from dutchdoor.clock import FixedClock
from dutchdoor.evidence.model import Opening
from tests.evidence.parts import BEGIN_MS, Workspace, decision_entry, small

HERE = Path(__file__).parent


def _hash(prefix: bytes, data: bytes) -> bytes:
    return hashlib.sha256(prefix + data).digest()


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return _hash(b"\1", _root(leaves[:half]) + _root(leaves[half:]))


def _half(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*_path(index, leaves[:half]), _root(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _root(leaves[:half])]


def _subproof(old: int, leaves: list[bytes], *, known: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if known else [_root(leaves)]
    half = _half(len(leaves))
    if old <= half:
        return [*_subproof(old, leaves[:half], known=known), _root(leaves[half:])]
    return [*_subproof(old - half, leaves[half:], known=False), _root(leaves[:half])]


def merkle_cases() -> list[dict[str, object]]:
    """Trees around every edge that tiles and powers of two have."""
    cases: list[dict[str, object]] = []
    for size, index, old in (
        (1, 0, 1),
        (2, 1, 1),
        (3, 2, 2),
        (7, 5, 3),
        (8, 0, 4),
        (255, 254, 127),
        (256, 255, 1),
        (257, 256, 256),
        (258, 100, 257),
        (513, 511, 258),
        (600, 599, 512),
    ):
        leaves = [_hash(b"\0", b"entry %d" % number) for number in range(size)]
        cases.append(
            {
                "size": size,
                "index": index,
                "old_size": old,
                "root": _root(leaves).hex(),
                "inclusion": [node.hex() for node in _path(index, leaves)],
                "consistency": [node.hex() for node in _subproof(old, leaves, known=True)],
            }
        )
    return cases


def formats() -> dict[str, str]:
    """The bytes of one small log, and of a receipt from it, in hexadecimal."""
    with tempfile.TemporaryDirectory() as name:
        workspace = Workspace(Path(name) / "evidence", FixedClock(BEGIN_MS))
        log = workspace.create()
        log.append([decision_entry(), small(1)])
        log.append([small(2)])
        receipt = log.receipt(2, {"prompt": Opening(b"s" * 16, b"content")})
        log.close()
        return {
            "journal": (workspace.folder / "journal" / "000000").read_bytes().hex(),
            "checkpoint": (workspace.folder / "checkpoint").read_bytes().hex(),
            "receipt": receipt.hex(),
        }


if __name__ == "__main__":
    for name, value in (("merkle", merkle_cases()), ("formats", formats())):
        text = json.dumps(value, indent=1, sort_keys=True)
        (HERE / f"{name}.json").write_text(text + "\n")
