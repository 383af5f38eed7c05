"""What a hardened process cannot do any more, tried from inside and from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.errors import Unavailable
from dutchdoor.runtime.hardening import NAMES, harden
from dutchdoor.runtime.landlock import landlock_version
from dutchdoor.runtime.seccomp import FILTER_ARCHITECTURES, compile_filter

NOBODY = 65534


def inside(code: str, *, require: tuple[str, ...] = ()) -> Any:
    """What `code` puts into `result`, run in a process that has hardened itself."""
    program = f"""
import ctypes, errno, json, os, socket, sys
from pathlib import Path
from dutchdoor.runtime.hardening import harden, installed_paths
def tried(action):
    try:
        value = action()
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")
    except ValueError:  # as the module resource says EPERM
        return "EPERM"
    return "done"
names = harden({require!r}, installed_paths())
{textwrap.dedent(code)}
print(json.dumps(result))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_it_says_what_it_got() -> None:
    names = inside("result = names")
    assert {"not_dumpable", "no_core", "no_new_privileges", "seccomp_no_network"} <= set(names)
    assert ("landlock" in names) == (landlock_version() > 0)
    assert "no_exec_remap" not in names, "only where it is required"


def test_no_new_socket_reaches_anybody() -> None:
    result = inside(
        """
        pair = socket.socketpair()
        result = {
            "tcp": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
            "udp": tried(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)),
            "unix": tried(lambda: socket.socket(socket.AF_UNIX)),
            "netlink": tried(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
            "datagrams": tried(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
            "connect": tried(lambda: pair[0].connect("/tmp/anything")),
            "bind": tried(lambda: pair[0].bind("/tmp/anything")),
            "pair": tried(lambda: pair[0].send(b"x")),
        }
        """
    )
    assert result.pop("pair") == "done"
    assert set(result.values()) == {"EPERM"}, result


def test_it_has_a_network_of_its_own_with_nothing_in_it() -> None:
    result = inside(
        """
        with open("/proc/self/net/dev") as file:
            devices = [line.split(":")[0].strip() for line in file][2:]
        result = [names, os.readlink("/proc/self/ns/net"), devices]
        """
    )
    if "own_network" not in result[0]:
        pytest.skip("this host lets nobody make a network namespace")
    assert result[1] != str(Path("/proc/self/ns/net").readlink())
    assert set(result[2]) <= {"lo", "sit0", "tunl0", "ip6tnl0", "gre0"}, "made by the kernel"


def test_nothing_is_left_of_roots_privileges() -> None:
    result = inside(
        """
        with open("/proc/self/status") as file:
            rows = dict(line.rstrip().partition(":\\t")[::2] for line in file)
        result = [names, rows["CapEff"], rows["CapPrm"], rows["CapInh"], rows["VmLck"]]
        """
    )
    names, *held, locked = result
    lock_only = 1 << 14 if "memory_locked" in names else 0
    assert "no_capabilities" in names
    assert all(int(text, 16) & ~lock_only == 0 for text in held)
    assert (int(locked.split()[0]) > 0) == ("memory_locked" in names)


def test_locked_memory_can_grow_beyond_any_limit_or_is_not_claimed() -> None:
    result = inside(
        """
        import mmap
        def grow():
            with mmap.mmap(-1, 256 << 20) as memory:
                memory[0] = memory[-1] = 1
        result = tried(grow)
        """
    )
    assert result == "done"


def test_no_program_no_process_no_debugger() -> None:
    result = inside(
        """
        import resource, subprocess, threading
        libc = ctypes.CDLL(None, use_errno=True)
        def call(*arguments):
            if libc.syscall(*arguments) < 0:
                raise OSError(ctypes.get_errno(), "")
        thread = threading.Thread(target=lambda: None)
        thread.start(); thread.join()
        result = {
            "execve": tried(lambda: os.execv("/bin/true", ["true"])),
            "fork": tried(os.fork),
            "subprocess": tried(lambda: subprocess.run(["/bin/true"])),
            "ptrace": tried(lambda: call(101, 16, os.getppid(), 0, 0)),
            "io_uring": tried(lambda: call(425, 1, ctypes.create_string_buffer(256))),
            "dumpable": tried(lambda: call(157, 4, 1, 0, 0, 0)),
            "core": tried(lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
            "read limit": tried(lambda: resource.getrlimit(resource.RLIMIT_CORE)),
        } if os.uname().machine == "x86_64" else None
        """
    )
    if result is None:
        pytest.skip("system call numbers of x86_64")
    assert result.pop("read limit") == "done"
    assert set(result.values()) == {"EPERM"}, result


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
def test_it_reads_code_and_writes_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    result = inside(
        f"""
        secret = Path({str(secret)!r})
        result = {{
            "read": tried(secret.read_bytes),
            "write": tried(lambda: secret.write_bytes(b"y")),
            "make": tried(lambda: Path({str(tmp_path / "new")!r}).write_bytes(b"y")),
            "temporary": tried(lambda: Path("/tmp/dutchdoor-test").write_bytes(b"y")),
            "shared memory": tried(lambda: Path("/dev/shm/dutchdoor-test").write_bytes(b"y")),
            "folder": tried(lambda: os.listdir({str(tmp_path)!r})),
            "remove": tried(secret.unlink),
            "passwords": tried(Path("/etc/passwd").read_bytes),
            "parent": tried(Path(f"/proc/{{os.getppid()}}/environ").read_bytes),
            "code": tried(Path(json.__file__).read_bytes),
        }}
        """
    )
    assert result.pop("code") == "done"
    assert set(result.values()) == {"EACCES"}, result
    assert secret.read_text() == "x"


