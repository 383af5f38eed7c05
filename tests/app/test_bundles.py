"""What sealing leaves beside the ciphertext, and what of a workspace git takes along."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from dutchdoor.app import bundles, keys
from dutchdoor.app.bundles import inventory_of
from dutchdoor.app.governance import collect, start_audit
from dutchdoor.app.people import ensure_person
from dutchdoor.app.workspace import Workspace, make_workspace
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind
from dutchdoor.errors import NotFound
from tests.runtime.tiny_model import write_tiny_model


def sealed(tmp_path: Path) -> tuple[Workspace, bundles.Bundle, Path]:
    source = tmp_path / "model"
    write_tiny_model(source)
    workspace = make_workspace(tmp_path / "house")
    born = bundles.seal(
        workspace,
        source,
        "tiny",
        quorum=(2, 3),
        custodians=("one", "two", "three"),
        auditors=[ensure_person(workspace, "Ada", "auditor")],
    )
    return workspace, born.bundle, source


def test_nothing_in_a_workspace_says_what_the_plaintext_files_hash_to(tmp_path: Path) -> None:
    workspace, bundle, source = sealed(tmp_path)
    audit = start_audit(workspace, bundle, "Ada")
    signer = keys.auditor(workspace.places, "auditor-1")
    audit.sign(signer, [DocumentKind.S0, DocumentKind.S2])
    collect(workspace, audit)
    plain = [path for path in source.rglob("*") if path.is_file()]
    assert plain
    written = b"".join(p.read_bytes() for p in workspace.places.root.rglob("*") if p.is_file())
    for path in plain:
        digest = hashlib.sha256(path.read_bytes())
        assert digest.hexdigest().encode() not in written, f"a digest of {path.name} is told"
        assert digest.digest() not in written


def test_the_checklist_has_the_files_names_and_the_manifests_digests(tmp_path: Path) -> None:
    workspace, bundle, source = sealed(tmp_path)
    rows = inventory_of(workspace, bundle)
    assert {row.path: row.size for row in rows} == {
        path.relative_to(source).as_posix(): path.stat().st_size
        for path in source.rglob("*")
        if path.is_file()
    }
    audit = start_audit(workspace, bundle, "Ada")
    audit.sign(keys.auditor(workspace.places, "auditor-1"), [DocumentKind.S0, DocumentKind.S2])
    collect(workspace, audit)
    front = AuditFolder(audit.path).read(DocumentKind.C1).front
    told = {row["name"]: row for row in front["artifacts"]}
    assert told["weights"]["files"]
    assert told["weights"]["digests"] == []
    manifest = [file.ciphertext for file in bundle.manifest.content.files]
    assert told["sealed files"]["digests"] == manifest


def test_the_list_of_names_does_not_travel_with_the_ciphertext(tmp_path: Path) -> None:
    workspace, bundle, _ = sealed(tmp_path)
    path = workspace.places.inventory / "tiny.json"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    for file in workspace.places.bundles.rglob("*"):
        assert not file.is_file() or b"config.json" not in file.read_bytes(), file
    path.unlink()
    with pytest.raises(NotFound):
        inventory_of(workspace, bundle)


PRIVATE = (
    "ada.key",
    "keyring/log.key",
    "keys-of-people/Paul.key",
    "receipts/1.json",
    "content/inf_1.json",
    "inventory/tiny.json",
    "evidence-with-one-byte-changed/checkpoint",
    "state.db",
    "state.db-wal",
    "run/gateway.json",
)
PUBLIC = ("dutchdoor.toml", "trust.json", "evidence/checkpoint", "audits/a/R4-summary.md")


def test_git_takes_neither_keys_nor_content_of_a_workspace(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "house")
    root = workspace.places.root
    subprocess.run(["git", "init", "-q", str(root)], check=True)

    def ignored(name: str) -> bool:
        command = ["git", "-C", str(root), "check-ignore", "-q", name]
        return subprocess.run(command, check=False).returncode == 0

    assert [name for name in PRIVATE if not ignored(name)] == []
    assert [name for name in PUBLIC if ignored(name)] == []
