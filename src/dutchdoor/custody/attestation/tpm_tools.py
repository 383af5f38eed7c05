"""On the host: a key inside its TPM, and quotes by it, through the programs of tpm2-tools.

The TPM is reached through the programs, so that no native library is loaded beside the keys. What
they say is not believed here either: custodians verify the bytes.
Source: tpm2_createek(1), tpm2_createak(1), tpm2_evictcontrol(1), tpm2_quote(1), tpm2_pcrread(1).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.model import AttestationLimits
from dutchdoor.custody.attestation.tpm import check_key, check_registers
from dutchdoor.custody.attestation.tpm_wire import read_public
from dutchdoor.custody.attestation.verify import request_nonce
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.errors import Invalid, NotFound, Unavailable
from dutchdoor.evidence.hosts import Host

__all__ = ["REGISTERS_DEFAULT", "Tpm", "TpmEvidence"]

HANDLE_DEFAULT = 0x8101D00D
REGISTERS_DEFAULT = ("sha256:0", "sha256:2", "sha256:4", "sha256:7")
"""Firmware, its options, the boot loader, and the state of secure boot."""
_TOOLS = ("tpm2_createek", "tpm2_createak", "tpm2_evictcontrol", "tpm2_quote", "tpm2_pcrread")
_TCTI = re.compile(r"[A-Za-z0-9_-]{1,32}(?::[^\x00-\x1f]{1,500})?")
_BANK_BYTES = {"sha256": 32, "sha384": 48}


class Tpm:
    """One TPM, asked through tpm2-tools; for one thread at a time."""

    def __init__(self, tcti: str = "", handle: int = HANDLE_DEFAULT) -> None:
        """tcti: how to reach it, as tpm2-tools write it; "" for the kernel's resource manager.

        handle: where its key is kept, of the owner's persistent ones.
        Raises Invalid: not such a text or handle.
        """
        if (tcti and _TCTI.fullmatch(tcti) is None) or not 0x81000000 <= handle <= 0x817FFFFF:
            hint = "for instance device:/dev/tpmrm0, and a handle from 0x81000000 to 0x817fffff"
            raise Invalid("not a way to a TPM", code="bad_config", hint=hint)
        self._tcti = tcti or "device:/dev/tpmrm0"
        self._handle = f"{handle:#x}"

    def missing(self) -> str:
        """Why it cannot be asked, in a few words; "" where it can."""
        absent = [name for name in _TOOLS if shutil.which(name, path=_path()) is None]
        if absent:
            return f"{absent[0]} is not installed (package tpm2-tools)"
        device = self._tcti.removeprefix("device:")
        if device != self._tcti and not Path(device).exists():
            return f"there is no {device}"
        return ""

    def make_key(self) -> bytes:
        """A new restricted signing key under the endorsement key, kept; its TPMT_PUBLIC.

        Raises Unavailable: the TPM does not do it, for instance as the handle is taken.
        """
        with _folder() as folder:
            endorsement, context = folder / "ek", folder / "ak"
            self._run("tpm2_createek", "-c", str(endorsement), "-G", "rsa")
            self._flush()
            arguments = ["-C", str(endorsement), "-c", str(context), "-n", str(folder / "name")]
            kind = ["-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", str(folder / "public")]
            self._run("tpm2_createak", *arguments, *kind)
            self._flush()
            self._run("tpm2_evictcontrol", "-C", "o", "-c", str(context), self._handle)
            self._flush()
        return self.public()

    def public(self) -> bytes:
        """The TPMT_PUBLIC of the key that is kept.

        Raises Unavailable: there is none, or the TPM does not answer. Raises Invalid: it is of
        another kind.
        """
        with _folder() as folder:
            path = folder / "public"
            self._run("tpm2_readpublic", "-c", self._handle, "-o", str(path), "-f", "tss")
            data = _read(path)
        if len(data) < 2 or int.from_bytes(data[:2], "big") != len(data) - 2:
            raise _failed("tpm2_readpublic")
        check_key(data[2:])
        return data[2:]

    def registers(self, names: Sequence[str]) -> dict[str, str]:
        """The values of registers such as `sha256:7`, in hexadecimal, by these names."""
        banks = check_registers(dict.fromkeys(names, "0" * 64) | _long(names))
        values: dict[str, str] = {}
        with _folder() as folder:
            path = folder / "values"
            for bank, rows in banks.items():
                self._run("tpm2_pcrread", f"{bank}:{_numbers(rows)}", "-o", str(path))
                data, size = _read(path), _BANK_BYTES[bank]
                if len(data) != size * len(rows):
                    raise _failed("tpm2_pcrread")
                for place, number in enumerate(sorted(rows)):
                    values[f"{bank}:{number}"] = data[place * size : (place + 1) * size].hex()
        return values

    def quote(
        self, nonce: bytes, names: Sequence[str], scheme: str = "ecdsa"
    ) -> tuple[bytes, bytes]:
        """A quote over `nonce` of these registers, and its signature (TPMS_ATTEST, TPMT_SIGNATURE).

        scheme: of the key, as `read_public` says it.
        Raises Unavailable: the TPM does not answer.
        """
        banks = check_registers(dict.fromkeys(names, "0" * 64) | _long(names))
        chosen = "+".join(f"{bank}:{_numbers(rows)}" for bank, rows in banks.items())
        with _folder() as folder:
            message, signature = folder / "message", folder / "signature"
            arguments = ["-c", self._handle, "-l", chosen, "-q", nonce.hex(), "-g", "sha256"]
            arguments += ["--scheme", scheme]
            self._run("tpm2_quote", *arguments, "-m", str(message), "-s", str(signature))
            return _read(message), _read(signature)

    def _flush(self) -> None:
        # Without a resource manager a TPM has room for three objects.
        if not self._tcti.startswith("device:/dev/tpmrm"):
            self._run("tpm2_flushcontext", "-t")

    def _run(self, *arguments: str) -> None:
        program = shutil.which(arguments[0], path=_path())
        if program is None:
            message = f"{arguments[0]} is not installed"
            hint = "install the package tpm2-tools on this host"
            raise Unavailable(message, code="no_tpm", hint=hint)
        environment = {"PATH": _path(), "TPM2TOOLS_TCTI": self._tcti, "TSS2_LOG": "all+NONE"}
        try:
            ran = subprocess.run(
                [program, *arguments[1:]],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=AttestationLimits().tool_s_max,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(arguments[0]) from error
        if ran.returncode != 0:
            raise _failed(arguments[0], ran.stderr)


class TpmEvidence:
    """Implements `HostEvidenceMaker` with this host's TPM."""

    def __init__(self, tpm: Tpm, hosts: Mapping[str, Host]) -> None:
        """hosts: enrolled, by id; this one is found by its key."""
        self._tpm = tpm
        self._hosts = hosts

    def show(self, request: OpenRequest) -> bytes:
        """Evidence over `request`: a quote of the registers that this host was enrolled with.

        Raises Unavailable: the TPM does not answer. Raises NotFound: this host is not enrolled.
        """
        public = self._tpm.public()
        host = next((row for row in self._hosts.values() if row.public == public), None)
        if host is None:
            message = "the key of this host's TPM is not enrolled"
            hint = "dutchdoor custody host-key here, then enrol-host where the holder's key is"
            raise NotFound(message, code="host_not_enrolled", hint=hint)
        names = tuple(host.measurements)
        measured = self._tpm.registers(names)
        quoted, signature = self._tpm.quote(
            request_nonce(request), names, read_public(public).scheme
        )
        parts = {"quote": quoted, "signature": signature}
        return HostEvidence(host.id, request.digest, measured, parts).encode()


def _long(names: Sequence[str]) -> dict[str, str]:
    return {name: "0" * 96 for name in names if name.startswith("sha384:")}


def _numbers(rows: Mapping[int, str]) -> str:
    return ",".join(str(number) for number in sorted(rows))


def _path() -> str:
    return os.defpath + ":/usr/sbin:/sbin:/usr/local/bin"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dutchdoor-tpm-") as folder:
        yield Path(folder)


def _read(path: Path) -> bytes:
    limit = AttestationLimits().tool_output_bytes_max
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _failed(path.name) from error
    if len(data) > limit:
        raise _failed(path.name)
    return data


def _failed(program: str, said: bytes = b"") -> Unavailable:
    lines = said.decode("ascii", "replace").strip().splitlines()
    told = "".join(c for c in lines[0][:120] if c.isprintable()) if lines else "no answer"
    hint = f"what it said: {told}. See what this host has with 'dutchdoor doctor'"
    return Unavailable(f"the TPM does not answer: {program} failed", code="tpm_failed", hint=hint)
