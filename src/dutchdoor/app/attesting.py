"""This machine's evidence for an opening, and which machines the holder enrolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dutchdoor import canonical
from dutchdoor.app import keys
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Config
from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.attestation.ports import HostEvidenceMaker
from dutchdoor.custody.attestation.tpm_tools import REGISTERS_DEFAULT, Tpm, TpmEvidence
from dutchdoor.custody.attestation.verify import check_host
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.hosts import Host, host_from_value
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust, parse_trust, save_trust

__all__ = [
    "describe_host",
    "enrol_host",
    "evidence_maker",
    "host_evidence",
    "read_host",
    "remove_host",
    "this_tpm",
]

DESCRIPTION_KIND = "host_description"
DESCRIPTION_BYTES_MAX = 65_536


def this_tpm(config: Config) -> Tpm:
    """This machine's TPM, as `[runtime]` says it is reached. Raises Invalid: not such a way."""
    return Tpm(config.runtime.tpm)


def evidence_maker(workspace: Workspace, decision: Decision) -> HostEvidenceMaker | None:
    """Who shows what this machine is, where `decision` asks for it and there is a TPM; or None.

    Without one the custodians see grade `software`, and refuse where more is demanded.
    """
    if decision.terms.custody.grade in {"", Grade.SOFTWARE}:
        return None
    tpm = this_tpm(workspace.config)
    return None if tpm.missing() else TpmEvidence(tpm, workspace.trust.hosts)


def host_evidence(workspace: Workspace, decision: Decision, request: OpenRequest) -> bytes:
    """This machine's evidence over `request`, b"" where `decision` asks for none or none is here.

    Raises Unavailable: the TPM does not answer. Raises NotFound: this machine is not enrolled.
    """
    maker = evidence_maker(workspace, decision)
    return b"" if maker is None else maker.show(request)


def describe_host(
    config: Config, name: str, registers: Sequence[str] = (), *, make_key: bool = True
) -> bytes:
    """What the holder enrols of this machine: its TPM's key and what its registers hold now.

    registers: names such as `sha256:7`; none for the usual four. make_key: where there is none yet.
    Raises Unavailable: there is no TPM, or it does not answer. Raises Invalid: a register's name.
    """
    tpm = this_tpm(config)
    if why := tpm.missing():
        message = f"this machine shows nothing of itself: {why}"
        raise NotFound(message, code="no_tpm", hint="see 'dutchdoor doctor'")
    public = tpm.make_key() if make_key else tpm.public()
    measured = tpm.registers(tuple(registers) or REGISTERS_DEFAULT)
    return encode_host(Host("tpm", name, public, measured))


def encode_host(host: Host) -> bytes:
    """The description's bytes, for a file that is carried to the holder."""
    value = {"kind": DESCRIPTION_KIND, "v": 1, "host_kind": host.kind, "host": host.to_value()}
    # Through the reader: what it would not take is not written either.
    host_from_value(host.kind, value["host"])
    return canonical.encode(value)


def read_host(path: Path) -> Host:
    """The host that a description's file (unverified) speaks of.

    Raises NotFound: no such file. Raises Invalid: not a description, or a key not to be believed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(DESCRIPTION_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(f"{path} cannot be read", code="no_file", hint="check the path") from error
    if len(data) > DESCRIPTION_BYTES_MAX:
        raise _no_description()
    value = canonical.parse(data.strip())
    fields = {"kind", "v", "host_kind", "host"}
    if not isinstance(value, dict) or set(value) != fields:
        raise _no_description()
    if (value["kind"], value["v"]) != (DESCRIPTION_KIND, 1):
        raise _no_description()
    try:
        host = host_from_value(str(value["host_kind"]), value["host"])
    except Invalid as error:
        raise _no_description() from error
    check_host(host)
    return host


def enrol_host(workspace: Workspace, host: Host, bundles: Sequence[str] = ()) -> Host:
    """Trust `host` to open `bundles` (digests; none for any), in the place of what it was before.

    Only with the holder's key here: whom a workspace trusts is the holder's to say. Custodians
    elsewhere need the new trust.json.
    Raises NotFound: no holder's key. Raises Refused: another holder's key. Raises Invalid.
    """
    _must_be_holder(workspace)
    chosen = replace(host, bundles=tuple(sorted(set(bundles))))
    check_host(chosen)
    _save(workspace, {**workspace.trust.hosts, chosen.id: chosen})
    return chosen


def remove_host(workspace: Workspace, host: str) -> None:
    """Trust the host with this id no more. Raises NotFound: it is none. Raises as `enrol_host`."""
    _must_be_holder(workspace)
    if host not in workspace.trust.hosts:
        hint = "see 'dutchdoor custody hosts'"
        raise NotFound(f"no host {host!a} is enrolled", code="unknown_host", hint=hint)
    _save(workspace, {name: row for name, row in workspace.trust.hosts.items() if name != host})


def _save(workspace: Workspace, hosts: dict[str, Host]) -> None:
    trust = replace(workspace.trust, hosts=hosts)
    save_trust(workspace.places.trust, parse_trust(encode_trust(trust)))


def _must_be_holder(workspace: Workspace) -> None:
    holder = keys.holder(workspace.places)
    if workspace.trust.holder.get(key_id(holder.public_key)) != holder.public_key:
        message = "the holder's key here is not the one in trust.json"
        raise Refused(message, code="not_the_holder", hint="run it where the holder's key is")


def _no_description() -> Invalid:
    hint = "it is made on the host: dutchdoor custody host-key"
    return Invalid("not the description of a host", code="bad_host", hint=hint)
