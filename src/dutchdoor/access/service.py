"""The door: who is this, may they, and out of which budget. Whatever cannot be known is a no."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from dutchdoor.access.at_hand import AtHand
from dutchdoor.access.cedar import Policies, PolicyBook
from dutchdoor.access.directory import Directory
from dutchdoor.access.holding import caller_refusal, holder_of
from dutchdoor.access.keys import ApiKey, HashKey
from dutchdoor.access.model import (
    AccessLimits,
    AccessRequest,
    Allowed,
    Amounts,
    Caller,
    Grant,
    Person,
    PolicyStanding,
    Refusal,
    Reservation,
)
from dutchdoor.access.register import Register
from dutchdoor.access.rules import (
    first,
    furthest,
    grant_refusal,
    key_refusal,
    person_refusal,
    standing_refusal,
)
from dutchdoor.access.slices import Slices
from dutchdoor.access.store import AccessStore
from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid, Refused
from dutchdoor.ids import BundleDigest, GrantId, KeyId

__all__ = ["Access"]

DIRECTORY_AGE_MS_MAX = 50
AT_HAND_AGE_MS_MAX = 250
POLICIES_AGE_MS_MAX = 1_000


class Access(Register):
    """Authenticates, decides, reserves and settles; and, as a `Register`, changes who may call.

    People, keys and grants are looked up in memory. The copy is at most `directory_age_ms_max` old
    when it answers, so that what the command line revokes is revoked here within a second.
    """

    def __init__(
        self,
        store: AccessStore,
        clock: Clock,
        *,
        hash_key: HashKey,
        policies: PolicyBook,
        limits: AccessLimits | None = None,
        directory_age_ms_max: int = DIRECTORY_AGE_MS_MAX,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """ticks: seconds that only go forward, for the age of the copies."""
        super().__init__(store, clock, hash_key=hash_key, limits=limits)
        self._policies = policies
        self._ticks = ticks
        self._age_s_max = directory_age_ms_max / 1000
        self._lock = threading.Lock()
        self._directory: Directory | None = None
        self._slices: Slices | None = None
        self._hand = AtHand()
        self._read_at_s = 0.0
        self._policies_at_s = ticks()

    @property
    def policies(self) -> PolicyBook:
        """The rules: which are in force, and what is wrong with newer ones."""
        return self._policies

    def authenticate(self, api_key: str) -> Caller:
        """The person who holds `api_key` (unverified text).

        Raises Refused: `invalid_api_key`, `key_revoked`, `key_expired` or `person_inactive`; no
        error holds the key. Unavailable: who may call cannot be read.
        """
        hashed = ApiKey.parse(api_key).keyed_hash(self._hash_key)
        directory = self._fresh()
        found = holder_of(directory, hashed, self._clock.now_ms())
        if isinstance(found, Refusal):
            # What was issued a moment ago opens at once: a refusal is worth a second look.
            directory = self._newest()
            found = holder_of(directory, hashed, self._clock.now_ms())
        if isinstance(found, Refusal):
            raise Refused(found.message, code=found.code, hint=found.hint)
        self._hand.keep_caller(directory, api_key, found)
        return found

    def decide(self, request: AccessRequest) -> Allowed | Refusal:
        """Whether `request` may go ahead, under which grant, by which rule.

        1. The person is active and their key still opens.
        2. The decision in force opens something to them (`stage_excludes_audience`).
        3. They hold a grant for the bundle (`no_grant`), not revoked, within its dates, covering
           the depths; as does the decision (`depth_not_granted`).
        4. The Cedar rules permit it and none forbids it (`policy_denied`).
        Of several grants the newest that fits counts. The caller must still reserve.
        Raises Unavailable: who may call cannot be read.
        """
        directory = self._fresh()
        now_ms = self._clock.now_ms()
        policies = self._rules_in_force()
        answer = self._decide(directory, policies, request, now_ms)
        if isinstance(answer, Refusal):
            directory = self._newest()
            answer = self._decide(directory, policies, request, now_ms)
        if isinstance(answer, Allowed):
            self._hand.keep_allowed(directory, policies, request, answer, now_ms)
        return answer

    def _decide(
        self, directory: Directory, policies: Policies, request: AccessRequest, now_ms: int
    ) -> Allowed | Refusal:
        refusal = caller_refusal(directory, request.caller, now_ms)
        if refusal is not None:
            return refusal
        person = directory.people[request.caller.person.id]
        if not request.audience_depths:
            return _excluded(request, person)
        grants = directory.grants_of.get((person.id, request.bundle), ())
        refusals = []
        for grant in grants:
            judgment = _judge(policies, request, person, grant, now_ms)
            if isinstance(judgment, Allowed):
                return judgment
            refusals.append(judgment)
        if not refusals:
            return Refusal(
                code="no_grant",
                message="you have no grant for this model",
                rule="access.no_grant",
                hint="apply to the holder of this server for access to it",
                missing=("grant",),
            )
        return furthest(refusals)

    def revoked(self, grant: GrantId, key: KeyId) -> Refusal | None:
        """Why an inference that was allowed must be cut now; None where it may go on.

        grant, key: under which it began. Costs a look-up in memory, so ask it for every token.
        Raises Unavailable: it cannot be known; cut it.
        """
        directory = self._fresh()
        now_ms = self._clock.now_ms()
        found = directory.grants.get(grant)
        if found is None:
            return Refusal("no_grant", f"there is no grant {grant}", "access.no_grant")
        return first(
            standing_refusal(found, now_ms),
            person_refusal(directory.people.get(found.person)),
            key_refusal(directory.keys.get(key), now_ms),
        )

    def reserve(
        self,
        identifier: str,
        grant: Grant,
        amounts: Amounts,
        *,
        vectors_max: int,
        hidden_size: int,
    ) -> Reservation | Refusal:
        """Set `amounts` aside for the inference `identifier`, all or nothing, on disk.

        vectors_max, hidden_size: of the decision in force. A refusal's code is `budget_requests`,
        `budget_tokens`, `budget_vectors` (the grant's), `vectors_exhausted` (the bundle's, pooled
        over all people), `too_many_at_once`, or that of a grant that ended in between.
        Raises Invalid: a negative amount, an id that is reserved already, or no hidden size to
        count vectors by. Unavailable: it cannot be written, nothing is set aside.
        """
        self._check_amounts(amounts)
        if hidden_size < 1 and (amounts.vectors > 0 or amounts.numbers > 0):
            raise Invalid("vectors cannot be counted for this model", code="bad_amounts")
        if self._slices is not None and amounts == Amounts(amounts.requests, amounts.tokens):
            if self._slices.holds(identifier):
                raise Invalid("this inference has reserved already", code="database_conflict")
            return self._slices.lease(identifier, grant, amounts, now_ms=self._clock.now_ms())
        answer = self._reserve_strictly(identifier, grant, amounts, vectors_max, hidden_size)
        slices = self._slices
        if isinstance(answer, Refusal) and slices is not None and slices.give_back(grant.id):
            answer = self._reserve_strictly(identifier, grant, amounts, vectors_max, hidden_size)
        return answer

    def _reserve_strictly(
        self,
        identifier: str,
        grant: Grant,
        amounts: Amounts,
        vectors_max: int,
        hidden_size: int,
    ) -> Reservation | Refusal:
        return self._store.reserve(
            identifier,
            grant.id,
            amounts,
            vectors_max=max(vectors_max, 0),
            hidden_size=hidden_size,
            now_ms=self._clock.now_ms(),
        )

    def settle(self, reservation: Reservation, used: Amounts) -> bool:
        """Charge what was really used and give the rest back; False where it is settled already.

        A vector that was set aside and not sent goes back; one that was sent never does.
        Raises Invalid: a negative amount. Unavailable: it cannot be written, all stays set aside.
        """
        self._check_amounts(used)
        if self._slices is not None and self._slices.settle(reservation.id, used):
            return True
        return self._store.settle(reservation.id, lambda _: used)

    def recover(self, identifiers: Iterable[str]) -> int:
        """Settle the reservations of dead inferences at their full amount; how many there were.

        Nobody knows what a dead inference released, so all of it counts.
        """
        return sum(self._store.settle(name, lambda held: held) for name in identifiers)

    def open_reservations(self) -> tuple[Reservation, ...]:
        """All that is set aside and not settled, oldest first."""
        return self._store.open_reservations()

    def used(self, grant: GrantId) -> Amounts:
        """What the grant has spent or set aside. Raises NotFound: no such grant.

        What this process holds in slices and has not spent does not count; another's does.
        """
        if self._slices is None:
            return self._store.used(grant)
        before = self._slices.unspent(grant)
        found = self._store.used(grant)
        return replace(
            found, requests=found.requests - before.requests, tokens=found.tokens - before.tokens
        )

    def released(self, bundle: BundleDigest) -> int:
        """The independent vectors of `bundle` released or set aside, over all people.

        Single numbers count in: as many as the model is wide are one vector, rounded up once.
        """
        return self._store.released(bundle)

    # Without waiting: for an event loop. None says that the blocking call has to be asked.

    def lend(self, holder: str) -> None:
        """From now on set requests and tokens aside in slices. holder: this process's name."""
        self._slices = Slices(self._store, holder, self._ticks)

    def follow(self) -> None:
        """Look who may call now, so that what is at hand stays young. Raises Unavailable."""
        self._fresh()

    def tidy(self) -> None:
        """Give back slices that nobody uses. Raises Unavailable."""
        if self._slices is not None:
            self._slices.tidy()

    def give_back(self) -> None:
        """Give back all slices that no inference holds. Raises Unavailable."""
        if self._slices is not None:
            self._slices.give_back()

    def authenticate_at_hand(self, api_key: str) -> Caller | None:
        """As `authenticate`, for keys seen before; None where it has to be asked."""
        directory = self._lately()
        if directory is None:
            return None
        found = self._hand.caller(directory, api_key)
        if found is None:
            return None  # A key that was issued a moment ago deserves a fresh look.
        refusal = key_refusal(directory.keys.get(found.key), self._clock.now_ms())
        return found if refusal is None else None

    def decide_at_hand(self, request: AccessRequest) -> Allowed | None:
        """As `decide`, for what was allowed before; None where it has to be asked."""
        directory = self._lately()
        if directory is None or self._ticks() - self._policies_at_s >= POLICIES_AGE_MS_MAX / 1000:
            return None
        return self._hand.allowed(directory, self._policies.current, request, self._clock.now_ms())

    def reserve_at_hand(
        self, identifier: str, grant: Grant, amounts: Amounts
    ) -> Reservation | None:
        """As `reserve`, out of a slice; None where it has to be asked."""
        directory = self._lately()
        if self._slices is None or directory is None:
            return None
        if amounts != Amounts(amounts.requests, amounts.tokens):
            return None
        self._check_amounts(amounts)
        known = directory.grants.get(grant.id)
        if known is None or standing_refusal(known, self._clock.now_ms()) is not None:
            return None
        if person_refusal(directory.people.get(known.person)) is not None:
            return None
        return self._slices.take(identifier, known, amounts)

    def settle_at_hand(self, reservation: Reservation, used: Amounts) -> bool:
        """As `settle`; False where it has to be asked."""
        self._check_amounts(used)
        return self._slices is not None and self._slices.settle(reservation.id, used)

    def _lately(self) -> Directory | None:
        """The copy, where it is young enough for a second's promise; whoever asks waits for none.

        A watcher looks every 50 ms; where it cannot, the copy grows too old and is not used.
        """
        if self._ticks() - self._read_at_s >= AT_HAND_AGE_MS_MAX / 1000:
            return None
        return self._directory

    def follow_policies(self) -> PolicyStanding:
        """Which rules are in force, after a look at their folder; and what is wrong with it."""
        self._policies.reload_if_changed()
        return PolicyStanding(self._policies.current.version, self._policies.problem)

    def _rules_in_force(self) -> Policies:
        now_s = self._ticks()
        if now_s - self._policies_at_s >= POLICIES_AGE_MS_MAX / 1000:
            self._policies_at_s = now_s
            self._policies.reload_if_changed()
        return self._policies.current

    def _fresh(self) -> Directory:
        """People, keys and grants as they were at most `directory_age_ms_max` ago."""
        known, now_s = self._directory, self._ticks()
        if known is not None and now_s - self._read_at_s < self._age_s_max:
            return known
        with self._lock:
            known, now_s = self._directory, self._ticks()
            if known is None or now_s - self._read_at_s >= self._age_s_max:
                # The age counts from before the question: an answer can only be younger.
                if known is None or self._store.epoch() != known.epoch:
                    known = self._store.directory()
                    self._directory = known
                self._read_at_s = now_s
            return known

    def _newest(self) -> Directory:
        self._changed()
        return self._fresh()

    def _changed(self) -> None:
        self._read_at_s = float("-inf")

    def _check_amounts(self, amounts: Amounts) -> None:
        counts = (amounts.requests, amounts.tokens, amounts.vectors, amounts.numbers)
        if min(counts) < 0 or max(counts) > self._limits.amount_max:
            raise Invalid("an amount is negative or too large", code="bad_amounts")


def _judge(
    policies: Policies, request: AccessRequest, person: Person, grant: Grant, now_ms: int
) -> Allowed | Refusal:
    refusal = grant_refusal(grant, request, now_ms)
    if refusal is not None:
        return refusal
    ruling = policies.rule_on(request, person, grant)
    if ruling.permits:
        return Allowed(grant, ruling.rule, ruling.reason)
    return Refusal(
        code="policy_denied",
        message=ruling.reason,
        rule=ruling.rule,
        hint=f"the rule '{ruling.rule}' decided; ask the holder of this server about it",
        grant=grant,
    )


def _excluded(request: AccessRequest, person: Person) -> Refusal:
    return Refusal(
        code="stage_excludes_audience",
        message=(
            f"the release decision in force, at stage '{request.stage}' of level "
            f"'{request.level}', does not include you (audience '{person.audience}')"
        ),
        rule="decision.audiences",
        hint="wait for a later stage, or apply to be admitted to an audience it includes",
        missing=(f"audience {person.audience}",),
    )
