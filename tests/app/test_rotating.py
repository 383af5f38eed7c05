"""Other custodians, the same weights; another key, and nothing of the former custody."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from dutchdoor.app import keys, resealing, rotating
from dutchdoor.app.bundles import Bundle, find_bundle
from dutchdoor.app.people import ensure_person
from dutchdoor.app.resealing import Resealed
from dutchdoor.app.rotating import Rotated
from dutchdoor.app.workspace import Workspace
from dutchdoor.cli.main import app
from dutchdoor.custody.keyring import load_custodian_key
from dutchdoor.custody.model import ContentKey, CustodianPublic
from dutchdoor.custody.shares import WrappedShares, combine, unwrap_share
from dutchdoor.errors import DutchdoorError, Refused
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.reader import SealedBundle
from tests.app.apart import NAMES, Apart, Ran
from tests.check_log import check_log
from tests.weights.parts import plain_files

NEW = ("four", "five", "six")


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Apart]:
    """With all keys at home: what changes hands is not what these tests are about."""
    found = Apart(tmp_path)
    for name in NAMES:
        shutil.copy(found.key(name), found.places.keyring / "custodians" / f"{name}.key")
    yield found
    check_log(found.places.evidence, found.places.trust)


def new_keys(apart: Apart) -> list[CustodianPublic]:
    return [keys.ensure_custodian(apart.places, name) for name in NEW]


def rotate(apart: Apart, workspace: Workspace | None = None, reason: str = "one left") -> Rotated:
    opened = workspace or apart.workspace
    return rotating.rotate(opened, find_bundle(opened, None), new_keys(apart), 2, reason)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def numbers(folder: Path) -> dict[str, int]:
    """The files' own numbers: the same number is the same file, not a copy of it."""
    return {path.name: path.stat().st_ino for path in folder.glob("*.sealed")}


def opens(apart: Apart, shares: WrappedShares, names: tuple[str, ...]) -> bool:
    """Whether these custodians' keys open these shares to the bundle's committed key."""
    paths = [keys.custodian_path(apart.places, name) for name in names]
    try:
        found = [unwrap_share(shares, load_custodian_key(path)) for path in paths]
        combine(found, shares.commitment)
    except DutchdoorError:
        return False
    return True


def reads(workspace: Workspace, bundle: Bundle) -> dict[str, bytes]:
    """Every plain file, as the bundle's present quorum opens it."""
    opened = rotating.open_key(workspace, bundle, None, lambda _text: None)
    with SealedBundle.open(bundle.path, opened.key, workspace.trust.holder) as plain:
        return {name: bytes(plain.read(name)) for name in plain.names()}


def test_rotation_changes_who_opens_and_not_one_byte_of_the_weights(apart: Apart) -> None:
    path, before = apart.bundle.path, numbers(apart.bundle.path)
    old = open_folder(path, apart.workspace.trust.holder)
    decision = apart.decision()
    done = rotate(apart)
    new = open_folder(path, apart.workspace.trust.holder)
    assert numbers(path) == before, "the very same files"
    assert new.manifest.digest == old.manifest.digest
    assert apart.decision() == decision, "the decision names the same bundle"
    assert opens(apart, new.shares, NEW[:2])
    assert not opens(apart, new.shares, NAMES[:2])
    assert (done.before, done.threshold) == (old.manifest.custody.custodians, 2)
    assert apart.kinds()[-2:] == ["key_released", "custody_rotated"]
    workspace = apart.workspace
    assert reads(workspace, find_bundle(workspace, None)) == plain_files(70_000)
    # And that is the difference to a revocation, as the command says it.
    assert opens(apart, old.shares, NAMES[:2]), "the former shares still open a kept copy"


def test_the_verifier_counts_by_the_rotated_threshold(apart: Apart) -> None:
    opened = apart.workspace
    public = [keys.ensure_custodian(apart.places, n) for n in (*NEW, "seven", "eight")]
    rotating.rotate(opened, find_bundle(opened, None), public, 4, "more must agree")
    workspace = apart.workspace
    bundle = find_bundle(workspace, None)
    rotating.open_key(workspace, bundle, None, lambda _text: None)
    report = verify(apart.places.evidence, apart.places.trust.read_bytes(), {})
    assert report.holds
    # The log's writer alone cannot say that two are enough: the holder signs each rotation.
    body = _last(apart, "custody_rotated")
    workspace.record(replace(body, body={**body.body, "threshold": 2}))
    report = verify(apart.places.evidence, apart.places.trust.read_bytes(), {})
    assert not report.holds
    shutil.rmtree(apart.places.evidence)
    shutil.copytree(apart.machine("one") / "evidence", apart.places.evidence)


