"""A belief about one figure as a distribution, and draws from it that come out the same again.

Written as people say it: `200 to 5000` is a range that holds the figure nine times in ten; a plain
number is certain; `uniform 2 to 5`; `beta 4 of 16` is a share of which 4 in 16 were seen.
The only file that imports scipy.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dutchdoor.errors import Invalid

__all__ = ["Array", "Distribution", "Kind", "of_interval", "parse_distribution", "uniforms"]

Array = npt.NDArray[np.float64]

AMOUNT_MAX = 1e15
RANGE_TAIL = 0.05
"""`A to B` leaves so much of the belief below A and as much above B: it is a 90 % interval."""
_EDGE = 2.0**-40
"""Draws stay this far from 0 and 1, where a quantile would be infinite."""
_NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)"
_FORMS = {
    re.compile(_NUMBER): "constant",
    re.compile(rf"{_NUMBER} to {_NUMBER}"): "range",
    re.compile(rf"uniform {_NUMBER} to {_NUMBER}"): "uniform",
    re.compile(r"beta (\d{1,9}) of (\d{1,9})"): "beta",
}


class Kind(StrEnum):
    """lognormal: of amounts. share: normal in its log-odds, so that it stays within 0 and 1."""

    CONSTANT = "constant"
    LOGNORMAL = "lognormal"
    SHARE = "share"
    UNIFORM = "uniform"
    BETA = "beta"


@dataclass(frozen=True)
class Distribution:
    """low, high: the two numbers it was written with; of a constant, both are its value."""

    kind: Kind
    low: float
    high: float

    def quantiles(self, places: Array) -> Array:
        """Its values at `places`, each within 0 and 1; rises with them."""
        from scipy import special

        if self.kind is Kind.CONSTANT:
            return np.full(places.shape, self.low)
        if self.kind is Kind.UNIFORM:
            return self.low + (self.high - self.low) * places
        if self.kind is Kind.BETA:
            # Jeffreys' prior: half a case seen and half a case not seen, before any was.
            rises = special.betaincinv(self.low + 0.5, self.high - self.low + 0.5, places)
            return np.asarray(rises, dtype=np.float64)
        outer = float(special.ndtri(1.0 - RANGE_TAIL))
        change = _log_odds if self.kind is Kind.SHARE else math.log
        low, high = change(self.low), change(self.high)
        values = (low + high) / 2 + special.ndtri(places) * (high - low) / (2 * outer)
        drawn = special.expit(values) if self.kind is Kind.SHARE else np.exp(values)
        return np.asarray(drawn, dtype=np.float64)


def parse_distribution(text: str, *, share: bool) -> Distribution:
    """The distribution that a person wrote. share: the figure is one, within 0 and 1.

    Raises Invalid: not in one of the four forms, or out of bounds; the message says what is wrong.
    """
    for form, kind in _FORMS.items():
        found = form.fullmatch(" ".join(text.split()))
        if found:
            low, high = float(found[1]), float(found[found.re.groups])
            return _checked(kind, low, high, share=share)
    raise _bad(f"'{text}' is no figure")


def of_interval(mean: float, low: float, high: float) -> Distribution:
    """A share that was measured, between the ends of its 95 % interval.

    Ends at 0 or 1 are pulled in by a thousandth: an interval never proves impossibility.
    """
    margin = 0.001
    low, high = max(low, margin), min(high, 1 - margin)
    if high - low < margin:
        return Distribution(Kind.CONSTANT, mean, mean)
    return Distribution(Kind.SHARE, low, high)


def uniforms(seed: int, name: str, count: int) -> Array:
    """`count` places within 0 and 1 for the figure `name`, one in each of as many equal strata.

    Each name has its own stream, so that one more assumption moves no other's draws.
    Source: McKay, Beckman, Conover 1979 (Latin hypercube sampling).
    """
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:16], "big"))
    raw = np.asarray(bits.random_raw(2 * count), dtype=np.uint64)
    order = np.argsort(raw[:count], kind="stable")
    within = (raw[count:] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    places: Array = (order + within) / count
    return np.clip(places, _EDGE, 1 - _EDGE)


def _checked(kind: str, low: float, high: float, *, share: bool) -> Distribution:
    most = 1.0 if share else AMOUNT_MAX
    if kind == "beta":
        if not share:
            raise _bad("'beta' is for shares; this figure is an amount")
        if not low <= high or high < 1:
            raise _bad("'beta HITS of N' needs at most as many hits as N")
        return Distribution(Kind.BETA, low, high)
    if high > most:
        raise _bad("a share lies within 0 and 1" if share else f"more than {AMOUNT_MAX:g}")
    if kind == "constant":
        return Distribution(Kind.CONSTANT, low, high)
    if not low < high:
        raise _bad("the first number of a range is the smaller one")
    if kind == "uniform":
        return Distribution(Kind.UNIFORM, low, high)
    if low <= 0 or (share and high >= 1):
        raise _bad("a range of this kind touches neither 0 nor, for a share, 1")
    return Distribution(Kind.SHARE if share else Kind.LOGNORMAL, low, high)


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def _bad(message: str) -> Invalid:
    hint = "write '3', '200 to 5000', 'uniform 2 to 5', or 'beta 4 of 16'"
    return Invalid(message, code="bad_distribution", hint=hint)
