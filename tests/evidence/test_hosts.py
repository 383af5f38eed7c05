"""Enrolled hosts in trust.json: one form, the id of their own key, and nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.hosts import Host, hosts_from_value
from dutchdoor.evidence.trust import encode_trust, parse_trust
from tests.evidence.parts import TRUST

HOST = Host("tpm", "rack-4", b"a public area", {"sha256:7": "00" * 32}, ("sha256:" + "a" * 64,))


def with_hosts(*hosts: Host) -> Trust:
    return replace(TRUST, hosts={host.id: host for host in hosts})


def test_hosts_come_out_of_the_file_as_they_went_in() -> None:
    machine = Host("snp", "machine", b"a root", {"launch": "00" * 48})
    trust = with_hosts(HOST, machine)
    assert parse_trust(encode_trust(trust)).hosts == trust.hosts


def test_without_hosts_the_file_is_as_it_always_was() -> None:
    assert "hosts" not in json.loads(encode_trust(TRUST))
    assert parse_trust(encode_trust(TRUST)).hosts == {}


def test_two_machines_under_one_root_have_two_ids() -> None:
    one = Host("snp", "one", b"a root", {"launch": "00" * 48})
    assert one.id != replace(one, measurements={"launch": "11" * 48}).id
    assert HOST.id == replace(HOST, measurements={"sha256:7": "11" * 32}).id, "a TPM's is its key's"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a b"},
        {"name": 7},
        {"public": ""},
        {"public": "AA="},
        {"public": "QUE=" * 2_000},
        {"measurements": {}},
        {"measurements": {"sha256:7": "0"}},
        {"measurements": {"sha256:7": 7}},
        {"measurements": []},
        {"bundles": ["sha256:a"]},
        {"bundles": "sha256:" + "a" * 64},
        {"bundles": {}},
        {"more": 1},
    ],
)
def test_a_host_of_another_form_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        hosts_from_value({HOST.id: {**HOST.to_value(), **changes}})
    assert caught.value.code == "bad_trust"


@pytest.mark.parametrize("name", ["tpm:0011223344556677", "snp:" + HOST.id[4:], "sgx:00", "", "7"])
def test_a_host_under_another_id_than_its_keys_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        hosts_from_value({name: HOST.to_value()})


@pytest.mark.parametrize("value", [{}, [], None, "hosts"])
def test_hosts_are_left_out_where_there_are_none(value: Any) -> None:
    with pytest.raises(Invalid):
        hosts_from_value(value)
