"""What the gateway needs from the other rooms, as narrow as it can be said.

The real parts are `evidence.committer`, `evidence.register`, `access.service`, `guard.rules` and
`runtime.client`; a test may hand in slower, breaking or watching ones of the same shape.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from dutchdoor.access.model import (
    AccessRequest,
    Allowed,
    Amounts,
    Caller,
    Grant,
    PolicyStanding,
    Refusal,
    Reservation,
)
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, Opening, Recorded
from dutchdoor.guard.model import Verdict
from dutchdoor.guard.rulefile import Side
from dutchdoor.ids import BundleDigest, GrantId, KeyId, PersonId
from dutchdoor.runtime.protocol import (
    Accepted,
    Activations,
    Amend,
    Amended,
    Description,
    Done,
    FitProbe,
    FromRuntime,
    Generate,
    ProbeFitted,
    ReadActivations,
    Token,
    Tokenize,
    Tokenized,
)

__all__ = [
    "Access",
    "Decisions",
    "Enforcement",
    "Evidence",
    "InForce",
    "LogView",
    "Rules",
    "RulesStream",
    "Runtime",
    "Sink",
]


class InForce(Protocol):
    """A decision in force, and where the log says so."""

    @property
    def decision(self) -> Decision: ...

    @property
    def index(self) -> int: ...


class Decisions(Protocol):
    """Which decision is in force; follows the log."""

    def refresh(self) -> bool: ...

    def in_force(self, bundle: BundleDigest, now_ms: int) -> InForce:
        """Raises NotInForce: none is."""
        ...


class Enforcement(Protocol):
    """What runs against what was decided. Blocking: called in a thread."""

    def check(self, decision: Decision, runtime: Description | None, *, patient: bool) -> None:
        """Raises Unavailable with the code of the first thing that differs."""
        ...


class LogView(Protocol):
    """The log at one signed checkpoint."""

    @property
    def size(self) -> int: ...

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]: ...

    def entry(self, index: int) -> bytes: ...

    def receipt(self, index: int, openings: Mapping[str, Opening] | None = None) -> bytes:
        """All that a stranger needs to check the entry at `index`, as canonical JSON."""
        ...

    def receipt_value(
        self, index: int, openings: Mapping[str, Opening] | None = None
    ) -> dict[str, Any]:
        """The same as canonical values."""
        ...


class Evidence(Protocol):
    """The log: record, and read back what was recorded, whoever wrote it."""

    async def record(self, entry: Entry) -> Recorded:
        """The entry, once it is durable.

        Raises Refused: it may not stand (its decision is not in force any more). Raises
        Unavailable: it is not known to be durable.
        """
        ...

    def view(self) -> LogView:
        """The log with all that is durable now. Blocking. Raises Tampered, Unavailable."""
        ...

    def seen(self) -> LogView:
        """The log as it was last seen; does not block."""
        ...


class Access(Protocol):
    """People, grants, policies and budgets. Blocking: called in a thread."""

    def authenticate(self, api_key: str) -> Caller: ...

    def decide(self, request: AccessRequest) -> Allowed | Refusal: ...

    def reserve(
        self,
        identifier: str,
        grant: Grant,
        amounts: Amounts,
        *,
        vectors_max: int,
        hidden_size: int,
    ) -> Reservation | Refusal: ...

    def settle(self, reservation: Reservation, used: Amounts) -> bool: ...

    # The same without waiting, where the answer is at hand; None (or False) where it is not.

    def authenticate_at_hand(self, api_key: str) -> Caller | None: ...

    def decide_at_hand(self, request: AccessRequest) -> Allowed | None: ...

    def reserve_at_hand(
        self, identifier: str, grant: Grant, amounts: Amounts
    ) -> Reservation | None: ...

    def settle_at_hand(self, reservation: Reservation, used: Amounts) -> bool: ...

    def lend(self, holder: str) -> None:
        """From now on set requests and tokens aside in slices, in this process's name."""
        ...

    def follow(self) -> None:
        """Look who may call now."""
        ...

    def tidy(self) -> None:
        """Give back what is set aside and not used for long."""
        ...

    def give_back(self) -> None:
        """Give back all that is set aside and that no inference holds."""
        ...

    def revoked(self, grant: GrantId, key: KeyId) -> Refusal | None:
        """Why what began under these must be cut now; None where it may go on."""
        ...

    def recover(self, identifiers: Iterable[str]) -> int:
        """Settle the reservations of dead inferences in full."""
        ...

    def open_reservations(self) -> tuple[Reservation, ...]: ...

    def used(self, grant: GrantId) -> Amounts: ...

    def released(self, bundle: BundleDigest) -> int:
        """Independent vectors of the bundle released or set aside, over all people."""
        ...

    def follow_policies(self) -> PolicyStanding:
        """The rules in force, those of the folder where it is right. Raises nothing of ours."""
        ...

    def list_grants(self, person: PersonId | None = None) -> tuple[Grant, ...]: ...


class RulesStream(Protocol):
    """Text rules on a stream: the verdict does not depend on how the text is cut."""

    def feed(self, text: str) -> Verdict: ...

    def finish(self) -> Verdict: ...

    def held(self) -> int:
        """How many of the last characters that were fed must not leave (yet, or ever)."""
        ...


class Rules(Protocol):
    """Text rules."""

    @property
    def version(self) -> str: ...

    def judge(self, text: str, side: Side = ...) -> Verdict: ...

    def stream(self) -> RulesStream: ...


class Sink(Protocol):
    """Takes the events of one completion as they come."""

    def put(self, message: FromRuntime) -> bool:
        """Whether there was room for it."""
        ...

    def fail(self, error: DutchdoorError) -> None:
        """There comes no more."""
        ...


class Runtime(Protocol):
    """The protected process, over its socket. Every method raises Unavailable: it is down."""

    async def describe(self) -> Description: ...

    def described(self) -> Description | None:
        """The description that came with the present connection; None where there is none."""
        ...

    async def stream(self, request: Generate, sink: Sink) -> Callable[[], None]:
        """Hands the events of one completion to `sink`; what it gives leaves the request."""
        ...

    def generate(self, request: Generate) -> AsyncIterator[Accepted | Token | Done]: ...

    async def cancel(self, id: str) -> None: ...  # noqa: A002

    async def read_activations(self, request: ReadActivations) -> Activations: ...

    async def fit_probe(self, request: FitProbe) -> ProbeFitted: ...

    async def amend(self, request: Amend) -> Amended: ...

    async def tokenize(self, request: Tokenize) -> Tokenized: ...

    async def aclose(self) -> None: ...
