"""The engine's guard: the probe and the decision's terms, which no request can soften.

The runtime trusts its gateway with who may ask, not with the guard. Without a probe, a request
that must be guarded is refused; one that only observes runs, and its verdict says that nothing
judged. There is no guard that allows everything.
"""

from __future__ import annotations

from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.ports import PromptJudge

__all__ = ["Guard"]


class Guard:
    """Judges for one bundle under the terms of one decision."""

    def __init__(self, bundle: str, terms: GuardTerms, probe: PromptJudge | None) -> None:
        """bundle: its digest. terms: from the decision under which it was opened.

        Raises Refused: the decision demands a probe and this is not it. Raises Invalid: the probe
        was fitted on another bundle, or reads nothing.
        """
        self._bundle = bundle
        self._terms = terms
        self._probe: PromptJudge | None = None
        if terms.probe and (probe is None or probe.digest != terms.probe):
            message = "the probe that the decision demands is not the one at hand"
            hint = "bring the bundle's sealed probe, or decide on the one that is there"
            raise Refused(message, code="guard_not_fitted", hint=hint)
        if probe is not None:
            self._set(probe)

    @property
    def probe(self) -> PromptJudge | None:
        return self._probe

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose residual streams the probe reads."""
        return self._probe.layers if self._probe is not None else ()

    @property
    def digest(self) -> str:
        """The probe's digest, or "" where none is loaded."""
        return self._probe.digest if self._probe is not None else ""

    def adopt(self, probe: PromptJudge) -> None:
        """Takes a probe that was just fitted inside, during the audit.

        Raises Refused: the decision names a probe already; another one needs another decision.
        """
        if self._terms.probe:
            raise _probe_is_decided()
        self._set(probe)

    def check_can_fit(self) -> None:
        """Raises Refused where the decision names a probe already."""
        if self._terms.probe:
            raise _probe_is_decided()

    def check(self, *, block: bool, threshold: str, hold_back_tokens: int) -> str:
        """The threshold to judge at, for a request that asks for these terms.

        Raises Refused: it must be guarded and there is no probe, or it asks for less guard than
        the decision demands.
        """
        if self._probe is None and block:
            message = "no probe is fitted to this bundle, and this grant is not an observing one"
            hint = "fit the guard in the audit: dutchdoor audit run"
            raise Refused(message, code="guard_not_fitted", hint=hint)
        decided = self._terms.threshold
        if block and decided and threshold not in {"", decided}:
            message = f"the decision demands the threshold {decided}"
            raise Refused(message, code="threshold_not_decided", hint="ask for that threshold")
        if block and hold_back_tokens > self._terms.hold_back_tokens:
            message = f"the decision holds back {self._terms.hold_back_tokens} tokens at most"
            raise Refused(message, code="hold_back_not_decided", hint="ask for no more than that")
        if not threshold and not decided and not block and self._probe is not None:
            # Nothing is decided yet and nothing is blocked: record what the keenest one finds.
            return self._probe.thresholds[0]
        return threshold or decided

    def unjudged(self) -> Verdict:
        """The verdict where no probe is loaded: it says that nothing judged."""
        return Verdict("probe", "none", Action.FLAG, reasons=("no probe is fitted",))

    def _set(self, probe: PromptJudge) -> None:
        if probe.bundle != self._bundle:
            message = "the probe was fitted on another bundle"
            raise Invalid(message, code="wrong_probe", hint="fit the guard on this bundle")
        if not probe.layers or not probe.digest:
            raise Invalid("a probe that reads nothing judges nothing", code="wrong_probe")
        self._probe = probe


def _probe_is_decided() -> Refused:
    message = "the decision names the probe of this bundle already"
    hint = "fit a new one under a fully closed decision, then decide on it"
    return Refused(message, code="probe_is_decided", hint=hint)
