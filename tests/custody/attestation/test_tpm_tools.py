"""A live TPM (in software): its key is made, its quotes are believed, and a new boot is seen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dutchdoor.custody.attestation.tpm_tools import REGISTERS_DEFAULT, Tpm, TpmEvidence
from dutchdoor.custody.attestation.verify import EnrolledHosts, check_host
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable
from dutchdoor.evidence.hosts import Host
from tests.custody.attestation.emulator import emulated_tpm, extend, needs_swtpm
from tests.custody.attestation.record import new_request


@pytest.fixture(scope="module")
def tcti() -> Iterator[str]:
    # A short path: a socket's has 107 bytes at most.
    with tempfile.TemporaryDirectory() as folder, emulated_tpm(Path(folder)) as found:
        yield found


@pytest.fixture(scope="module")
def host(tcti: str) -> Host:
    tpm = Tpm(tcti)
    return Host("tpm", "here", tpm.make_key(), tpm.registers(REGISTERS_DEFAULT))


@needs_swtpm
def test_a_live_quote_gives_the_grade_until_something_else_is_booted(tcti: str, host: Host) -> None:
    check_host(host)
    hosts = {host.id: host}
    request = new_request()
    assert EnrolledHosts(hosts).verify(TpmEvidence(Tpm(tcti), hosts).show(request), request)
    extend(tcti, 7, "ab" * 32)
    later = new_request()
    evidence = TpmEvidence(Tpm(tcti), hosts).show(later)
    with pytest.raises(Refused) as caught:
        EnrolledHosts(hosts).verify(evidence, later)
    assert caught.value.code == "host_not_as_enrolled"


@needs_swtpm
def test_a_key_is_made_once_and_kept(tcti: str, host: Host) -> None:
    assert Tpm(tcti).public() == host.public
    with pytest.raises(Unavailable) as caught:
        Tpm(tcti).make_key()
    assert caught.value.code == "tpm_failed"


@needs_swtpm
def test_a_host_that_was_not_enrolled_shows_nothing(tcti: str, host: Host) -> None:
    with pytest.raises(NotFound):
        TpmEvidence(Tpm(tcti), {}).show(new_request())


def test_no_tpm_is_said_and_never_passed_over(tmp_path: Path) -> None:
    absent = Tpm(f"swtpm:path={tmp_path / 'nobody'}")
    with pytest.raises(Unavailable):
        TpmEvidence(absent, {}).show(new_request())
    assert Tpm("device:/dev/no-such-tpm").missing()


@pytest.mark.parametrize("tcti", ["a b c", "x" * 40, "swtpm:\n"])
def test_a_way_to_a_tpm_is_one_word_and_its_options(tcti: str) -> None:
    with pytest.raises(Invalid):
        Tpm(tcti)


def test_a_handle_outside_the_owners_range_is_refused() -> None:
    for handle in (0, 0x81010001 + 0x01000000, 0x40000001):
        with pytest.raises(DutchdoorError):
            Tpm("", handle)
