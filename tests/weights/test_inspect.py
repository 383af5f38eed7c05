"""Without the key: whose bundle it is, that nothing changed, and where it did."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dutchdoor.custody.keyring import FileSigner
from dutchdoor.errors import Invalid, Tampered
from dutchdoor.evidence.statement import key_id
from dutchdoor.weights.format import parse_head
from dutchdoor.weights.inspect import inspect_bundle, verify_ciphertext
from dutchdoor.weights.model import Progress
from tests.weights.parts import TRUST, Sealed

WEIGHTS = "model-00001-of-00002.safetensors"


def test_a_whole_bundle_has_no_changes(sealed: Sealed) -> None:
    reports: list[Progress] = []
    inspection = inspect_bundle(sealed.path, TRUST)
    assert inspection.digest == sealed.manifest.digest
    assert inspection.changes == ()
    assert verify_ciphertext(sealed.path, TRUST, reports.append) == ()
    assert 0.99 < reports[-1].done_bytes / reports[-1].total_bytes <= 1


def test_each_change_is_found_where_it_is(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    name = sealed.file_of(WEIGHTS)
    data = bytearray((path / name).read_bytes())
    header, _ = parse_head(bytes(data[:65_536]))
    for place in (header.index.offset + 7, header.slot(1).offset + 7, header.slot(2).end - 1):
        data[place] ^= 0x10
    (path / name).write_bytes(data)
    changes = verify_ciphertext(path, TRUST)
    assert [(change.file, change.what) for change in changes] == [
        (name, "index"),
        (name, "slot 1"),
        (name, "slot 2"),
    ]
    assert changes[1].offset == header.slot(1).offset
    # Sizes, heads and footers are as they were: only reading every byte shows it.
    assert inspect_bundle(path, TRUST).changes == ()


def test_heads_footers_and_sizes_are_seen_without_reading_all(
    sealed: Sealed, tmp_path: Path
) -> None:
    path = sealed.copy(tmp_path)
    for name, place in (("0001.sealed", 30), ("0002.sealed", -1)):
        data = bytearray((path / name).read_bytes())
        data[place] ^= 1
        (path / name).write_bytes(data)
    os.truncate(path / "0003.sealed", 5000)
    found = inspect_bundle(path, TRUST).changes
    assert [change.file for change in found] == ["0001.sealed", "0002.sealed", "0003.sealed"]
    assert [change.file for change in verify_ciphertext(path, TRUST)] == [c.file for c in found]
    shutil.rmtree(path)


def test_a_key_holder_s_forgery_is_found(sealed: Sealed, tmp_path: Path) -> None:
    """Who has the content key can seal other bytes with a valid tag; the signed digests stay."""
    from dutchdoor.weights.format import FileCipher

    path = sealed.copy(tmp_path)
    name = sealed.file_of("config.json")
    data = bytearray((path / name).read_bytes())
    header, _ = parse_head(bytes(data[:65_536]))
    span = header.slot(0)
    slot = memoryview(bytearray(span.size))
    FileCipher(sealed.key, header).seal_slot(0, memoryview(bytes(header.size)), slot)
    data[span.offset : span.end] = slot
    (path / name).write_bytes(data)
    with sealed.open(path) as bundle:
        assert bytes(bundle.read("config.json")) == bytes(header.size), "the tag alone is fooled"
    (change,) = verify_ciphertext(path, TRUST)
    assert (change.file, change.what) == (name, "slot 0")


def test_an_unsigned_or_incomplete_bundle_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    thief = FileSigner("thief", os.urandom(32))
    for inspect in (inspect_bundle, verify_ciphertext):
        with pytest.raises(Invalid):
            inspect(sealed.path, {key_id(thief.public_key): thief.public_key})
    path = sealed.copy(tmp_path)
    (path / "0002.sealed").unlink()
    for inspect in (inspect_bundle, verify_ciphertext):
        with pytest.raises(Tampered):
            inspect(path, TRUST)
