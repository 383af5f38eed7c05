"""Checkpoints: the tree's size and root, as the text of a signed note.

    example.org/log
    1234
    base64 of the root, 32 bytes

Source: C2SP tlog-checkpoint v1.0.0.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from dutchdoor.errors import Invalid
from dutchdoor.evidence.merkle import HASH_BYTES
from dutchdoor.evidence.note import Note, VerifierKey, decode_base64

__all__ = ["Checkpoint", "open_checkpoint"]

SIZE_MAX = 2**63 - 1
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """The state of one log: the first `size` entries have the root `root`.

    origin: the log's name. extensions: further lines, which we keep and never write.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def to_text(self) -> str:
        """The text that is signed."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        return "\n".join([*lines, *self.extensions]) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """The checkpoint of `text` (unverified).

        Raises Invalid: lines missing, empty, or out of form.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
            raise Invalid("a checkpoint has three lines, none empty", code="bad_checkpoint")
        origin, size_text, root_text, *extensions = lines[:-1]
        if not _SIZE.fullmatch(size_text) or int(size_text) > SIZE_MAX:
            raise Invalid("a checkpoint's size is no number", code="bad_checkpoint")
        root = decode_base64(root_text, code="bad_checkpoint")
        if len(root) != HASH_BYTES:
            raise Invalid("a checkpoint's root has 32 bytes", code="bad_checkpoint")
        return cls(origin, int(size_text), root, tuple(extensions))


def open_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in the signed note `data` (unverified bytes), once `key` has signed it.

    Raises Invalid: malformed, not signed by `key`, or another log's.
    """
    note = Note.parse(data)
    note.verify(key)
    checkpoint = Checkpoint.from_text(note.text)
    if checkpoint.origin != key.name:
        message = f"a checkpoint of {checkpoint.origin!r}, not of {key.name!r}"
        raise Invalid(message, code="wrong_origin")
    return checkpoint
