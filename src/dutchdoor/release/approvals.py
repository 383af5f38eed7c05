"""The approvals of one proposal: one envelope over exactly one text.

Those outside whose signature the text demands sign in the same envelope; they are no approvers, and
nobody counts them as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dutchdoor.audit.document import write_bytes
from dutchdoor.errors import Invalid, Refused, Tampered
from dutchdoor.evidence.decision import DECISION_KIND, Decision, Trust
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import (
    Statement,
    add_signature,
    key_id,
    merge_signatures,
    open_statement,
    sign_statement,
)
from dutchdoor.release.model import DEFAULTS

__all__ = ["APPROVALS_NAME", "Approvals", "Count"]

APPROVALS_NAME = "approvals.json"
_VOID_MAX = 999


class Count(NamedTuple):
    """Key ids that approved the text as it is, and those whose approval was of another text."""

    approved: frozenset[str]
    voided: tuple[str, ...]


class Approvals:
    """Reads and adds approvals in a proposal's folder; `trust` says whose count."""

    def __init__(self, folder: Path, trust: Trust) -> None:
        self._folder = folder
        self._trust = trust
        self._keys = {**trust.approvers, **trust.outside}

    def count(self, decision: Decision) -> Count:
        """Who approved `decision`, word for word.

        Raises Tampered: the approvals do not verify.
        """
        envelope = self._read()
        if envelope is None:
            return Count(frozenset(), ())
        try:
            statement = self._open(envelope)
        except Invalid as error:
            raise Tampered(
                f"the approvals do not verify: {error}",
                code="approvals_changed",
                hint=f"restore {APPROVALS_NAME}, or delete it and approve again",
                where=str(self._folder / APPROVALS_NAME),
            ) from error
        if statement.body != decision.to_body():
            return Count(frozenset(), statement.signers)
        return Count(frozenset(statement.signers), ())

    def sign(self, decision: Decision, signer: Signer) -> bytes:
        """The envelope with one more approval; nothing is written.

        Raises Refused: the signer is neither an approver nor somebody outside whom the text asks,
        or has approved this text already.
        """
        key = key_id(signer.public_key)
        if self._keys.get(key) != signer.public_key:
            message = f"the key of {signer.name} is not an approver's"
            hint = "the approvers' keys stand in trust.json"
            raise Refused(message, code="not_an_approver", hint=hint)
        if key in self._trust.outside and key not in decision.terms.outside_keys:
            message = f"this text does not ask for the signature of {signer.name}"
            hint = f"write it into terms.outside, with key: {key}"
            raise Refused(message, code="signature_not_demanded", hint=hint)
        approved = self.count(decision).approved
        if key in approved:
            message = f"{signer.name} has approved this text already"
            raise Refused(message, code="already_approved", hint="another approver is needed")
        envelope = self._read()
        if approved and envelope is not None:
            return add_signature(envelope, signer)
        return sign_statement(DECISION_KIND, decision.to_body(), [signer])

    def merge(self, decision: Decision, brought: Mapping[str, bytes]) -> bytes:
        """The envelope of the approvals here and of those brought; nothing is written.

        brought: copies of approvals.json (unverified), by the names to call them in errors.
        Raises Refused: nobody approved, or a copy approves another text than `decision`. Raises
        Invalid: a copy is malformed or wrongly signed, or no approver signed it.
        """
        here = self._read() if self.count(decision).approved else None
        merged = here
        for name, envelope in brought.items():
            try:
                statement = self._open(envelope)
                if statement.body != decision.to_body():
                    raise _other_text(name, statement, decision)
                merged = envelope if merged is None else merge_signatures(merged, envelope)
            except Invalid as error:
                message = f"{name} holds no approvals that count: {error.message}"
                hint = "carry approvals.json back as it is; the approvers' keys are in trust.json"
                raise Invalid(message, code="bad_approvals", hint=hint) from error
        if merged is None:
            message = "nobody has approved this text"
            hint = "bring the approvals: dutchdoor release enact PROPOSAL --approvals FILE"
            raise Refused(message, code="approvals_missing", hint=hint)
        return merged

    def signers(self, envelope: bytes) -> frozenset[str]:
        """Key ids of those who signed `envelope`. Raises Invalid: it does not verify."""
        return frozenset(self._open(envelope).signers)

    def keep(self, envelope: bytes, *, void_others: bool) -> None:
        """Write the approvals; those of another text are set aside, never deleted."""
        path = self._folder / APPROVALS_NAME
        if void_others:
            number = len(list(self._folder.glob("approvals.void-*.json"))) + 1
            if number > _VOID_MAX:
                message = f"this proposal was changed {_VOID_MAX} times after an approval"
                raise Refused(message, code="too_many_changes", hint="make a new proposal")
            path.replace(self._folder / f"approvals.void-{number:03d}.json")
        write_bytes(path, envelope)

    def _open(self, envelope: bytes) -> Statement:
        return open_statement(envelope, kind=DECISION_KIND, keys=self._keys, signatures_min=1)

    def _read(self) -> bytes | None:
        try:
            with (self._folder / APPROVALS_NAME).open("rb") as file:
                return file.read(DEFAULTS.approvals_bytes_max)
        except FileNotFoundError:
            return None


def _other_text(name: str, statement: Statement, decision: Decision) -> Refused:
    body = decision.to_body()
    fields = sorted({*body, *statement.body})
    parts = ", ".join(key for key in fields if body.get(key) != statement.body.get(key))
    message = f"{name} approves another text than the proposal's: they differ in {parts}"
    hint = "bring back decision.md as it was approved, or have it approved as it reads now"
    return Refused(message, code="text_changed", hint=hint)
