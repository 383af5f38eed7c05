"""A quote is believed by exactly the enrolled key, over exactly this request, of this boot.

The quotes were recorded from real TPMs in software (`record.py`), so that they verify everywhere.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor import canonical
from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.attestation.tpm import check_key, check_registers
from dutchdoor.custody.attestation.tpm_wire import read_public, read_quote, read_signature
from dutchdoor.custody.attestation.verify import EnrolledHosts, check_host
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.errors import DutchdoorError, Invalid, Refused
from dutchdoor.evidence.hosts import Host, hosts_from_value

RECORDED = json.loads((Path(__file__).parent / "fixtures" / "quotes.json").read_text())
HOSTS = hosts_from_value(RECORDED["hosts"])


def recorded(name: str) -> tuple[OpenRequest, bytes, Host]:
    row = RECORDED["quotes"][name]
    request = OpenRequest.decode(row["request"].encode())
    return request, row["evidence"].encode(), HOSTS[row["host"]]


def refused(evidence: bytes, request: OpenRequest, hosts: dict[str, Host] | None = None) -> str:
    with pytest.raises((Refused, Invalid)) as caught:
        EnrolledHosts(HOSTS if hosts is None else hosts).verify(evidence, request)
    return caught.value.code


def changed(evidence: bytes, **parts: bytes) -> bytes:
    found = HostEvidence.decode(evidence)
    return replace(found, parts={**found.parts, **parts}).encode()


@pytest.mark.parametrize("scheme", ["ecdsa", "rsassa", "rsapss"])
def test_a_real_quote_over_the_request_gives_the_grade(scheme: str) -> None:
    request, evidence, host = recorded(scheme)
    check_host(host)
    attested = EnrolledHosts(HOSTS).verify(evidence, request)
    assert (attested.grade, attested.host) == (Grade.TPM, host.id)
    assert attested.evidence == "sha256:" + canonical.sha256_hex(evidence)


def test_another_boot_is_refused_and_the_register_named() -> None:
    request, evidence, _ = recorded("other_boot")
    with pytest.raises(Refused) as caught:
        EnrolledHosts(HOSTS).verify(evidence, request)
    assert caught.value.code == "host_not_as_enrolled"
    assert "sha256:7" in caught.value.message
    assert "sha256:0" not in caught.value.message


def test_registers_that_only_the_host_speaks_of_count_for_nothing() -> None:
    request, evidence, host = recorded("other_boot")
    lying = replace(HostEvidence.decode(evidence), measured=dict(host.measurements))
    assert refused(lying.encode(), request) == "host_not_as_enrolled"


def test_fewer_registers_than_enrolled_are_refused() -> None:
    request, evidence, _ = recorded("fewer_registers")
    assert refused(evidence, request) == "host_not_as_enrolled"


def test_more_registers_enrolled_than_quoted_are_refused() -> None:
    request, evidence, host = recorded("ecdsa")
    more = replace(host, measurements={**host.measurements, "sha256:8": "0" * 64})
    assert refused(evidence, request, {more.id: more}) == "host_not_as_enrolled"


def test_a_quote_is_not_replayed_for_another_request() -> None:
    request, evidence, _ = recorded("ecdsa")
    other = replace(request, nonce="0" * 64)
    assert refused(evidence, other) == "evidence_replayed"
    relabelled = replace(HostEvidence.decode(evidence), request=other.digest)
    assert refused(relabelled.encode(), other) == "evidence_replayed"


def test_a_request_with_another_runtimes_key_has_no_quote() -> None:
    request, evidence, _ = recorded("ecdsa")
    stolen = replace(request, public_key=request.public_key[::-1])
    relabelled = replace(HostEvidence.decode(evidence), request=stolen.digest)
    assert refused(relabelled.encode(), stolen) == "evidence_replayed"


def test_a_quote_by_another_tpm_under_this_hosts_name_is_refused() -> None:
    request, evidence, _ = recorded("other_key")
    assert refused(evidence, request) == "evidence_not_signed"


def test_a_host_that_nobody_enrolled_is_refused() -> None:
    request, evidence, _ = recorded("ecdsa")
    assert refused(evidence, request, {}) == "unknown_host"


def test_a_host_opens_only_the_bundles_it_was_enrolled_for() -> None:
    request, evidence, host = recorded("ecdsa")
    elsewhere = replace(host, bundles=("sha256:" + "b" * 64,))
    assert refused(evidence, request, {host.id: elsewhere}) == "unknown_host"
    here = replace(host, bundles=(str(request.bundle),))
    assert EnrolledHosts({host.id: here}).verify(evidence, request).grade is Grade.TPM


def test_a_key_that_signs_what_others_made_up_is_never_enrolled() -> None:
    loose = base64.b64decode(RECORDED["loose_key"])
    with pytest.raises(Invalid) as caught:
        check_key(loose)
    assert caught.value.code == "bad_host_key"


@pytest.mark.parametrize("bit", [1, 4, 5, 16, 18])
def test_each_attribute_of_the_key_is_needed(bit: int) -> None:
    public = recorded("ecdsa")[2].public
    attributes = int.from_bytes(public[4:8], "big")
    assert attributes >> bit & 1
    lacking = public[:4] + (attributes ^ 1 << bit).to_bytes(4, "big") + public[8:]
    with pytest.raises(Invalid):
        check_key(lacking)


@pytest.mark.parametrize("scheme", ["ecdsa", "rsassa", "rsapss"])
def test_a_quote_cut_short_anywhere_is_refused(scheme: str) -> None:
    request, evidence, _ = recorded(scheme)
    parts = HostEvidence.decode(evidence).parts
    for name in ("quote", "signature"):
        whole = parts[name]
        for cut in (*range(0, len(whole), 7), len(whole) - 1):
            code = refused(changed(evidence, **{name: whole[:cut]}), request)
            assert code in {"bad_quote", "evidence_not_signed"}
        assert refused(changed(evidence, **{name: whole + b"\0"}), request) == "bad_quote"


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_one_flipped_bit_is_refused(place: int, bit: int) -> None:
    request, evidence, _ = recorded("ecdsa")
    parts = dict(HostEvidence.decode(evidence).parts)
    both = bytearray(parts["quote"] + parts["signature"])
    both[place % len(both)] ^= 1 << bit
    size = len(parts["quote"])
    data = changed(evidence, quote=bytes(both[:size]), signature=bytes(both[size:]))
    assert refused(data, request)


def test_evidence_without_a_part_or_with_an_unknown_field_is_refused() -> None:
    request, evidence, _ = recorded("ecdsa")
    found = HostEvidence.decode(evidence)
    without = replace(found, parts={"quote": found.parts["quote"]})
    assert refused(without.encode(), request) == "bad_evidence"
    value: Any = {**json.loads(evidence), "note": "believe me"}
    assert refused(canonical.encode(value), request) == "bad_evidence"
    assert refused(b"", request)
    assert refused(b"{}" + b" " * 40_000, request) == "bad_evidence"


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"sha256:24": "0" * 64},
        {"sha1:0": "0" * 40},
        {"sha256:07": "0" * 64},
        {"sha256:7": "0" * 63},
        {"sha256:7": "A" * 64},
        {"sha256": "0" * 64},
        {"sha256:-1": "0" * 64},
    ],
)
def test_registers_have_one_name_and_one_length(names: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        check_registers(names)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_structure_or_our_own_error(data: bytes) -> None:
    for read in (read_quote, read_signature, read_public, HostEvidence.decode):
        try:
            read(data)
        except DutchdoorError:
            continue
