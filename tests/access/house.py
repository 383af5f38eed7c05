"""A workspace's database, rules and keys, all real, for the tests of the access room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dutchdoor.access.cedar import PolicyBook, install_default_policies
from dutchdoor.access.keys import HashKey
from dutchdoor.access.model import AccessRequest, Budget, Caller, Grant, Person
from dutchdoor.access.service import Access
from dutchdoor.access.store import AccessStore
from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import create_secret, load_secret
from dutchdoor.db.engine import Database, open_database, sqlite_url
from dutchdoor.db.migrate import upgrade
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import Entry
from dutchdoor.ids import BundleDigest, DecisionId

BUNDLE = BundleDigest("sha256:" + "a" * 64)
OTHER_BUNDLE = BundleDigest("sha256:" + "b" * 64)
HIDDEN_SIZE = 576
DAY_MS = 86_400_000


class House:
    """One workspace. entries: what was recorded, each of which has a canonical form."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FixedClock()
        self.entries: list[Entry] = []
        upgrade(sqlite_url(folder / "state.db"))
        install_default_policies(folder / "policies")
        self.hash_key: HashKey = HashKey(create_secret(folder / "access.key", "access"))
        self.access = open_access(folder, self.clock)

    def record(self, entry: Entry) -> None:
        assert Entry.decode(entry.encode()) == entry
        self.entries.append(entry)

    def cannot_record(self, _entry: Entry) -> None:
        raise Unavailable("the disk is full", code="log_unavailable")

    def person(self, audience: str = "researcher", name: str = "Ada") -> Person:
        return self.access.add_person(name, "Institute", audience, record=self.record)

    def caller(self, person: Person) -> Caller:
        return self.access.authenticate(self.key(person))

    def key(self, person: Person) -> str:
        return self.access.issue_key(person.id, record=self.record).secret.reveal()

    def grant(
        self,
        person: Person,
        *,
        depths: Sequence[Depth] = (Depth.SAMPLING,),
        budget: Budget | None = None,
        bundle: BundleDigest = BUNDLE,
        begins_in_ms: int = 0,
        agentic: bool = False,
        concurrency_max: int = 1000,
    ) -> Grant:
        begins_ms = self.clock.now_ms() + begins_in_ms
        return self.access.make_grant(
            person.id,
            bundle,
            purpose="independent evaluation",
            depths=depths,
            budget=budget or Budget(requests=1000, tokens=1_000_000, vectors=1000),
            not_before_ms=begins_ms,
            not_after_ms=begins_ms + DAY_MS,
            agentic=agentic,
            concurrency_max=concurrency_max,
            record=self.record,
        )


def open_access(folder: Path, clock: FixedClock) -> Access:
    """The access room over the workspace in `folder`, as any process opens it."""
    return Access(
        AccessStore(database(folder)),
        clock,
        hash_key=HashKey(load_secret(folder / "access.key")),
        policies=PolicyBook(folder / "policies"),
    )


def database(folder: Path) -> Database:
    return open_database(sqlite_url(folder / "state.db"))


def ask(
    caller: Caller,
    *,
    action: str = "infer",
    depths: Sequence[Depth] = (Depth.SAMPLING,),
    opened: Sequence[Depth] = tuple(Depth),
    bundle: BundleDigest = BUNDLE,
    tools: bool = False,
    level: str = "cloud_api",
) -> AccessRequest:
    """A request. opened: what the decision in force opens to the caller; everything by default."""
    return AccessRequest(
        caller=caller,
        action=action,
        bundle=bundle,
        decision=DecisionId("decision_1"),
        level=level,
        stage="stage 1",
        depths=frozenset(depths),
        audience_depths=frozenset(opened),
        tools=tools,
    )
