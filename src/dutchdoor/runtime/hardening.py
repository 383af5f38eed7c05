"""What the process does to itself before any secret reaches it, by name.

    own_network         a network namespace with nothing in it (`isolation.py`)
    memory_locked       no page of it is swapped to a disk, where the limit allows it
    no_capabilities     root, too, is an ordinary user from here on
    not_dumpable        no core, no ptrace, no /proc/PID/mem for another process of the same user
    no_core             core files of no size, should it become dumpable after all
    no_new_privileges   no setuid program or file capability gives it more rights
    no_exec_remap       no memory is writable and then executable; slows torch, so only if required
    seccomp_no_network  no new socket, program, process or debugger (`seccomp.py`)
    landlock            reads a few named places, writes nowhere (`landlock.py`)

None of this holds against root or the kernel. `docs/security/runtime.md` says what it buys.
"""

from __future__ import annotations

import ctypes
import os
import resource
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dutchdoor.errors import DutchdoorError, Invalid, Unavailable
from dutchdoor.runtime.isolation import drop_capabilities, enter_own_network, lock_memory
from dutchdoor.runtime.landlock import confine
from dutchdoor.runtime.seccomp import install_filter

__all__ = ["NAMES", "Hardening", "attempt", "harden", "installed_paths", "put_on"]

NAMES = (
    "own_network",
    "memory_locked",
    "not_dumpable",
    "no_core",
    "no_new_privileges",
    "no_exec_remap",
    "no_capabilities",
    "landlock",
    "seccomp_no_network",
)
"""In the order in which they are put on: the first two need rights that the later ones take away,
Landlock needs to open paths, seccomp comes last."""

_ONLY_IF_REQUIRED = frozenset({"no_exec_remap"})
_PR_SET_DUMPABLE, _PR_GET_DUMPABLE = 4, 3
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN = 65, 1


class Hardening(NamedTuple):
    """What holds now, by name, and why the rest does not: a sentence and what to do, by name."""

    got: tuple[str, ...]
    missing: Mapping[str, tuple[str, str]]


def harden(require: Sequence[str], readable: Iterable[Path]) -> tuple[str, ...]:
    """Puts on everything the kernel has; gives the names of what holds now. Cannot be undone.

    require: names without which this raises. readable: what stays readable where Landlock is.
    Call it before there is a second thread and before there is a secret.
    Raises Invalid: an unknown name. Raises Unavailable: something required is not to be had.
    """
    return attempt(require, readable).got


def attempt(require: Sequence[str], readable: Iterable[Path]) -> Hardening:
    """As `harden`, and says why each missing one is missing. Raises as `harden`."""
    unknown = sorted(set(require) - set(NAMES))
    if unknown:
        message = f"there is no hardening named {unknown[0]!r}"
        raise Invalid(message, code="bad_config", hint=f"known: {', '.join(NAMES)}")
    readable = tuple(readable)
    got: list[str] = []
    missing: dict[str, tuple[str, str]] = {}
    steps: dict[str, Callable[[], None]] = {
        "own_network": enter_own_network,
        "memory_locked": lock_memory,
        "not_dumpable": _not_dumpable,
        "no_core": _no_core,
        "no_new_privileges": _no_new_privileges,
        "no_exec_remap": _no_exec_remap,
        "no_capabilities": lambda: drop_capabilities(keep_lock="memory_locked" in got),
        "landlock": lambda: _landlock(readable),
        "seccomp_no_network": install_filter,
    }
    for name in NAMES:
        if name in _ONLY_IF_REQUIRED and name not in require:
            continue
        try:
            steps[name]()
        except (DutchdoorError, OSError, ValueError) as error:
            if name in require:
                message = f"{name} is required and is not to be had here: {error}"
                hint = "run on a kernel that has it, or decide to do without it in [runtime]"
                raise Unavailable(message, code="not_hardened", hint=hint) from error
            missing[name] = (str(error), error.hint if isinstance(error, DutchdoorError) else "")
        else:
            got.append(name)
    return Hardening(tuple(got), missing)


def put_on(name: str) -> None:
    """Puts on one that waits to be required. Raises OSError: the kernel does not have it."""
    assert name in _ONLY_IF_REQUIRED, "the others are put on together, in their order"
    _no_exec_remap()


def installed_paths() -> tuple[Path, ...]:
    """What Python and its libraries read while they run: code, never data of ours."""
    folders = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, *site.getsitepackages()]
    folders += [path for path in sysconfig.get_paths().values() if path]
    system = (
        "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/lib", "/lib64",
        "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom",
        "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
        "/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup",
        "/sys/kernel/mm/transparent_hugepage",
    )  # fmt: skip
    # The root folder and /usr as a prefix would open far more than code.
    paths = {Path(path) for path in folders if path and Path(path).is_absolute()}
    return tuple(sorted(paths - {Path("/"), Path("/usr"), Path("/usr/bin")})) + tuple(
        Path(path) for path in system
    )


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _not_dumpable() -> None:
    _prctl(_PR_SET_DUMPABLE, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Unavailable("the process is dumpable still", code="not_hardened")


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _no_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _no_exec_remap() -> None:
    _prctl(_PR_SET_MDWE, _MDWE_REFUSE_EXEC_GAIN)


def _landlock(readable: tuple[Path, ...]) -> None:
    tasks = Path("/proc/self/task")
    if tasks.is_dir() and len(list(tasks.iterdir())) != 1:
        message = "Landlock came too late: there is a second thread already"
        raise Unavailable(message, code="no_landlock")
    confine(readable, [Path("/dev/null")])
