"""Sealing and looking at bundles by command: the hub, a broken off draft, a folder without keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from dutchdoor.app import bundles as app_bundles
from dutchdoor.app import keys
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.main import app
from dutchdoor.config import Places
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.runtime.transformers_engine.loading import model_of_bundle
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.model import Progress
from dutchdoor.weights.reader import SealedBundle
from dutchdoor.weights.seal import seal_folder
from tests.runtime.tiny_model import write_tiny_model
from tests.weights.test_hub import COMMIT, Hub


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("plain") / "model")


@pytest.fixture
def house(tmp_path: Path) -> list[str]:
    workspace = ["--workspace", str(tmp_path / "house")]
    assert run("init", *workspace).exit_code == 0
    return workspace


def seen(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def test_anybody_sees_what_the_holder_shows_and_no_more(
    model: Path, house: list[str], tmp_path: Path
) -> None:
    shown = ["--licence", "Apache-2.0", "--show-tensors"]
    sealed = seen("seal", str(model), "-o", "open", *shown, *house)
    assert run("seal", str(model), "-o", "closed", *house).exit_code == 0
    bundle, trust = tmp_path / "house/bundles/open.sealed", tmp_path / "house/trust.json"
    found = seen("inspect", str(bundle), "--trust", str(trust))
    assert found["licence"] == "Apache-2.0"
    assert found["decision"] == sealed["decision"]
    assert found["parameters"] == sum(torch.Size(row["shape"]).numel() for row in found["tensors"])
    assert set(found["tensors"][0]) == {"name", "dtype", "shape"}
    text = run("inspect", str(bundle), "--trust", str(trust), "--tensors", "--full")
    assert "model.embed_tokens.weight" in text.stdout
    assert "every byte: unchanged" in text.stdout
    closed = tmp_path / "house/bundles/closed.sealed"
    assert seen("inspect", "closed", *house)["tensors"] is None
    assert b"embed_tokens" not in (closed / "manifest.json").read_bytes()


def test_a_manifest_of_somebody_else_is_not_shown(
    model: Path, house: list[str], tmp_path: Path
) -> None:
    assert run("seal", str(model), "-o", "m", *house).exit_code == 0
    assert run("init", "--workspace", str(tmp_path / "other")).exit_code == 0
    bundle = str(tmp_path / "house/bundles/m.sealed")
    result = run("inspect", bundle, "--trust", str(tmp_path / "other/trust.json"))
    assert result.exit_code != 0
    assert "too_few_signatures" in result.output


def test_a_broken_off_sealing_goes_on(
    model: Path, house: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = seal_folder

    def interrupted(*arguments: Any, **named: Any) -> Any:
        def stop(progress: Progress) -> None:
            raise KeyboardInterrupt

        return real(*arguments, **{**named, "report": stop})

    monkeypatch.setattr(app_bundles, "seal_folder", interrupted)
    assert run("seal", str(model), "-o", "m", *house).exit_code != 0
    monkeypatch.undo()
    again = run("seal", str(model), "-o", "m", *house)
    assert again.exit_code != 0
    assert "--resume" in again.output
    custodians = tmp_path / "house/keyring/custodians"
    kept = {path: path.read_bytes() for path in custodians.glob("*.key")}
    for path in list(kept)[:2]:
        path.unlink()
    alone = run("seal", str(model), "-o", "m", "--resume", *house)
    assert alone.exit_code != 0, "one custodian alone goes on with nothing"
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    assert run("seal", str(model), "-o", "m", "--resume", *house).exit_code == 0
    assert seen("inspect", "m", "--full", *house)["changes"] == []


def test_a_hub_model_is_sealed_and_leaves_nothing_in_plain(
    model: Path, house: list[str], tmp_path: Path
) -> None:
    files = {p.name: p.read_bytes() for p in model.iterdir()} | {"pytorch_model.bin": b"\x80\x04"}
    hub = Hub(files)
    try:
        script = "import sys; from dutchdoor.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", script, "seal", "hf:org/tiny", *house, "--json"]
        # The hub is the test's own, on loopback: it is asked also where all others are shut off.
        own = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
        home = {**os.environ, **own, "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(command, env=home, capture_output=True, text=True, timeout=120)
    finally:
        hub.close()
    assert done.returncode == 0, done.stderr
    sealed = json.loads(done.stdout)
    assert (sealed["name"], sealed["origin"]) == ("tiny", f"hf:org/tiny@{COMMIT}")
    assert list(tmp_path.rglob("*.safetensors")) == []
    assert seen("inspect", "tiny", *house)["licence"] == "apache-2.0"


def test_transformers_fills_a_model_with_the_decrypted_memory_itself(
    model: Path, house: list[str], tmp_path: Path
) -> None:
    """The plaintext is in memory once: parameters are views of what was decrypted."""
    assert run("seal", str(model), "-o", "m", *house).exit_code == 0
    path = tmp_path / "house/bundles/m.sealed"
    workspace = open_workspace(Places(tmp_path / "house"))
    folder = open_folder(path, workspace.trust.holder)
    here = keys.local_custodians(workspace.places)[:2]
    key = combine(
        [unwrap_share(folder.shares, one) for one in here], folder.manifest.content.commitment
    )
    with SealedBundle.open(path, key, workspace.trust.holder) as files:
        weights = {view.name: view for view in files.tensors("model.safetensors")}
        filled = model_of_bundle(files, torch.float32)
    parameters = dict(filled.named_parameters())
    assert set(parameters) <= set(weights) | {"lm_head.weight"}
    spans = [p.untyped_storage().data_ptr() for p in parameters.values()]
    assert len(spans) > 10
    for name, parameter in parameters.items():
        if name in weights:
            assert bytes(weights[name].data) == parameter.detach().numpy().tobytes()
    lowest = min(p.data_ptr() for p in parameters.values())
    highest = max(p.data_ptr() + p.nbytes for p in parameters.values())
    assert highest - lowest <= files_size(model) + (1 << 21), "one memory, nothing copied"


def files_size(model: Path) -> int:
    return (model / "model.safetensors").stat().st_size
