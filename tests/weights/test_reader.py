"""What was changed in any way is refused before a byte of it is returned."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.custody.keyring import FileSigner
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.statement import key_id
from dutchdoor.ids import BundleDigest
from dutchdoor.weights import unseal
from dutchdoor.weights.format import SLOT_BYTES, parse_head
from dutchdoor.weights.reader import ReadOptions, SealedBundle
from tests.weights.parts import HOLDER, TRUST, Sealed, read_all, sign_again

WEIGHTS = "model-00001-of-00002.safetensors"


def refused(sealed: Sealed, path: Path, key: ContentKey | None = None) -> DutchdoorError:
    """The refusal, at opening or at reading, of a bundle that was harmed."""
    with pytest.raises(DutchdoorError) as caught:
        read_all(SealedBundle.open(path, key or sealed.key, TRUST))
    return caught.value


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize(
    "options",
    [ReadOptions(), ReadOptions(threads=3), ReadOptions(private_copies=True)],
    ids=["mapped", "threads", "copies"],
)
def test_however_it_is_read_it_is_the_same(sealed: Sealed, options: ReadOptions) -> None:
    bundle = SealedBundle.open(sealed.path, sealed.key, TRUST, options=options)
    assert read_all(bundle) == sealed.files


@pytest.mark.parametrize(
    "options",
    [ReadOptions(), ReadOptions(threads=3), ReadOptions(private_copies=True)],
    ids=["mapped", "threads", "copies"],
)
@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_flipped_bit_is_found_in_each_slot(
    sealed: Sealed, tmp_path: Path, options: ReadOptions, slot: int
) -> None:
    path = sealed.copy(tmp_path)
    name = sealed.file_of(WEIGHTS)
    header, _ = parse_head((path / name).read_bytes()[:65_536])
    flip(path / name, header.slot(slot).offset + 100)
    with SealedBundle.open(path, sealed.key, TRUST, options=options) as bundle:
        with pytest.raises(Tampered) as caught:
            bundle.read(WEIGHTS)
        assert caught.value.code == "slot_changed"
        assert f"slot {slot}" in caught.value.where
        # What was not touched can still be read.
        assert bytes(bundle.read("config.json")) == sealed.files["config.json"]


@pytest.mark.parametrize("slot", [None, 0, 1, 2])
def test_from_a_cold_disk_it_is_the_same_and_refused_the_same(
    sealed: Sealed, tmp_path: Path, slot: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the page cache holds here, the way for what it does not hold is taken."""
    path = sealed.copy(tmp_path)
    name = sealed.file_of(WEIGHTS)
    if slot is not None:
        header, _ = parse_head((path / name).read_bytes()[:65_536])
        flip(path / name, header.slot(slot).offset + 100)
    monkeypatch.setattr(unseal, "_is_cold", lambda *_: True)
    monkeypatch.setattr(unseal, "_BATCH_SLOTS", 1)
    monkeypatch.setattr(unseal, "_BATCHES_AHEAD", 2)
    if slot is None:
        assert read_all(sealed.open(path)) == sealed.files
    else:
        assert refused(sealed, path).code == "slot_changed"


def test_a_flipped_bit_in_each_region_is_refused_with_its_place(
    sealed: Sealed, tmp_path: Path
) -> None:
    name = sealed.file_of(WEIGHTS)
    header, _ = parse_head((sealed.path / name).read_bytes()[:65_536])
    commitment = len(header.prefix())
    regions = {
        0: "not_sealed",  # the magic
        9: "head_changed",  # the header's length
        40: "head_changed",
        commitment: "head_changed",
        commitment + 40: "head_changed",  # zeros
        header.index.offset: "index_changed",
        header.index.end - 1: "index_changed",
        header.slot(0).offset: "slot_changed",
        header.slot(0).end - 1: "slot_changed",  # a tag
        header.slot(2).end - 1: "slot_changed",
        header.footer.offset: "footer_changed",
        header.footer.end - 1: "footer_changed",
    }
    for position, code in regions.items():
        path = sealed.copy(tmp_path)
        flip(path / name, position)
        error = refused(sealed, path)
        assert isinstance(error, Tampered)
        assert error.code == code, position
        assert name in error.where
        shutil.rmtree(path)


