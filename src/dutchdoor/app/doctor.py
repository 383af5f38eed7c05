"""What this host gives: tried, not assumed. Nothing here changes the host."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.app.attesting import this_tpm
from dutchdoor.app.bundles import bundle_names, find_bundle
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Config
from dutchdoor.custody.secret_memory import SecretMemory
from dutchdoor.errors import DutchdoorError
from dutchdoor.release.enforcement.compare import days_to_leave
from dutchdoor.runtime.hardening import NAMES

__all__ = ["Finding", "examine", "examine_workspace"]

PROBE_S_MAX = 60.0
COMPRESSION = 16
"""To what part of their size a thief could bring weights before carrying them out; published are
16 to 100. Source: arXiv 2601.01296."""
_BUYS = {
    "own_network": "the runtime has no network at all",
    "memory_locked": "weights and prompts are never written to swap",
    "not_dumpable": "no other process of the user reads its memory",
    "no_core": "no core file holds weights",
    "no_new_privileges": "no setuid program gives it more rights",
    "no_exec_remap": "no memory is written and then executed; only where it is required",
    "no_capabilities": "also root's runtime is an ordinary user",
    "landlock": "it reads a few named places and writes nowhere",
    "seccomp_no_network": "no new socket, program, process or debugger",
}
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_CONFIDENTIAL = {"/dev/sev-guest": "AMD SEV-SNP", "/dev/tdx_guest": "Intel TDX"}


@dataclass(frozen=True)
class Finding:
    """One thing. group: `hardening`, `keys`, `host` or `egress`. there: None where it only informs.

    what: what it buys, or what was found. why: it is missing, "" where it is there. hint: what to
    do about it.
    """

    group: str
    name: str
    there: bool | None
    what: str
    why: str = ""
    hint: str = ""


def examine(config: Config | None = None) -> tuple[Finding, ...]:
    """Every finding about this host, in a fixed order. config: says how the TPM is reached."""
    return (*_hardening(), _key_memory(), _swap(), _tpm(config or Config()), _tee(), *_speed())


def examine_workspace(workspace: Workspace) -> tuple[Finding, ...]:
    """For each bundle, how long carrying it out through the door takes at the decided rate."""
    return tuple(_egress(workspace, name) for name in bundle_names(workspace.places))


def _hardening() -> list[Finding]:
    argv = [sys.executable, "-I", "-m", "dutchdoor.runtime.probing"]
    try:
        ran = subprocess.run(
            argv, capture_output=True, timeout=PROBE_S_MAX, check=True, stdin=subprocess.DEVNULL
        )
        found = json.loads(ran.stdout)
        got, missing = set(found["got"]), dict(found["missing"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        got, missing = set(), {}
    rows = []
    for name in NAMES:
        why, hint = missing.get(name, ("", ""))
        if name not in got and not why:
            why = "the process that tried it did not come to an end"
        rows.append(Finding("hardening", name, name in got, _BUYS[name], why, hint))
    return rows


def _key_memory() -> Finding:
    kind, what = SecretMemory(32).kind, "keys lie where not even root reads them through the kernel"
    why = "" if kind == "secret" else f"the kernel gives only {kind} memory"
    hint = "" if kind == "secret" else "Linux 5.14 or newer, booted with secretmem.enable=1"
    return Finding("keys", "secret_memory", kind == "secret", what, why, hint)


def _swap() -> Finding:
    rows = _read(Path("/proc/swaps")).splitlines()[1:]
    what = "nothing of any process is written to a disk"
    why = f"swap is on: {rows[0].split()[0]}" if rows else ""
    hint = "swapoff -a, or encrypt it; memory_locked makes up for it" if rows else ""
    return Finding("host", "no_swap", not rows, what, why, hint)


def _tpm(config: Config) -> Finding:
    what = "decisions that demand grade tpm can be met"
    try:
        why, hint = this_tpm(config).missing(), "a TPM 2.0 and the package tpm2-tools"
    except DutchdoorError as error:
        why, hint = error.message, error.hint
    return Finding("host", "tpm", not why, what, why, hint if why else "")


def _tee() -> Finding:
    found = [name for path, name in _CONFIDENTIAL.items() if Path(path).exists()]
    what = found[0] if found else "a machine whose memory its host cannot read"
    why = "" if found else "there is neither /dev/sev-guest nor /dev/tdx_guest"
    hint = "" if found else "run in a confidential virtual machine; this version makes no report"
    return Finding("host", "tee", bool(found), what, why, hint)


def _speed() -> list[Finding]:
    flags = set(_read(Path("/proc/cpuinfo")).split())
    fast = "vaes" in flags and "vpclmulqdq" in flags
    slow = "" if fast else "no vector instructions for AES: opening takes two to five times longer"
    pages = _read(_HUGE_PAGES)
    huge = "[madvise]" in pages or "[always]" in pages
    hint = "" if huge else f"echo madvise > {_HUGE_PAGES}"
    why = "" if huge else "huge pages are off: first touches cost more than decryption"
    return [
        Finding("host", "fast_aes", fast, "weights are decrypted near the speed of copying", slow),
        Finding("host", "huge_pages", huge, "the same, into fresh memory", why, hint),
    ]


def _egress(workspace: Workspace, name: str) -> Finding:
    try:
        bundle = find_bundle(workspace, name)
        now_ms = workspace.clock.now_ms()
        decision = workspace.register.in_force(bundle.digest, now_ms).decision
    except DutchdoorError as error:
        return Finding("egress", name, None, error.message, hint=error.hint)
    size, most = bundle.manifest.sealed_bytes, decision.terms.runtime.egress_bytes_day_max
    if not most:
        why = f"no limit on what leaves a day: all {size} bytes may leave at once"
        hint = "decide with terms.runtime.egress_bytes_day_max"
        return Finding("egress", name, there=False, what="a limit a day", why=why, hint=hint)
    days = days_to_leave(size, most)
    told = f"{most} bytes may leave a day: all {size} bytes of it take {days} days"
    told += f", {days_to_leave(size // COMPRESSION, most)} at {COMPRESSION} times compressed"
    return Finding("egress", name, there=True, what=told)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
