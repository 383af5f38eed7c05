"""Whether the log of today continues the log that an old checkpoint was signed over.

A log that was cut back and signed again looks honest by itself: only what somebody kept from before
shows it. Source: C2SP tlog-checkpoint v1.0.0; RFC 9162, section 2.1.4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dutchdoor.errors import Invalid, Tampered
from dutchdoor.evidence import merkle
from dutchdoor.evidence.checkpoint import Checkpoint, open_checkpoint
from dutchdoor.evidence.note import VerifierKey
from dutchdoor.evidence.tree import View

__all__ = ["CHECKPOINT_BYTES_MAX", "Continued", "continues"]

CHECKPOINT_BYTES_MAX = 65_536


class Continued(NamedTuple):
    """A log that begins with an older one, and the proof, from which anybody can see it."""

    old: Checkpoint
    new: Checkpoint
    proof: tuple[bytes, ...]

    def to_value(self) -> dict[str, Any]:
        """Plain values: sizes, roots and the proof in hexadecimal."""
        return {
            "origin": self.new.origin,
            "old_size": self.old.size,
            "old_root": self.old.root.hex(),
            "new_size": self.new.size,
            "new_root": self.new.root.hex(),
            "proof": [hashed.hex() for hashed in self.proof],
        }


def continues(view: View, old_note: bytes, key: VerifierKey) -> Continued:
    """The proof that `view` continues the checkpoint in `old_note` (unverified bytes).

    key: the log's, by which the old checkpoint and the one of the view must be signed.
    Raises Invalid: a checkpoint is malformed, of another log, not signed, or of an empty log, which
    every log continues. Raises Tampered: the log is shorter than it was, or begins otherwise.
    """
    old, new = open_checkpoint(old_note, key), open_checkpoint(view.note, key)
    if old.size == 0:
        message = "the checkpoint is of an empty log, which every log continues"
        raise Invalid(message, code="bad_checkpoint", hint="keep one with entries")
    if old.size > new.size:
        message = f"the log had {old.size} entries and has {new.size}: it was cut back"
        raise Tampered(message, code="log_cut_back", hint=_HINT, where="checkpoint")
    proof = tuple(view.consistency(old.size))
    try:
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
    except Invalid as error:
        message = f"the first {old.size} entries are not those that were signed then"
        raise Tampered(message, code="log_forked", hint=_HINT, where="checkpoint") from error
    return Continued(old, new, proof)


_HINT = "keep both checkpoints and this folder as they are: together they are the evidence"
