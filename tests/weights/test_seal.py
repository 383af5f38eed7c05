"""Sealing covers every file, leaves no plaintext, and refuses what is unsafe to seal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable
from dutchdoor.weights.model import Manifest, Progress
from dutchdoor.weights.seal import seal_folder
from tests.weights.parts import CUSTODIANS, HOLDER, TRUST, Sealed, plain_files, seal, write_files

WINDOW_BYTES = 24


def attempt(source: Path, target: Path, **changes: Any) -> DutchdoorError:
    """The refusal of a sealing that must leave nothing behind."""
    before = sorted(target.parent.iterdir())
    arguments: dict[str, Any] = {
        "model": "m",
        "holder": HOLDER,
        "custodians": [custodian.public for custodian in CUSTODIANS],
        "threshold": 2,
        "clock": FixedClock(),
        **changes,
    }
    with pytest.raises(DutchdoorError) as caught:
        seal_folder(source, target, **arguments)
    assert sorted(target.parent.iterdir()) == before, "something was left behind"
    return caught.value


def windows(data: bytes) -> list[bytes]:
    """Stretches of the plaintext that cannot occur in ciphertext by chance."""
    places = range(0, max(len(data) - WINDOW_BYTES, 0), max(len(data) // 40, 1))
    return [data[place : place + WINDOW_BYTES] for place in places]


def assert_no_plaintext(folder: Path, files: dict[str, bytes]) -> int:
    checked = 0
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for name, plain in files.items():
                assert name.encode() not in data, f"{path.name} names {name}"
                for window in windows(plain):
                    assert window not in data, f"{path.name} holds plaintext of {name}"
                    checked += 1
    return checked


def test_every_file_comes_back_as_it_was(sealed: Sealed) -> None:
    with sealed.open() as bundle:
        assert bundle.names() == tuple(sorted(sealed.files))
        for name, data in sealed.files.items():
            assert bytes(bundle.read(name)) == data, name
            assert bundle.size(name) == len(data)


def test_no_plaintext_and_no_name_is_in_the_bundle(sealed: Sealed) -> None:
    assert assert_no_plaintext(sealed.path, sealed.files) > 1000


def test_no_plaintext_is_written_while_sealing(tmp_path: Path) -> None:
    """At every progress report the whole output folder is searched, temporary files included."""
    files = plain_files()
    source = write_files(tmp_path / "plain", files)
    out = tmp_path / "out"
    out.mkdir()
    checked = []

    def look(progress: Progress) -> None:
        assert not (out / "m.sealed").exists(), "the bundle appears only when it is whole"
        checked.append(assert_no_plaintext(out, files))

    seal_folder(
        source,
        out / "m.sealed",
        model="m",
        holder=HOLDER,
        custodians=[custodian.public for custodian in CUSTODIANS],
        threshold=2,
        clock=FixedClock(),
        report=look,
    )
    assert len(checked) >= len(files)
    assert [path.name for path in out.iterdir()] == ["m.sealed"]


def test_the_signed_manifest_says_who_opens_it(sealed: Sealed) -> None:
    manifest = Manifest.open((sealed.path / "manifest.json").read_bytes(), TRUST)
    assert manifest == sealed.manifest
    assert manifest.custody.threshold == 2
    assert manifest.custody.custodians == tuple(c.key_id for c in CUSTODIANS)
    assert [file.slots for file in manifest.content.files].count(3) == 1
    assert manifest.terms.bundle == manifest.digest


def test_sealing_twice_gives_two_bundles(tmp_path: Path) -> None:
    """Same files, other key, other digest: a decision on one says nothing of the other."""
    files = {"config.json": b"{}"}
    one, two = seal(tmp_path, files, "one"), seal(tmp_path, files, "two")
    assert one.key != two.key
    assert one.manifest.digest != two.manifest.digest


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    files = plain_files()
    reports: list[Progress] = []
    seal_folder(
        write_files(tmp_path / "plain", files),
        tmp_path / "m.sealed",
        model="m",
        holder=HOLDER,
        custodians=[CUSTODIANS[0].public],
        threshold=1,
        clock=FixedClock(),
        report=reports.append,
    )
    assert reports[-1].done_bytes == reports[-1].total_bytes == sum(map(len, files.values()))
    assert [r.done_bytes for r in reports] == sorted(r.done_bytes for r in reports)


def test_a_bundle_is_never_overwritten(tmp_path: Path) -> None:
    source = write_files(tmp_path / "plain", {"config.json": b"{}"})
    (tmp_path / "m.sealed").mkdir()
    assert attempt(source, tmp_path / "m.sealed").code == "target_exists"
    (tmp_path / "n.sealed").symlink_to(tmp_path / "nowhere")
    assert attempt(source, tmp_path / "n.sealed").code == "target_exists"


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "w.pt", "w.PTH", "w.pkl", "w.ckpt", "training_args.bin"]
)
def test_pickles_are_refused_by_name(tmp_path: Path, name: str) -> None:
    source = write_files(tmp_path / "plain", {"config.json": b"{}", name: b"anything"})
    error = attempt(source, tmp_path / "m.sealed")
    assert isinstance(error, Refused)
    assert error.code == "unsafe_file"
    assert "safetensors" in error.hint


@pytest.mark.parametrize(
    "data", [b"\x80\x04\x95", b"\x80\x02}q", b"PK\x03\x04" + b"\0" * 30 + b"archive/data.pkl"]
)
def test_pickles_are_refused_under_any_name(tmp_path: Path, data: bytes) -> None:
    source = write_files(tmp_path / "plain", {"config.json": data})
    assert attempt(source, tmp_path / "m.sealed").code == "unsafe_file"


def link_to_file(source: Path, outside: Path) -> None:
    outside.write_text("secret")
    (source / "link.json").symlink_to(outside)


def link_upwards(source: Path, outside: Path) -> None:
    outside.write_text("secret")
    (source / "link.json").symlink_to(Path("..") / outside.name)


def link_to_folder(source: Path, outside: Path) -> None:
    outside.mkdir()
    (source / "link").symlink_to(outside)


def link_to_nothing(source: Path, outside: Path) -> None:
    (source / "link.json").symlink_to(outside)


def pipe(source: Path, outside: Path) -> None:
    os.mkfifo(source / "pipe")


def repository(source: Path, outside: Path) -> None:
    (source / ".git").mkdir()


@pytest.mark.parametrize(
    "harm", [link_to_file, link_upwards, link_to_folder, link_to_nothing, pipe, repository]
)
def test_links_out_of_the_folder_and_odd_files_are_refused(
    tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    source = write_files(tmp_path / "plain", {"config.json": b"{}"})
    harm(source, tmp_path / "outside")
    assert attempt(source, tmp_path / "m.sealed").code == "unsafe_file"


def test_a_link_within_the_folder_is_sealed_as_what_it_shows(tmp_path: Path) -> None:
    source = write_files(tmp_path / "model-plain", {"a.json": b"{}"})
    (source / "b.json").symlink_to("a.json")
    sealed = seal(tmp_path, {"a.json": b"{}"})
    with sealed.open() as bundle:
        assert bytes(bundle.read("b.json")) == b"{}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        (1 << 40).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}trailing",
        (2).to_bytes(8, "little") + b"\xff\xff",
    ],
)
def test_broken_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    source = write_files(tmp_path / "plain", {"model.safetensors": data})
    error = attempt(source, tmp_path / "m.sealed")
    assert isinstance(error, Invalid)
    assert error.code == "bad_safetensors"


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "plain", plain_files())
    weights = source / "model-00001-of-00002.safetensors"

    def grow(progress: Progress) -> None:
        if progress.name == weights.name:
            with weights.open("ab") as file:
                file.write(b"x")

    error = attempt(source, tmp_path / "m.sealed", report=grow)
    assert error.code == "changed_while_sealing"


def test_a_name_that_does_not_print_is_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "plain", {"a\x1b[31m.json": b"{}"})
    error = attempt(source, tmp_path / "m.sealed")
    assert error.code == "unsafe_name"
    assert "\x1b" not in str(error)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert attempt(tmp_path / "plain", tmp_path / "m.sealed").code == "empty_folder"
    assert isinstance(attempt(tmp_path / "missing", tmp_path / "m.sealed"), NotFound)


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "plain", {"config.json": b"{}"})
    assert attempt(source, tmp_path / "m").code == "bad_target"
    assert attempt(source, tmp_path / "m.sealed", model="").code == "bad_model_name"
    assert attempt(source, tmp_path / "m.sealed", model="a\nb").code == "bad_model_name"
    assert attempt(source, tmp_path / "m.sealed", threshold=4).code == "bad_quorum"
    assert attempt(source, tmp_path / "m.sealed", threshold=1).code == "bad_quorum"


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: the kernel refuses the write alike."""
    import resource
    import signal

    source = write_files(tmp_path / "plain", plain_files())
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, old[1]))
        error = attempt(source, tmp_path / "m.sealed")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(error, Unavailable)


def test_two_sealings_to_one_place_leave_one_whole_bundle(tmp_path: Path) -> None:
    source = write_files(tmp_path / "plain", {"config.json": b"{}"})
    outcomes: list[str] = []

    def run() -> None:
        try:
            seal_folder(
                source,
                tmp_path / "m.sealed",
                model="m",
                holder=HOLDER,
                custodians=[custodian.public for custodian in CUSTODIANS],
                threshold=2,
                clock=FixedClock(),
            )
            outcomes.append("sealed")
        except DutchdoorError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("sealed") == 1
    assert set(outcomes) <= {"sealed", "target_exists", "seal_unavailable"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
