"""A key's bytes are not where a debugger, a dump or a child would look for them."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.secret_memory import SecretMemory


def test_what_was_written_is_there_until_it_is_wiped() -> None:
    memory = SecretMemory(32)
    memory.view[:] = b"k" * 32
    assert bytes(memory.view) == b"k" * 32
    memory.wipe()
    assert bytes(memory.view) == bytes(32)


def test_a_view_outlives_the_object_and_sees_no_zeros_before_its_time() -> None:
    view = SecretMemory(32).view
    view[:] = b"x" * 32
    gc.collect()
    assert bytes(view) == b"x" * 32


def test_many_keys_come_and_go_within_the_limit_of_locked_memory() -> None:
    for _ in range(5_000):
        SecretMemory(32).view[:] = b"x" * 32
    gc.collect()
    kinds = {SecretMemory(32).kind for _ in range(8)}
    assert kinds <= {"secret", "locked", "plain"}
    assert len(kinds) == 1


def test_not_even_root_reads_a_key_through_the_kernel() -> None:
    """The child holds a key; this process, its parent, looks at that address."""
    program = """
import ctypes, sys
from dutchdoor.custody.secret_memory import SecretMemory
memory = SecretMemory(32)
memory.view[:] = b"K" * 32
print(memory.kind, ctypes.addressof(ctypes.c_char.from_buffer(memory._map)), flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        kind, address = process.stdout.readline().decode().split()
        try:
            if kind != "secret":
                pytest.skip(f"this kernel gives only {kind} memory")
            with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as file:
                try:
                    found = os.pread(file.fileno(), 32, int(address))
                except OSError:
                    found = b""
        except PermissionError:
            found = b""
        finally:
            process.kill()
    assert found == b"", "the key was read"


def test_a_content_key_lives_in_it_and_is_forgotten_on_request() -> None:
    key = ContentKey(bytes(range(32)))
    assert bytes(key.reveal()) == bytes(range(32))
    key.wipe()
    assert bytes(key.reveal()) == bytes(32)
