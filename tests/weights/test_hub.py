"""A model of a hub over real HTTP on loopback; what the hub must not make us take."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dutchdoor.errors import Invalid, NotFound, Refused, Tampered, Unavailable
from dutchdoor.weights.hub import HubName, choose_files, fetch_model, parse_hub_name
from tests.weights.parts import read_all, safetensors, seal

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = HubName("org/tiny", None)
FILES = {
    "config.json": b'{"hidden_size":4}',
    "model.safetensors": safetensors({"w": ("F32", [2, 2], bytes(range(16)))}),
    "tokenizer.json": b"{}",
    "LICENSE": b"free",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "modeling_tiny.py": b"print('code')",
    "pytorch_model.bin": b"\x80\x04K\x01.",
    "onnx/model.onnx": b"onnx",
    ".gitattributes": b"",
}


class Hub:
    """The part of the hub's interface that its library uses to fetch a model."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = dict(files)
        self.said = {n: hashlib.sha256(data).hexdigest() for n, data in files.items()}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
                """Nothing on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append(path)
        headers = {"X-Repo-Commit": COMMIT}
        resolve = f"/org/tiny/resolve/{COMMIT}/"
        data, status = b"", 404
        if path.startswith("/api/models/org/tiny"):
            data, status = self._listing(path), 200
        elif path.startswith(resolve) and path[len(resolve) :] in self.files:
            name = path[len(resolve) :]
            data, status = self.files[name], 200
            headers["ETag"] = f'"{self.said[name]}"'
        else:
            headers["X-Error-Code"] = "RepoNotFound"
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            request.wfile.write(data)

    def _listing(self, path: str) -> bytes:
        if "/tree/" in path:
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": self.said[name][:40]}
                for name, data in self.files.items()
            ]
            return json.dumps(rows).encode()
        siblings = [self._sibling(name, data) for name, data in self.files.items()]
        info = {"id": "org/tiny", "sha": COMMIT, "siblings": siblings, "private": False}
        return json.dumps({**info, "cardData": {"license": "apache-2.0"}}).encode()

    def _sibling(self, name: str, data: bytes) -> dict[str, Any]:
        row: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
        if name.endswith(".safetensors"):
            row["lfs"] = {"sha256": self.said[name], "size": len(data), "pointerSize": 130}
        return row


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # The hub is the test's own, on loopback: it is asked also where all others are shut off.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server = Hub(FILES)
    yield server
    server.close()


def test_a_model_is_fetched_and_sealed(hub: Hub, tmp_path: Path) -> None:
    model = fetch_model(NAME, tmp_path / "model-plain", hub.endpoint)
    assert model.origin == f"hf:org/tiny@{COMMIT}"
    assert model.licence == "apache-2.0"
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "LICENSE", "README.md"}
    assert set(model.files) == wanted
    assert "pytorch_model.bin" in model.left_out
    found = {p.relative_to(tmp_path / "model-plain").as_posix() for p in tmp_path.rglob("*.*")}
    assert not {name for name in found if name.endswith((".py", ".bin", ".onnx"))}
    sealed = seal(tmp_path, {name: FILES[name] for name in wanted})
    assert read_all(sealed.open()) == {name: FILES[name] for name in wanted}


def test_what_is_fetched_is_of_the_commit_that_was_looked_at(hub: Hub, tmp_path: Path) -> None:
    """The branch may move meanwhile: files are asked for by the commit, never by the branch."""
    fetch_model(HubName("org/tiny", "main"), tmp_path, hub.endpoint)
    assert not [path for path in hub.asked if "/resolve/main/" in path]
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: Hub, tmp_path: Path) -> None:
    changed = bytearray(hub.files["model.safetensors"])
    changed[-1] ^= 1
    hub.files["model.safetensors"] = bytes(changed)
    with pytest.raises(Tampered) as caught:
        fetch_model(NAME, tmp_path, hub.endpoint)
    assert caught.value.code == "hub_file_changed"


def test_a_model_that_is_not_there_is_said_to_be_missing(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        fetch_model(HubName("org/other", None), tmp_path, hub.endpoint)
    assert caught.value.code == "no_hub_model"
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_it_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        fetch_model(NAME, tmp_path, "http://127.0.0.1:9")
    assert caught.value.code == "hub_unavailable"
    assert caught.value.hint


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", "w.PKL"])
def test_pickled_weights_are_refused(name: str) -> None:
    with pytest.raises(Refused) as caught:
        choose_files(["config.json", name])
    assert caught.value.code == "unsafe_file"
    assert "safetensors" in caught.value.hint


def test_a_repository_cannot_choose_where_it_is_written() -> None:
    names = ["../x.json", "/etc/x.json", "a/../../x.json", ".hidden/x.json", "m.safetensors"]
    assert choose_files(names) == ("m.safetensors",)
    with pytest.raises(Invalid):
        choose_files(["config.json"])


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a", "hf:a/b/c", "hf:a/b@", "hf:a b/c", "a/b", "hf:../b", "hf:a/b@x y"]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_hub_name(text)
    assert caught.value.code == "bad_hub_name"


def test_a_name_may_name_a_revision() -> None:
    assert parse_hub_name("hf:org/tiny") == NAME
    assert parse_hub_name("hf:org/tiny@v1.0") == HubName("org/tiny", "v1.0")