@pytest.mark.parametrize("place", ["prepared", "recorded", "exchanged"])
def test_a_rotation_killed_anywhere_leaves_a_bundle_that_opens(
    apart: Apart, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing after it runs, not even what cleans up."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    workspace = apart.workspace
    real = rotating._exchange
    with monkeypatch.context() as patched:
        patched.setattr(rotating, "shutil", SimpleNamespace(rmtree=lambda *_, **__: None))
        if place == "prepared":
            patched.setattr(Workspace, "record", _killed_at("custody_rotated", Killed))
        elif place == "recorded":
            patched.setattr(rotating, "_exchange", _second(real, kill))
        else:
            patched.setattr(rotating, "_exchange", _second(real, _then(real, kill)))
        with pytest.raises(Killed):
            rotate(apart, workspace)
    bundle = find_bundle(apart.workspace, None)
    assert reads(apart.workspace, bundle) == plain_files(70_000)
    if place == "recorded":
        with pytest.raises(Refused) as caught:
            rotate(apart)
        assert caught.value.code == "rotation_completed"
    else:
        rotate(apart, reason="once more")
    bundle = find_bundle(apart.workspace, None)
    shares = open_folder(bundle.path, apart.workspace.trust.holder).shares
    assert opens(apart, shares, NEW[:2])
    assert reads(apart.workspace, bundle) == plain_files(70_000)
    left = [path.name for path in bundle.path.parent.iterdir()]
    assert left == [bundle.path.name]


def test_a_full_disk_leaves_the_bundle_as_it_was(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, workspace = digests(apart.bundle.path), apart.workspace
    new_keys(apart)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", full)
        with pytest.raises(DutchdoorError) as caught:
            rotate(apart, workspace)
    assert caught.value.code == "rotation_unavailable"
    assert digests(apart.bundle.path) == before
    assert "custody_rotated" not in apart.kinds()
    assert len(list(apart.bundle.path.parent.iterdir())) == 1


def test_too_few_present_custodians_rotate_nothing(apart: Apart) -> None:
    for name in NAMES[:2]:
        keys.custodian_path(apart.places, name).unlink()
    with pytest.raises(Refused) as caught:
        rotate(apart)
    assert caught.value.code == "no_quorum"
    assert "custody_rotated" not in apart.kinds()


def test_the_command_says_that_rotation_is_no_revocation(apart: Apart) -> None:
    new_keys(apart)
    named = [part for name in NEW for part in ("--custodian", name)]
    given = ["custody", "rotate", "--to", "2of3", "--reason", "one left", *named]
    assert apart.home(*given, "--custodian", "four").error == "bad_quorum"
    assert Ran(*given, "--workspace", str(apart.places.root)).code == 0
    told = CliRunner().invoke(app, ["custody", "rotate", "--help"]).stdout
    assert "takes nothing back" in " ".join(told.split())


def reseal(apart: Apart) -> Resealed:
    workspace = apart.workspace
    auditor = ensure_person(workspace, "Ada", "auditor")
    return resealing.reseal(
        workspace,
        find_bundle(workspace, "tiny"),
        "tiny-2",
        new_keys(apart),
        2,
        reason="a custodian's machine was stolen",
        auditors=[auditor.id],
    )


def test_revocation_is_another_key_another_bundle_and_an_end_of_the_former(apart: Apart) -> None:
    workspace = apart.workspace
    old = open_folder(apart.bundle.path, workspace.trust.holder)
    kept = Path(shutil.copytree(apart.bundle.path, apart.root / "kept.sealed"))
    apart.home("custody", "copy", "--place", "a vault in Turin")
    done = reseal(apart)
    workspace = apart.workspace
    assert done.bundle.digest != apart.bundle.digest
    assert not apart.bundle.path.exists()
    assert reads(workspace, done.bundle) == plain_files(70_000), "the same model"
    former = open_with_quorum_of(apart, old.shares, NAMES[:2])
    with pytest.raises(DutchdoorError) as caught:
        SealedBundle.open(done.bundle.path, former, workspace.trust.holder)
    assert caught.value.code == "wrong_key"
    workspace.register.refresh()
    with pytest.raises(DutchdoorError) as caught:
        workspace.register.in_force(apart.bundle.digest, workspace.clock.now_ms())
    assert caught.value.code == "revoked"
    assert [row.place for row in done.left] == ["a vault in Turin"], "what people must destroy"
    # What no program can take back, and the documents say so: a copy with its former quorum.
    with SealedBundle.open(kept, former, workspace.trust.holder) as plain:
        assert bytes(plain.read("config.json")) == plain_files(70_000)["config.json"]


def test_a_broken_bundle_is_not_sealed_anew(apart: Apart) -> None:
    path = apart.bundle.path / "0004.sealed"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = digests(apart.bundle.path)
    with pytest.raises(DutchdoorError):
        reseal(apart)
    assert digests(apart.bundle.path) == before
    assert [p.name for p in apart.bundle.path.parent.iterdir()] == [apart.bundle.path.name]
    assert apart.kinds()[-1] == "key_released"


def test_a_copy_that_nobody_recorded_is_an_alert_and_counts(apart: Apart) -> None:
    known = apart.root / "copy.sealed"
    made = apart.home("custody", "copy", "--to", str(known))
    assert apart.home("custody", "check-in", str(known)).value["copy"] == made.value["copy"]
    assert apart.home("custody", "check-in", str(apart.bundle.path)).value["known"]
    assert apart.home("custody", "copies").code == 0
    stolen = Path(shutil.copytree(known, apart.root / "stolen.sealed"))
    found = apart.home("custody", "check-in", str(stolen), "--place", "a laptop")
    assert (found.code, found.value["known"]) == (1, False)
    rows = apart.home("custody", "copies")
    assert rows.code == 1
    assert [row["place"] for row in rows.value if not row["known"]] == ["a laptop"]
    assert apart.workspace.copies.count(apart.bundle.digest) == 3
    given = (found.value["copy"], "--reason", "wiped")
    assert apart.home("custody", "destroyed", *given).code == 0
    assert apart.home("custody", "copies").code == 0
    (stolen / "0000.sealed").unlink()
    assert apart.home("custody", "check-in", str(stolen)).error == "file_missing"


def open_with_quorum_of(apart: Apart, shares: WrappedShares, names: tuple[str, ...]) -> ContentKey:
    paths = [keys.custodian_path(apart.places, name) for name in names]
    found = [unwrap_share(shares, load_custodian_key(path)) for path in paths]
    return combine(found, shares.commitment)


def _last(apart: Apart, kind: str) -> Entry:
    entries = [Entry.decode(data) for _, data in LogReader(apart.places.evidence).entries()]
    return next(entry for entry in reversed(entries) if entry.kind == kind)


def _killed_at(kind: str, killed: type[BaseException]) -> Callable[[Workspace, Entry], Recorded]:
    real = Workspace.record

    def record(workspace: Workspace, entry: Entry) -> Recorded:
        if entry.kind == kind:
            raise killed
        return real(workspace, entry)

    return record


def _second(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    """The first call is the look whether folders can change places at all."""
    calls: list[int] = []

    def call(*arguments: object) -> None:
        calls.append(1)
        (first if len(calls) == 1 else second)(*arguments)

    return call


def _then(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def call(*arguments: object) -> None:
        first(*arguments)
        second()

    return call


def test_a_drill_is_recorded_whether_it_passed_or_not(apart: Apart) -> None:
    assert apart.home("custody", "list").value[0]["drill_overdue"] is False
    ran = apart.home("custody", "drill")
    assert (ran.code, ran.value["passed"], len(ran.value["proven"])) == (0, True, 3)
    for name in NAMES[:2]:
        keys.custodian_path(apart.places, name).unlink()
    ran = apart.home("custody", "drill")
    assert (ran.code, ran.value["passed"], ran.value["missing"]) == (1, False, ["one", "two"])
    assert apart.home("custody", "list").value[0]["drill_overdue"] is True
    question = apart.root / "drill.json"
    assert apart.home("custody", "drill", "--out", str(question)).code == 0
    proofs = []
    for name in NAMES[:2]:
        given = ("custody", "prove", str(question), "--as", name)
        proved = apart.at(name, *given, "--bundle", str(apart.bundle.path))
        proofs += ["--proof", proved.value["proof"]]
    wrong = apart.home("custody", "drill", "--question", str(question), *proofs, *proofs[:2])
    assert wrong.error == "duplicate_custodian"
    ran = apart.home("custody", "drill", "--question", str(question), *proofs)
    assert (ran.code, ran.value["proven"]) == (0, ["one", "two"])
    assert apart.home("custody", "list").value[0]["drill_overdue"] is False
    drills = [kind for kind in apart.kinds() if kind == "custody_drilled"]
    assert len(drills) == 3
    assert "key_released" not in apart.kinds(), "nothing was opened"
