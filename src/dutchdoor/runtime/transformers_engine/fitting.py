"""Fitting the guard's probe inside: the examples' hidden states never leave the process."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

from dutchdoor.runtime.ports import PromptJudge
from dutchdoor.runtime.protocol import FitProbe
from dutchdoor.runtime.transformers_engine.loading import LoadedModel
from dutchdoor.runtime.transformers_engine.taps import Taps

__all__ = ["Fitted", "Fitter"]


class Fitted(NamedTuple):
    """A fitted probe, sealed to its bundle, and its card (canonical JSON)."""

    probe: PromptJudge
    sealed: bytes
    card: bytes


Fitter = Callable[[LoadedModel, Taps, FitProbe], Generator[None, None, Fitted]]
"""Fits in slices: each step of the generator is short, its result is what was fitted."""