SWITCH = f"""
import ctypes, os
if os.getuid() == 0:
    os.setgid({NOBODY}); os.setuid({NOBODY})
    # Changing the user made the process undumpable already; undo that, to see what we do.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
"""Root reads everything: the tests of what another process may read run as somebody else."""


@contextmanager
def waiting(*, hardened: bool) -> Iterator[int]:
    """A process that could hold a secret in its memory."""
    step = "harden((), paths)" if hardened else "pass"
    program = f"""
import sys
from dutchdoor.runtime.hardening import harden, installed_paths
paths = installed_paths()
{SWITCH}
{step}
print("ready", flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


@pytest.mark.parametrize("hardened", [False, True])
def test_another_process_of_the_same_user_cannot_read_its_memory(*, hardened: bool) -> None:
    with waiting(hardened=hardened) as pid:
        program = f"""
{SWITCH}
def tried(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except PermissionError:
        return "refused"
    return "done"
print(tried("/proc/{pid}/mem"), tried("/proc/{pid}/environ"))
"""
        argv = [sys.executable, "-c", program]
        run = subprocess.run(argv, capture_output=True, text=True, check=True)
    # The unhardened one shows that the test would see it.
    assert run.stdout.split() == (["refused"] * 2 if hardened else ["done"] * 2)


def test_torch_still_computes_under_everything() -> None:
    result = inside(
        """
        import threading
        import torch
        torch.set_num_threads(2)
        found = []
        def work():
            for dtype in (torch.float32, torch.bfloat16):
                x = torch.ones(64, 512, dtype=dtype)
                found.append(float((x @ x.T).float().mean()))
        thread = threading.Thread(target=work)
        thread.start(); thread.join()
        result = found
        """
    )
    assert result == [512.0, 512.0]


def test_without_writable_code_float32_still_computes() -> None:
    result = inside(
        """
        import torch
        from dutchdoor.runtime.transformers_engine.loading import pick_dtype
        dtype = pick_dtype("auto", makes_code=False)
        x = torch.ones(64, 512, dtype=dtype)
        result = [names, str(dtype), float((x @ x.T).mean())]
        """,
        require=("no_exec_remap",),
    )
    assert "no_exec_remap" in result[0]
    assert result[1:] == ["torch.float32", 512.0]


def test_what_is_required_and_not_to_be_had_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> None:
        raise Unavailable("the kernel has none", code="no_seccomp")

    # Only the last step is missing, and nothing before it may be put on in this process.
    import dutchdoor.runtime.hardening as module

    own = ("_not_dumpable", "_no_core", "_no_new_privileges")
    monkeypatch.setattr(module, "drop_capabilities", lambda **_keep: None)
    for name in (*own, "enter_own_network", "lock_memory"):
        monkeypatch.setattr(module, name, lambda: None)
    monkeypatch.setattr(module, "_landlock", lambda _readable: None)
    monkeypatch.setattr(module, "install_filter", missing)
    with pytest.raises(Unavailable) as caught:
        harden(("seccomp_no_network",), [])
    assert caught.value.code == "not_hardened"
    assert "seccomp_no_network" not in harden((), [])


def test_a_filter_is_known_for_both_machines_and_no_other() -> None:
    for machine in FILTER_ARCHITECTURES:
        assert len(compile_filter(machine)) % 8 == 0
        assert 50 < len(compile_filter(machine)) // 8 < 4096
    with pytest.raises(Unavailable):
        compile_filter("vax")
    assert len(set(NAMES)) == len(NAMES)