@settings(max_examples=200, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), data=st.data())
def test_any_flipped_bit_anywhere_is_refused(
    small: Sealed, place: float, bit: int, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(sorted(small.path.iterdir())))
    original = path.read_bytes()
    try:
        flip(path, int(place * len(original)), bit)
        assert isinstance(refused(small, small.path), Invalid)
    finally:
        path.write_bytes(original)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), data=st.data())
def test_any_truncation_is_refused(small: Sealed, place: float, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(small.path.iterdir())))
    original = path.read_bytes()
    try:
        path.write_bytes(original[: int(place * len(original))])
        assert isinstance(refused(small, small.path), Invalid)
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("cut", [1, 16, SLOT_BYTES, SLOT_BYTES + 5])
def test_a_shorter_or_longer_file_is_refused(sealed: Sealed, tmp_path: Path, cut: int) -> None:
    name = sealed.file_of(WEIGHTS)
    path = sealed.copy(tmp_path)
    os.truncate(path / name, (path / name).stat().st_size - cut)
    assert refused(sealed, path).code == "size_changed"
    shutil.rmtree(path)
    path = sealed.copy(tmp_path)
    with (path / name).open("ab") as file:
        file.write(bytes(cut))
    assert refused(sealed, path).code == "size_changed"


def test_a_file_cut_after_it_was_opened_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    for options in (ReadOptions(), ReadOptions(private_copies=True)):
        path = sealed.copy(tmp_path)
        with SealedBundle.open(path, sealed.key, TRUST, options=options) as bundle:
            os.truncate(path / sealed.file_of(WEIGHTS), 500_000)
            with pytest.raises(Tampered) as caught:
                bundle.read(WEIGHTS)
            assert caught.value.code == "size_changed"
        shutil.rmtree(path)


