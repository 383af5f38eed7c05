"""A workspace: made once, opened by every command and every process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dutchdoor.access.cedar import PolicyBook, install_default_policies
from dutchdoor.access.service import Access
from dutchdoor.access.store import AccessStore
from dutchdoor.app import keys
from dutchdoor.clock import Clock, SystemClock
from dutchdoor.config import CONFIG_NAME, Config, Places, load_config
from dutchdoor.custody.copies import Copies
from dutchdoor.custody.keyring import create_folder, create_secret, create_signing_key
from dutchdoor.db.engine import open_database, sqlite_url
from dutchdoor.db.migrate import upgrade
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import load_trust, save_trust
from dutchdoor.release.names import Names

__all__ = [
    "APPROVALS_MIN_DEFAULT",
    "APPROVERS_DEFAULT",
    "Workspace",
    "make_workspace",
    "open_workspace",
    "upgrade_workspace",
]

APPROVERS_DEFAULT = ("approver-1", "approver-2")
AUDITORS_DEFAULT = ("auditor-1",)
APPROVALS_MIN_DEFAULT = 2

CONFIG_TEMPLATE = """\
# dutchdoor: the configuration of this workspace. Every setting, its default and what whoever
# changes it can do: docs/reference/configuration.md. Unknown settings are refused.

[evidence]
origin = "{origin}"

[server]
host = "127.0.0.1"
port = {port}
"""

IGNORE = """\
# Keys and state.
keyring/
keys-of-people/
*.key
run/
state.db*
# Content: what was asked and answered, kept whole or opened in a receipt.
content/
receipts/
# What happened in incidents: it may name people, and can be deleted.
incidents/
# What a bundle's manifest hides: the names of the files in it.
inventory/
# Counts what leaves a runtime; a copy of it elsewhere means nothing.
meters/
# What the demo breaks to show that it is noticed.
evidence-with-one-byte-changed/
"""


@dataclass(frozen=True)
class Workspace:
    """An open workspace. What is expensive is opened at first use."""

    places: Places
    config: Config
    clock: Clock

    @cached_property
    def trust(self) -> Trust:
        """The keys that verify this workspace's decisions and log."""
        return load_trust(self.places.trust)

    @cached_property
    def log(self) -> Log:
        """The log, ready to append to; what needs a decision in force is refused without one."""
        gate = DecisionRegister(None, self.trust)
        return Log(self.places.evidence, keys.log_signer(self.places), self.clock, gate=gate)

    @cached_property
    def reader(self) -> LogReader:
        """The log, read only."""
        return LogReader(self.places.evidence)

    @cached_property
    def register(self) -> DecisionRegister:
        """Says which decision is in force; refreshed at its first use."""
        register = DecisionRegister(self.reader, self.trust)
        register.refresh()
        return register

    @cached_property
    def copies(self) -> Copies:
        """The copies of bundles that the log knows of."""
        return Copies(LogReader(self.places.evidence))

    @cached_property
    def access(self) -> Access:
        """People, keys, grants, budgets and policies."""
        return Access(
            AccessStore(open_database(sqlite_url(self.places.database))),
            self.clock,
            hash_key=keys.hash_key(self.places),
            policies=PolicyBook(self.places.policies),
        )

    def record(self, entry: Entry) -> Recorded:
        """Make one entry durable.

        Raises Unavailable: it cannot be recorded, and so must not happen.
        """
        return self.log.append([entry])[0]


def open_workspace(places: Places, clock: Clock | None = None) -> Workspace:
    """The workspace at `places`.

    Raises NotFound, Invalid: there is none, or its configuration is wrong.
    """
    return Workspace(places, load_config(places.config), clock or SystemClock())


def make_workspace(
    root: Path,
    *,
    origin: str = "dutchdoor.example/workspace",
    approvers: Sequence[str] = APPROVERS_DEFAULT,
    auditors: Sequence[str] = AUDITORS_DEFAULT,
    approvals_min: int = APPROVALS_MIN_DEFAULT,
    port: int = 8400,
    clock: Clock | None = None,
) -> Workspace:
    """A new workspace in `root`: configuration, policies, keys, an open log.

    Raises Refused: there is one already. Raises Invalid: the approvers or the origin.
    """
    places = Places(root.resolve())
    _check(places, origin, approvers, approvals_min)
    places.root.mkdir(parents=True, exist_ok=True)
    for folder in (places.policies, places.bundles, places.audits, places.release):
        folder.mkdir(exist_ok=True)
    (places.root / ".gitignore").write_text(IGNORE)
    install_default_policies(places.policies)
    create_folder(places.keyring)
    log_key = create_signing_key(places.keyring / "log.key", "log")
    holder = create_signing_key(places.keyring / "holder.key", "holder")
    create_secret(keys.access_key_path(places), "access")
    signers = [create_signing_key(keys.approver_path(places, name), name) for name in approvers]
    audit_signers = [create_signing_key(keys.auditor_path(places, n), n) for n in auditors]
    trust = Trust(
        log_origin=origin,
        log_key=log_key.public_key,
        holder={key_id(holder.public_key): holder.public_key},
        approvers={key_id(s.public_key): s.public_key for s in signers},
        approvals_min=approvals_min,
        auditors={key_id(s.public_key): s.public_key for s in audit_signers},
    )
    save_trust(places.trust, trust)
    # Approvals may come back from machines whose keys are not here: the names stay.
    Names(places.release).learn({key_id(s.public_key): s.name for s in signers})
    clock = clock or SystemClock()
    Log.create(places.evidence, log_key, origin, clock)
    upgrade(sqlite_url(places.database))
    # The configuration comes last: without it the folder is no workspace, and init can be run again
    # after the half-made one is removed.
    text = CONFIG_TEMPLATE.format(origin=origin, port=port)
    (places.root / CONFIG_NAME).write_text(text)
    workspace = open_workspace(places, clock)
    digest = PolicyBook(places.policies).current.version
    workspace.record(Entry(EntryKind.POLICY_LOADED, clock.now_ms(), {"policies": digest}))
    return workspace


def upgrade_workspace(places: Places) -> str:
    """Bring the database of an older workspace to this program's schema; the schema's revision.

    Raises Invalid: the schema is newer than this program. Raises Unavailable: it cannot be written.
    """
    return upgrade(sqlite_url(places.database))


def _check(places: Places, origin: str, approvers: Sequence[str], approvals_min: int) -> None:
    if places.config.exists() or places.keyring.exists():
        message = f"there is a workspace in {places.root} already"
        raise Refused(message, code="workspace_exists", hint="choose another folder")
    if len(set(approvers)) != len(approvers) or not approvals_min <= len(approvers):
        message = f"{approvals_min} approvals need as many different approvers"
        raise Invalid(message, code="bad_approvers", hint="name each with --approver NAME")
    if approvals_min < 2:
        message = "a decision takes at least two approvers"
        raise Invalid(message, code="bad_approvers", hint="give --approvals 2 or more")
    if not origin or any(char.isspace() or char in '+"\\' for char in origin):
        hint = "write it like a URL without a scheme: models.example/workspace"
        raise Invalid(f"'{origin}' cannot name a log", code="bad_origin", hint=hint)
