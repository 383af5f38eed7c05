"""A sealing that was broken off goes on where it ended, and only for a quorum."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable
from dutchdoor.weights.draft import Draft, DraftFolder, draft_path, read_draft
from dutchdoor.weights.format import SLOT_BYTES, parse_head
from dutchdoor.weights.model import Progress, Sealed
from dutchdoor.weights.reader import SealedBundle
from dutchdoor.weights.seal import seal_folder
from tests.weights.parts import (
    CUSTODIANS,
    HOLDER,
    TRUST,
    key_of,
    read_all,
    safetensors,
    write_files,
)
from tests.weights.test_seal import assert_no_plaintext

FILES = {
    "a.json": b'{"hidden_size":4}',
    "b.safetensors": safetensors({"w": ("U8", [7_000_000], bytes(range(250)) * 28_000)}),
    "c.json": b"{}",
}
B_NUMBER = "0001.sealed"


def run(folder: Path, **changes: Any) -> Sealed:
    arguments: dict[str, Any] = {
        "model": "m",
        "holder": HOLDER,
        "custodians": [custodian.public for custodian in CUSTODIANS],
        "threshold": 2,
        "clock": FixedClock(),
        "keep_draft": True,
        **changes,
    }
    return seal_folder(folder / "plain", folder / "m.sealed", **arguments)


def break_off(folder: Path, at_bytes: int = 6_500_000) -> Path:
    """A draft of FILES, interrupted once so much of it was sealed."""
    write_files(folder / "plain", FILES)

    def interrupt(progress: Progress) -> None:
        if progress.done_bytes >= at_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, report=interrupt)
    assert not (folder / "m.sealed").exists()
    return draft_path(folder / "m.sealed")


def key_of_draft(folder: Path, custodians: list[CustodianKey] | None = None) -> ContentKey:
    begun = read_draft(folder / "m.sealed", HOLDER.public_key)
    shares = [unwrap_share(begun.shares, key) for key in custodians or CUSTODIANS[:2]]
    return combine(shares, begun.draft.commitment)


def assert_whole(folder: Path, files: dict[str, bytes] = FILES) -> None:
    path = folder / "m.sealed"
    assert read_all(SealedBundle.open(path, key_of(path), TRUST)) == files
    assert sorted(p.name for p in folder.iterdir()) == ["m.sealed", "plain"]


def salt_of(path: Path) -> str:
    return parse_head(path.read_bytes()[:65_536])[0].salt


def test_it_goes_on_where_the_slots_end(tmp_path: Path) -> None:
    draft = break_off(tmp_path)
    begun = draft / "bundle" / B_NUMBER
    there, salt = begun.read_bytes(), salt_of(begun)
    assert len(there) >= 4 * SLOT_BYTES
    stamps = {p.name: p.stat().st_mtime_ns for p in (draft / "bundle").iterdir()}
    run(tmp_path, resume=key_of_draft(tmp_path))
    sealed = tmp_path / "m.sealed"
    assert salt_of(sealed / B_NUMBER) == salt
    assert (sealed / B_NUMBER).read_bytes().startswith(there)
    assert (sealed / "0000.sealed").stat().st_mtime_ns == stamps["0000.sealed"], "written again"
    assert_whole(tmp_path)


def test_a_killed_process_leaves_a_draft_that_goes_on(tmp_path: Path) -> None:
    write_files(tmp_path / "plain", FILES)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.weights.test_draft import run\n"
        "def die(progress):\n"
        "    if progress.done_bytes > 6_000_000:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(Path(sys.argv[1]), report=die)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "m.sealed").exists()
    assert_no_plaintext(draft_path(tmp_path / "m.sealed"), FILES)
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert_whole(tmp_path)


def test_no_plaintext_and_no_key_is_in_a_draft(tmp_path: Path) -> None:
    draft = break_off(tmp_path)
    assert assert_no_plaintext(draft, {"b.safetensors": FILES["b.safetensors"]}) > 100
    key = key_of_draft(tmp_path)
    for path in draft.rglob("*"):
        assert path.is_dir() or bytes(key.reveal()) not in path.read_bytes()


def test_one_custodian_alone_cannot_go_on(tmp_path: Path) -> None:
    break_off(tmp_path)
    with pytest.raises(Refused) as caught:
        key_of_draft(tmp_path, CUSTODIANS[:1])
    assert caught.value.code == "no_quorum"


def test_a_plain_file_that_changed_meanwhile_starts_under_a_fresh_salt(tmp_path: Path) -> None:
    """Or one nonce would encrypt two plaintexts."""
    draft = break_off(tmp_path)
    salt = salt_of(draft / "bundle" / B_NUMBER)
    changed = bytearray(FILES["b.safetensors"])
    changed[-6_000_000] ^= 1
    files = {**FILES, "b.safetensors": bytes(changed)}
    write_files(tmp_path / "plain", files)
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert salt_of(tmp_path / "m.sealed" / B_NUMBER) != salt
    assert_whole(tmp_path, files)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5_000])


def flip_slot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2 * SLOT_BYTES] ^= 1
    path.write_bytes(data)


def flip_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(9 * SLOT_BYTES))


def link(path: Path) -> None:
    (path.parent / "victim").write_bytes(b"precious")
    path.unlink()
    path.symlink_to("victim")


@pytest.mark.parametrize("harm", [cut, flip_slot, flip_header, empty, lengthen, link])
def test_a_harmed_draft_still_makes_a_sound_bundle(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    draft = break_off(tmp_path)
    harm(draft / "bundle" / B_NUMBER)
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert_whole(tmp_path)


def test_a_full_disk_keeps_what_was_sealed(tmp_path: Path) -> None:
    import resource

    write_files(tmp_path / "plain", FILES)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, old[1]))
        with pytest.raises(Unavailable) as caught:
            run(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert "--resume" in caught.value.hint
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert_whole(tmp_path)


def test_a_draft_of_somebody_else_s_key_is_refused(tmp_path: Path) -> None:
    """The attacker wraps a key they know to the right custodians; the signature is not theirs."""
    path = break_off(tmp_path)
    shutil.rmtree(path)
    thief = CustodianKey("thief", b"t" * 96)
    known = ContentKey(bytes(32))
    folder = DraftFolder.begin(path)
    from dutchdoor.custody.keyring import FileSigner
    from dutchdoor.custody.shares import key_commitment

    ids = tuple(custodian.key_id for custodian in CUSTODIANS)
    draft = Draft("m", "ab" * 32, key_commitment(known), 2, ids)
    public = [custodian.public for custodian in CUSTODIANS]
    folder.commit(draft, known, public, FileSigner(thief.name, b"t" * 32))
    folder.release()
    with pytest.raises(Invalid):
        key_of_draft(tmp_path)
    with pytest.raises(Invalid) as caught:
        run(tmp_path, resume=ContentKey(bytes(32)))
    assert caught.value.code == "too_few_signatures"
    assert not (tmp_path / "m.sealed").exists()


def test_shares_of_another_draft_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = break_off(tmp_path / "one"), break_off(tmp_path / "two")
    shutil.copy(two / "shares.json", one / "shares.json")
    with pytest.raises(Invalid) as caught:
        key_of_draft(tmp_path / "one")
    assert caught.value.code == "bad_draft"


def test_a_draft_goes_on_only_as_what_it_was_begun(tmp_path: Path) -> None:
    break_off(tmp_path)
    public = [custodian.public for custodian in CUSTODIANS]
    attempts: list[tuple[dict[str, Any], str]] = [
        ({"resume": ContentKey.generate()}, "wrong_key"),
        ({"resume": key_of_draft(tmp_path), "model": "other"}, "other_draft"),
        ({"resume": key_of_draft(tmp_path), "threshold": 3}, "other_draft"),
        ({"resume": key_of_draft(tmp_path), "custodians": public[:2]}, "other_draft"),
        ({}, "draft_exists"),
    ]
    for changes, code in attempts:
        with pytest.raises(DutchdoorError) as caught:
            run(tmp_path, **changes)
        assert caught.value.code == code
        assert draft_path(tmp_path / "m.sealed").is_dir(), "the draft is kept"
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert_whole(tmp_path)


def test_two_processes_are_never_at_one_draft(tmp_path: Path) -> None:
    path = break_off(tmp_path)
    folder = DraftFolder.resume(path)
    with pytest.raises(Refused) as caught:
        run(tmp_path, resume=key_of_draft(tmp_path))
    assert caught.value.code == "draft_busy"
    folder.release()
    run(tmp_path, resume=key_of_draft(tmp_path))
    assert_whole(tmp_path)


def test_without_a_draft_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    write_files(tmp_path / "plain", FILES)
    with pytest.raises(NotFound) as caught:
        run(tmp_path, resume=ContentKey.generate())
    assert caught.value.code == "no_draft"


def test_an_unsafe_model_leaves_no_draft(tmp_path: Path) -> None:
    write_files(tmp_path / "plain", {**FILES, "d.safetensors": b"short"})
    with pytest.raises(Invalid) as caught:
        run(tmp_path)
    assert caught.value.code == "bad_safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