def test_two_slots_cannot_change_places(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    file = path / sealed.file_of(WEIGHTS)
    data = bytearray(file.read_bytes())
    header, _ = parse_head(bytes(data[:65_536]))
    one, two = header.slot(0), header.slot(1)
    first, second = data[one.offset : one.end], data[two.offset : two.end]
    data[one.offset : one.end], data[two.offset : two.end] = second, first
    file.write_bytes(data)
    assert refused(sealed, path).code == "slot_changed"


def test_two_files_cannot_change_places(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    one, two = path / "0001.sealed", path / "0002.sealed"
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)
    assert isinstance(refused(sealed, path), Tampered)


def rename(path: Path) -> None:
    (path / "0001.sealed").rename(path / "0099.sealed")


def remove(path: Path) -> None:
    (path / "0001.sealed").unlink()


def remove_shares(path: Path) -> None:
    (path / "shares.json").unlink()


def add_plain(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")


def add_sealed(path: Path) -> None:
    shutil.copy(path / "0001.sealed", path / "0008.sealed")


def link(path: Path) -> None:
    (path / "0001.sealed").rename(path.parent / "elsewhere")
    (path / "0001.sealed").symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("harm", [rename, remove, remove_shares, add_plain, add_sealed, link])
def test_files_cannot_come_go_or_point_elsewhere(
    sealed: Sealed, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    path = sealed.copy(tmp_path)
    harm(path)
    assert isinstance(refused(sealed, path), DutchdoorError)
    assert refused(sealed, path).code in {"file_missing", "file_unexpected", "bundle_unreadable"}


def test_a_companion_may_lie_beside(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    (path / "probe.companion").write_bytes(b"checked by who opens it")
    assert read_all(sealed.open(path)) == sealed.files


def test_a_plain_file_in_the_place_of_a_sealed_one_is_refused(
    sealed: Sealed, tmp_path: Path
) -> None:
    """Even padded to the right size: there is no fallback to plain weights."""
    path = sealed.copy(tmp_path)
    file = path / sealed.file_of(WEIGHTS)
    plain = sealed.files[WEIGHTS]
    file.write_bytes(plain.ljust(file.stat().st_size, b"\0"))
    assert refused(sealed, path).code == "not_sealed"


def test_a_plain_model_folder_is_refused(tmp_path: Path, sealed: Sealed) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    error = refused(sealed, tmp_path)
    assert error.code == "not_sealed"
    assert "dutchdoor seal" in error.hint
    assert isinstance(refused(sealed, tmp_path / "missing"), NotFound)


def test_another_key_opens_nothing(sealed: Sealed, small: Sealed) -> None:
    for key in (ContentKey.generate(), small.key, ContentKey(bytes(32))):
        error = refused(sealed, sealed.path, key)
        assert error.code == "wrong_key"


def test_shards_of_two_bundles_are_never_mixed(
    sealed: Sealed, small: Sealed, tmp_path: Path
) -> None:
    path = sealed.copy(tmp_path)
    shutil.copy(small.path / "0003.sealed", path / "0003.sealed")
    assert isinstance(refused(sealed, path), Tampered)


def test_even_the_holder_cannot_mix_two_bundles(
    sealed: Sealed, small: Sealed, tmp_path: Path
) -> None:
    """A manifest signed anew over a shard of another bundle: its key is not this one's."""
    path = sealed.copy(tmp_path)
    shutil.copy(small.path / "0003.sealed", path / "0003.sealed")
    content = sealed.manifest.content
    files = list(content.files)
    files[3] = small.manifest.content.files[3]
    sign_again(path, replace(content, files=tuple(files)), sealed.manifest)
    # The shares name the former digest; they are part of the signed whole.
    assert refused(sealed, path).code == "shares_changed"


def test_a_manifest_of_another_holder_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    thief = FileSigner("thief", os.urandom(32))
    (path / "manifest.json").write_bytes(sealed.manifest.sign(thief))
    assert refused(sealed, path).code == "too_few_signatures"
    with pytest.raises(Invalid):
        SealedBundle.open(sealed.path, sealed.key, {})
    with pytest.raises(Invalid):
        SealedBundle.open(sealed.path, sealed.key, {key_id(thief.public_key): thief.public_key})


def test_another_bundle_than_the_decision_names_is_refused(sealed: Sealed, small: Sealed) -> None:
    with pytest.raises(Refused) as caught:
        SealedBundle.open(sealed.path, sealed.key, TRUST, bundle=small.manifest.digest)
    assert caught.value.code == "other_bundle"
    digest = BundleDigest(sealed.manifest.digest)
    SealedBundle.open(sealed.path, sealed.key, TRUST, bundle=digest).close()


def test_tensors_are_views_of_one_memory(sealed: Sealed) -> None:
    with sealed.open() as bundle:
        assert bundle.weight_names() == (WEIGHTS, "model-00002-of-00002.safetensors")
        views = {view.name: view for view in bundle.all_tensors()}
        scale = views["head.scale"]
        assert (scale.dtype, scale.shape, bytes(scale.data)) == ("F32", (), b"\0\0\x80?")
        embed = views["embed.weight"]
        assert sealed.files[WEIGHTS].endswith(bytes(embed.data))
        head = views["head.weight"]
        assert head.data.obj is scale.data.obj
        assert not head.data.readonly
        with pytest.raises(Invalid):
            bundle.tensors("config.json")
        with pytest.raises(NotFound):
            bundle.read("missing")


def test_closing_leaves_what_was_read(sealed: Sealed) -> None:
    before = open_files()
    with sealed.open() as bundle:
        data = bundle.read("config.json")
    assert bytes(data) == sealed.files["config.json"]
    with pytest.raises(NotFound):
        bundle.read("config.json")
    del data
    assert open_files() == before


def test_a_refused_bundle_leaves_no_file_open(sealed: Sealed, tmp_path: Path) -> None:
    path = sealed.copy(tmp_path)
    flip(path / "0006.sealed", 5000)
    before = open_files()
    for _ in range(3):
        refused(sealed, path)
    assert open_files() == before


def test_an_older_format_is_refused(sealed: Sealed, tmp_path: Path) -> None:
    """Signed by the holder itself, so that only the version speaks against it."""
    from dutchdoor.evidence.statement import sign_statement

    path = sealed.copy(tmp_path)
    content = {**sealed.manifest.content.to_value(), "suite": "NULL"}
    custody = {
        "threshold": 2,
        "custodians": list(sealed.manifest.custody.custodians),
        "shares": sealed.manifest.custody.shares,
    }
    body = {"content": content, "custody": custody, "created_ms": 0}
    (path / "manifest.json").write_bytes(sign_statement("sealed_bundle", body, [HOLDER]))
    assert refused(sealed, path).code == "bad_manifest"
