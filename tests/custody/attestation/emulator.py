"""A real TPM 2.0 in software: swtpm, one to a test session, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dutchdoor.custody.attestation.tpm_tools import Tpm

NEEDED = ("swtpm", "tpm2_quote", "tpm2_createak", "tpm2_pcrextend")
ABSENT = [name for name in NEEDED if shutil.which(name) is None]
needs_swtpm = pytest.mark.skipif(
    bool(ABSENT), reason=f"no TPM to try it with: install swtpm and tpm2-tools ({ABSENT})"
)
START_S_MAX = 10.0


@contextmanager
def emulated_tpm(folder: Path) -> Iterator[str]:
    """How to reach a TPM that lives in `folder`, a short path, while this is open."""
    socket = folder / "s"
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"]
    command += ["--server", f"type=unixio,path={socket}"]
    command += ["--ctrl", f"type=unixio,path={socket}.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + START_S_MAX
        while not socket.exists():
            assert process.poll() is None, "swtpm did not start"
            assert time.monotonic() < end_s, "swtpm does not listen"
            time.sleep(0.02)
        yield f"swtpm:path={socket}"
    finally:
        process.kill()
        process.wait()


def extend(tcti: str, register: int, digest: str) -> None:
    """Measure one more thing into a register, as firmware does."""
    subprocess.run(
        ["tpm2_pcrextend", f"{register}:sha256={digest}"],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": tcti, "TSS2_LOG": "all+NONE"},
    )


def tpm_at(tcti: str) -> Tpm:
    """The TPM, through our own tools."""
    return Tpm(tcti)
