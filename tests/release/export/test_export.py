"""Weights leave by a decision that says so, recorded first, in a package that proves itself."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from model_signing import verifying
from typer.testing import CliRunner

from dutchdoor.app.exporting import export_package, package_key
from dutchdoor.app.governance import revoke, signer_of
from dutchdoor.cli.main import app
from dutchdoor.errors import Invalid, NotInForce, Refused, Tampered, Unavailable
from dutchdoor.evidence.terms import ComponentAccess, ComponentTerms, Terms
from dutchdoor.release.export.check import check_package
from dutchdoor.release.export.conditions import WEIGHTS
from dutchdoor.release.export.signing import PackageKey
from tests.audit.parts import People
from tests.check_log import check_log
from tests.release.export.parts import LICENCE, OPENED, Holder, make_holder


@pytest.fixture
def holder(tmp_path: Path) -> Holder:
    return make_holder(tmp_path, amend={})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Holder, Path]:
    root = tmp_path_factory.mktemp("exported")
    holder = make_holder(root, amend={})
    holder.decided()
    export_package(holder.workspace, holder.bundle, root / "package", holder.licence)
    return holder, root / "package"


@pytest.fixture
def package(exported: tuple[Holder, Path], tmp_path: Path) -> tuple[Holder, Path]:
    """A copy to break."""
    shutil.copytree(exported[1], tmp_path / "copy")
    return exported[0], tmp_path / "copy"


def plaintext_on_disk(holder: Holder) -> list[Path]:
    """Files below the test's folder that begin as the weights do, but the sealed model's source."""
    weights = (holder.plain / "model.safetensors").read_bytes()[:4096]
    root = holder.plain.parent
    found = [path for path in root.rglob("*") if path.is_file() and path.stat().st_size > 4096]
    return [p for p in found if p.read_bytes()[:4096] == weights and holder.plain not in p.parents]


def test_the_package_holds_the_model_the_cards_the_licence_and_the_decision(
    exported: tuple[Holder, Path],
) -> None:
    holder, package = exported
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (package / name).read_bytes() == (holder.plain / name).read_bytes()
    assert (package / "LICENSE").read_bytes() == LICENCE
    assert "model" in (package / "README.md").read_text().lower()
    assert "Release decision" in (package / "dutchdoor/decision.md").read_text()
    cards = {path.name for path in (package / "cards").iterdir()}
    assert cards == {"datasheet.md", "ml-bom.cdx.json", "mof.yml", "spdx.json"}
    assert not (package / "diary.txt").exists(), "what is no part of a model stays inside"
    found = check_package(package, holder.workspace.trust)
    assert found.decision.level == "downloadable"
    assert holder.kinds().index("package_exported") < len(holder.kinds()) - 1
    assert holder.kinds()[-1] == "key_released", "recorded before the custodians are asked"
    check_log(holder.workspace.places.evidence, holder.workspace.places.trust)


def test_the_tool_of_openssf_verifies_the_package_and_sees_a_changed_byte(
    package: tuple[Holder, Path], tmp_path: Path
) -> None:
    holder, folder = package
    key = tmp_path / "package.pub"
    key.write_bytes(package_key(holder.workspace.places).public_pem)

    def verify() -> None:
        config: Any = verifying.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_verifier(public_key=key).verify(folder, folder / "model.sig")

    verify()
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        verify()


@pytest.mark.parametrize("name", ["model.safetensors", "README.md", "dutchdoor/decision.md"])
def test_a_changed_byte_anywhere_is_noticed(package: tuple[Holder, Path], name: str) -> None:
    holder, folder = package
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(Tampered):
        check_package(folder, holder.workspace.trust)


def test_a_file_added_or_gone_or_linked_is_noticed(
    package: tuple[Holder, Path], tmp_path: Path
) -> None:
    holder, folder = package
    trust = holder.workspace.trust
    (folder / "modeling_tiny.py").write_text("import os")
    with pytest.raises(Tampered):
        check_package(folder, trust)
    (folder / "modeling_tiny.py").unlink()
    (folder / "config.json").rename(tmp_path / "config.json")
    with pytest.raises(Tampered):
        check_package(folder, trust)
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    with pytest.raises(Tampered):
        check_package(folder, trust)


def test_a_package_signed_anew_by_somebody_else_does_not_hold(
    package: tuple[Holder, Path],
) -> None:
    """Whoever changes the weights can sign them; nobody but the holder can name the key."""
    from dutchdoor.release.export.signing import SignedFiles, open_signature, public_key_of

    holder, folder = package
    mine = package_key(holder.workspace.places)
    signed = open_signature((folder / "model.sig").read_bytes(), public_key_of(mine.public_pem))
    forged = PackageKey.generate().sign(SignedFiles(signed.name, signed.files))
    (folder / "model.sig").write_bytes(forged)
    with pytest.raises(Tampered):
        check_package(folder, holder.workspace.trust)
    with pytest.raises(Invalid):
        check_package(folder, People().trust)


def test_the_receipts_of_another_export_do_not_stand_for_this_one(
    package: tuple[Holder, Path],
) -> None:
    holder, folder = package
    receipt = folder / "dutchdoor/decision.receipt.json"
    key = package_key(holder.workspace.places)
    (folder / "dutchdoor/export.receipt.json").write_bytes(receipt.read_bytes())
    _sign_again(folder, key)
    with pytest.raises(Invalid) as caught:
        check_package(folder, holder.workspace.trust)
    assert caught.value.code == "package_not_recorded"


def test_below_the_open_levels_nothing_is_exported(holder: Holder, tmp_path: Path) -> None:
    before = holder.kinds()
    with pytest.raises(Refused) as caught:
        export_package(holder.workspace, holder.bundle, tmp_path / "out", holder.licence)
    assert caught.value.code == "export_not_decided"
    assert holder.kinds() == before
    assert not plaintext_on_disk(holder)


def test_after_a_revocation_nothing_is_exported(holder: Holder, tmp_path: Path) -> None:
    decision = holder.decided()
    signer = signer_of(holder.workspace, "approver-1")
    revoke(holder.workspace, decision.id, "a copy was found", signer)
    with pytest.raises(NotInForce):
        export_package(holder.workspace, holder.bundle, tmp_path / "out", holder.licence)
    assert "package_exported" not in holder.kinds()
    assert not plaintext_on_disk(holder)


def test_a_changed_bundle_leaves_no_half_package(holder: Holder, tmp_path: Path) -> None:
    holder.decided()
    largest = max(holder.bundle.path.glob("*.sealed"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    with pytest.raises((Tampered, Unavailable)):
        export_package(holder.workspace, holder.bundle, tmp_path / "out", holder.licence)
    assert not (tmp_path / "out").exists()
    assert not plaintext_on_disk(holder)


def test_rules_edited_by_hand_stop_an_export_too(holder: Holder, tmp_path: Path) -> None:
    holder.decided(copies_max=2)
    path = holder.workspace.places.policies / "decision.cedar"
    text = path.read_text()
    path.write_text(text + "permit (principal, action, resource);\n")
    with pytest.raises(Unavailable) as caught:
        export_package(holder.workspace, holder.bundle, tmp_path / "out", holder.licence)
    assert caught.value.code == "policies_differ"
    path.write_text(text)
    export_package(holder.workspace, holder.bundle, tmp_path / "first", holder.licence)
    with pytest.raises(Refused) as refused:
        export_package(holder.workspace, holder.bundle, tmp_path / "second", holder.licence)
    assert refused.value.code == "custody_copies"
    assert not (tmp_path / "second").exists()


def test_a_level_at_which_weights_leave_opens_them_in_so_many_words(holder: Holder) -> None:
    for row in (
        ComponentTerms(WEIGHTS, ComponentAccess.SERVED, "Apache-2.0"),
        ComponentTerms(WEIGHTS, ComponentAccess.PUBLIC, ""),
    ):
        with pytest.raises((Invalid, Refused)):
            holder.proposed(Terms(components=(row,)))


def test_the_guide_shows_how_a_level_is_proposed_at_which_weights_leave(
    holder: Holder, tmp_path: Path
) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "export.md").read_text()
    (rows,) = re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)
    (shown,) = re.findall(
        r"^\$ dutchdoor (release propose .*?)\n\$", guide, re.DOTALL | re.MULTILINE
    )
    file = tmp_path / "components.yaml"
    file.write_text(rows)
    words = shlex.split(shown.replace("\\\n", " "))
    words = [str(file) if word == file.name else word for word in words]
    at = ["--workspace", str(holder.workspace.places.root), "--json"]
    proposed = CliRunner().invoke(app, [*words, *at])
    assert proposed.exit_code == 0, proposed.output
    name = json.loads(proposed.stdout)["proposal"]
    checked = CliRunner().invoke(app, ["release", "check", name, *at])
    assert checked.exit_code == 0, checked.output
    without = [word for word in words if word not in {"--components", str(file)}]
    refused = CliRunner().invoke(app, [*without, *at])
    assert "weights_not_opened" in refused.output
    assert "--components FILE" in refused.output


@pytest.mark.parametrize("amend", [None, {"bundle": "sha256:" + "9" * 64}])
def test_without_an_amend_test_of_this_model_no_weights_are_decided_to_leave(
    tmp_path: Path, amend: dict[str, str] | None
) -> None:
    if amend is not None:
        pytest.importorskip("model_signing")
    try:
        holder = make_holder(tmp_path, amend=amend)
    except (Invalid, Tampered):
        return  # The audit itself does not complete with another model's test.
    with pytest.raises(Invalid) as caught:
        holder.proposed(Terms(components=(OPENED,)))
    assert caught.value.code == "amend_missing"


def _sign_again(folder: Path, key: PackageKey) -> None:
    import hashlib

    from dutchdoor.release.export.signing import SignedFiles

    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "model.sig"
    }
    (folder / "model.sig").write_bytes(key.sign(SignedFiles("tiny", files)))
