"""Assumptions as they ship, custody as it might be, and small edits of the file."""

from __future__ import annotations

from dataclasses import replace

from dutchdoor.release.risk.assumptions import fresh_assumptions, read_assumptions
from dutchdoor.release.risk.distributions import Distribution, Kind
from dutchdoor.release.risk.estimate import Subject
from dutchdoor.release.risk.model import AmendFigures, Assumption, Assumptions, CustodyFacts

FACTS = CustodyFacts(
    threshold=2,
    custodians=3,
    keys_here=0,
    people=4,
    copies=1,
    egress_bytes_day=0,
    sealed_bytes=270_000_000,
    sources={"threshold": "read: manifest of the bundle"},
)
SUBJECT = Subject("smol", "sha256:" + "a" * 64, "sha256:" + "b" * 64, "")
AMEND = AmendFigures(
    held_back=Distribution(Kind.SHARE, 0.7, 0.9),
    refusal=Distribution(Kind.SHARE, 0.4, 0.8),
    remaining=Distribution(Kind.SHARE, 0.01, 0.1),
    arm="direct_tuning",
    digest="sha256:" + "d" * 64,
    complete=True,
)


def assumed(samples: int = 400, **changes: str) -> Assumptions:
    """The assumptions that ship, with figures (`a__b` for `a.b`) taking other distributions."""
    found = read_assumptions(fresh_assumptions().encode())
    figures = dict(found.figures)
    for name, text in changes.items():
        key = name.replace("__", ".")
        figures[key] = certain(key, float(text))
    settings = replace(found.settings, samples=samples)
    return replace(found, settings=settings, figures=figures)


def certain(name: str, value: float) -> Assumption:
    """A figure that nobody doubts."""
    return Assumption(name, str(value), Distribution(Kind.CONSTANT, value, value), "m", "assumed")
