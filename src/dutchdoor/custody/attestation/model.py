"""Grades of an opening, and what a custodian knows of a host whose evidence it verified."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

__all__ = ["NOTHING_ATTESTED", "AttestationLimits", "Attested", "Grade"]


class Grade(StrEnum):
    """What vouches for the host that a key goes to, from least to most.

    software: nothing but its own word. tpm: a quote of an enrolled TPM shows what it booted; its
    administrator still reads all memory. tee: the processor's report shows a confidential machine,
    whose memory the host cannot read.
    """

    SOFTWARE = "software"
    TPM = "tpm"
    TEE = "tee"

    @property
    def rank(self) -> int:
        """0 and on; a higher one meets a demand for a lower one."""
        return list(Grade).index(self)

    def meets(self, demanded: str) -> bool:
        """Whether this is enough where a decision demands `demanded`; no unknown word is met."""
        return demanded in {str(grade) for grade in Grade} and self.rank >= Grade(demanded).rank


class Attested(NamedTuple):
    """What was verified. host: its id in trust.json. evidence: digest of what showed it."""

    grade: Grade
    host: str = ""
    evidence: str = ""


NOTHING_ATTESTED = Attested(Grade.SOFTWARE)


@dataclass(frozen=True)
class AttestationLimits:
    """How long what is read here may be.

    evidence_bytes_max: a quote has under 2 KB, a report with its two certificates under 8 KB.
    tool_s_max: a discrete TPM takes up to a second for a signature, and several to make a key.
    """

    evidence_bytes_max: int = 32_768
    part_bytes_max: int = 16_384
    measurements_max: int = 64
    tool_s_max: float = 60.0
    tool_output_bytes_max: int = 65_536
