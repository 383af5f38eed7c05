"""Records `fixtures/quotes.json`: real quotes of real (emulated) TPMs, to verify where none is.

    python -m tests.custody.attestation.record

Needs swtpm and tpm2-tools. What it writes is different each time and verifies the same.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from dutchdoor.clock import FixedClock
from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.tpm_tools import REGISTERS_DEFAULT, Tpm, TpmEvidence
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.custody.opening import Opening
from dutchdoor.evidence.hosts import Host
from dutchdoor.ids import BundleDigest
from tests.custody.attestation.emulator import emulated_tpm, extend

PATH = Path(__file__).parent / "fixtures" / "quotes.json"
BUNDLE = BundleDigest("sha256:" + "a" * 64)
HANDLES = {"ecdsa": 0x8101D00D, "rsassa": 0x8101D00E, "rsapss": 0x8101D00F}


def run(tcti: str, *arguments: str) -> None:
    """One program of tpm2-tools, then room in the TPM again."""
    environment = {"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": tcti, "TSS2_LOG": "all+NONE"}
    for command in (arguments, ("tpm2_flushcontext", "-t")):
        subprocess.run(command, check=True, capture_output=True, env=environment)


def rsa_key(tcti: str, scheme: str, folder: Path) -> None:
    """An RSA key of this scheme at its handle."""
    ek, ak = str(folder / "ek"), str(folder / "ak")
    run(tcti, "tpm2_createek", "-c", ek, "-G", "rsa")
    names = ["-u", str(folder / "u"), "-n", str(folder / "n")]
    run(
        tcti, "tpm2_createak", "-C", ek, "-c", ak, "-G", "rsa", "-g", "sha256", "-s", scheme, *names
    )
    run(tcti, "tpm2_evictcontrol", "-C", "o", "-c", ak, f"{HANDLES[scheme]:#x}")


def loose_key(tcti: str, folder: Path) -> bytes:
    """The TPMT_PUBLIC of a key that signs whatever it is given."""
    primary, public = str(folder / "primary"), folder / "loose"
    run(tcti, "tpm2_createprimary", "-C", "o", "-c", primary)
    parts = ["-u", str(public), "-r", str(folder / "private")]
    kind = ["-G", "ecc256:ecdsa-sha256:null", "-a", "fixedtpm|fixedparent|sensitivedataorigin|"]
    kind[-1] += "userwithauth|sign"
    run(tcti, "tpm2_create", "-C", primary, *kind, *parts)
    return public.read_bytes()[2:]


def new_request() -> OpenRequest:
    """A request to open, as a runtime makes it; its times count for the custodian alone."""
    return OpenRequest.decode(Opening(BUNDLE, FixedClock()).request)


def shown(host: Host, request: OpenRequest, evidence: bytes) -> dict[str, str]:
    """One row of the file."""
    texts = {"request": request.encode().decode(), "evidence": evidence.decode()}
    return {"host": host.id, **texts}


def main() -> None:
    """Write the file."""
    hosts: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        first, second, work = (Path(name) / part for part in "abw")
        for folder in (first, second, work):
            folder.mkdir()
        with emulated_tpm(first) as tcti, emulated_tpm(second) as other:
            extend(tcti, 4, "11" * 32)
            extend(other, 4, "11" * 32)
            for scheme in ("rsassa", "rsapss"):
                rsa_key(tcti, scheme, work)
            for scheme, handle in HANDLES.items():
                tpm = Tpm(tcti, handle)
                public = tpm.make_key() if scheme == "ecdsa" else tpm.public()
                host = Host("tpm", f"host-{scheme}", public, tpm.registers(REGISTERS_DEFAULT))
                hosts[host.id] = host
                request = new_request()
                evidence = TpmEvidence(tpm, {host.id: host}).show(request)
                rows[scheme] = shown(host, request, evidence)
            main_host = hosts[rows["ecdsa"]["host"]]
            tpm, stranger = Tpm(tcti), Tpm(other)
            request = new_request()
            thief = Host("tpm", "thief", stranger.make_key(), main_host.measurements)
            forged = HostEvidence.decode(TpmEvidence(stranger, {thief.id: thief}).show(request))
            forged = HostEvidence(main_host.id, forged.request, forged.measured, forged.parts)
            rows["other_key"] = shown(main_host, request, forged.encode())
            wide = Host("tpm", "wide", main_host.public, tpm.registers(("sha256:0", "sha256:4")))
            request = new_request()
            evidence = TpmEvidence(tpm, {wide.id: wide}).show(request)
            rows["fewer_registers"] = shown(main_host, request, evidence)
            extend(tcti, 7, "22" * 32)
            request = new_request()
            evidence = TpmEvidence(tpm, {main_host.id: main_host}).show(request)
            rows["other_boot"] = shown(main_host, request, evidence)
            loose = base64.b64encode(loose_key(tcti, work)).decode()
    value = {
        "hosts": {name: host.to_value() for name, host in hosts.items()},
        "loose_key": loose,
        "quotes": rows,
    }
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
