"""`dutchdoor.toml`: one file, one dataclass a section, each setting named, unknown keys refused.

`docs/reference/configuration.md` lists every setting with its default and with what whoever
changes it can do. The environment is read for the locations of secrets only.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "CONFIG_NAME",
    "Config",
    "EvidenceConfig",
    "GuardConfig",
    "LimitsConfig",
    "Places",
    "ReleaseConfig",
    "RuntimeConfig",
    "ServerConfig",
    "find_workspace",
    "load_config",
    "missing_hint",
]

CONFIG_NAME = "dutchdoor.toml"
CONFIG_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class EvidenceConfig:
    """Section `[evidence]`: the log's name and its group commit."""

    origin: str = "dutchdoor.example/workspace"
    batch_entries_max: int = 4096
    queue_entries_max: int = 16_384


@dataclass(frozen=True)
class ServerConfig:
    """Section `[server]`: where the gateway listens. Loopback unless somebody decides otherwise."""

    host: str = "127.0.0.1"
    port: int = 8400
    workers: int = 1


@dataclass(frozen=True)
class RuntimeConfig:
    """Section `[runtime]`: the protected process.

    engine: `transformers`. dtype: `auto`, `float32` or `bfloat16`. require: hardening without which
    the runtime refuses to start, from the names in `docs/security/runtime.md`. tpm: how tpm2-tools
    reach this machine's TPM, for decisions that demand grade `tpm`; empty: the kernel's device.
    """

    engine: str = "transformers"
    dtype: str = "auto"
    threads: int = 2
    batch_requests_max: int = 8
    start_s_max: int = 300
    require: tuple[str, ...] = ("not_dumpable", "no_core", "no_new_privileges")
    tpm: str = ""


@dataclass(frozen=True)
class GuardConfig:
    """Section `[guard]`: the rule file and what a blocking grant holds back."""

    rules: str = ""
    hold_back_tokens: int = 0


@dataclass(frozen=True)
class ReleaseConfig:
    """Section `[release]`: the deployment profile that every decision must be made under.

    profile: its name, as `dutchdoor release profiles` lists it; empty: each proposal says it.
    """

    profile: str = ""


@dataclass(frozen=True)
class LimitsConfig:
    """Section `[limits]`: what one request and one gateway may ask for at most."""

    request_bytes_max: int = 1 << 20
    prompt_tokens_max: int = 2048
    completion_tokens_max: int = 512
    completion_tokens_default: int = 256
    requests_at_once_max: int = 64
    top_logprobs_max: int = 20
    stops_max: int = 4
    choices_max: int = 1
    request_s_max: int = 300


@dataclass(frozen=True)
class Config:
    """The whole of `dutchdoor.toml`."""

    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    release: ReleaseConfig = field(default_factory=ReleaseConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True)
class Places:
    """Where things lie in a workspace; the only code that spells these names."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / CONFIG_NAME

    @property
    def policies(self) -> Path:
        return self.root / "policies"

    @property
    def keyring(self) -> Path:
        return self.root / "keyring"

    @property
    def trust(self) -> Path:
        return self.root / "trust.json"

    @property
    def evidence(self) -> Path:
        return self.root / "evidence"

    @property
    def content(self) -> Path:
        """What grants with content mode `full` let the holder keep; never part of the log."""
        return self.root / "content"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def inventory(self) -> Path:
        """Which files went into each bundle, by name: what its manifest hides."""
        return self.root / "inventory"

    @property
    def meters(self) -> Path:
        """What left each bundle's runtime today; outlives the runtime, so not below `run`."""
        return self.root / "meters"

    @property
    def audits(self) -> Path:
        return self.root / "audits"

    @property
    def release(self) -> Path:
        return self.root / "release"

    @property
    def profiles(self) -> Path:
        """Deployment profiles of the workspace's own, beside those that ship."""
        return self.root / "profiles"

    @property
    def incidents(self) -> Path:
        """What happened in each incident; the log holds the digests only."""
        return self.root / "incidents"

    @property
    def database(self) -> Path:
        return self.root / "state.db"

    @property
    def desk(self) -> Path:
        """Requests that came to a custodian over HTTP, and the answers to them; nothing secret."""
        return self.root / "desk"

    @property
    def openings(self) -> Path:
        """Ceremonies that wait for custodians; each ends with the process that waits."""
        return self.run / "openings"

    @property
    def run(self) -> Path:
        """Sockets and `gateway.json` of the running servers; safe to delete when none runs."""
        return self.root / "run"


def find_workspace(start: Path) -> Places:
    """The workspace at `start` or in the nearest folder above that has a `dutchdoor.toml`.

    Raises NotFound: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / CONFIG_NAME).is_file():
            return Places(folder)
    raise NotFound(
        f"no {CONFIG_NAME} in {start} or above",
        code="no_workspace",
        hint="make a workspace with 'dutchdoor init', or name one with --workspace DIR",
    )


def missing_hint(folder: Path, what: str) -> str:
    """What to do where `what` is missing in the workspace `folder`.

    A folder with a configuration was a whole workspace once: what is missing there was lost, and
    making it anew would hide that.
    """
    if (folder / CONFIG_NAME).is_file():
        return (
            f"this workspace has lost {what}: stop what runs here and restore it from a backup; "
            "do not run 'dutchdoor init' in its place"
        )
    return "make a workspace first: dutchdoor init"


def load_config(path: Path) -> Config:
    """The configuration in `path`.

    Raises NotFound: no such file. Invalid: not TOML, an unknown section or key, or a value of the
    wrong type.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        hint = "make a workspace with 'dutchdoor init'"
        raise NotFound(f"{path} does not exist", code="no_workspace", hint=hint) from error
    if len(data) > CONFIG_BYTES_MAX:
        raise Invalid(f"{path} is larger than {CONFIG_BYTES_MAX} bytes", code="bad_config")
    try:
        value = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not TOML: {error}", code="bad_config") from error
    return _read(Config, value, "")


_Section = TypeVar("_Section")


def _read(cls: type[_Section], value: Any, where: str) -> _Section:
    if not isinstance(value, dict):
        raise Invalid(f"[{where}] must be a section", code="bad_config")
    hints = get_type_hints(cls)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        known = ", ".join(sorted(hints))
        message = f"unknown setting '{unknown[0]}' in [{where or 'top level'}]"
        raise Invalid(message, code="bad_config", hint=f"known here: {known}")
    return cls(
        **{
            name: _value(hints[name], item, f"{where}.{name}".lstrip("."))
            for name, item in value.items()
        }
    )


def _value(kind: Any, item: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _read(kind, item, where)
    if kind == tuple[str, ...]:
        if isinstance(item, list) and all(isinstance(part, str) for part in item):
            return tuple(item)
    elif isinstance(item, kind) and not isinstance(item, bool) and not (kind is int and item < 0):
        return item
    raise Invalid(f"{where} has a value of the wrong kind", code="bad_config")
