"""A small real HTTP server that speaks the paths of the Transit engine that we use.

It is no OpenBao: it follows the API documentation of encrypt, decrypt and rewrap, with AES-256-GCM
keys of several versions, tokens with one policy each, and the engine's status codes.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["TOKEN", "Transit", "transit"]

TOKEN = b"hvs.CAESIJ-a-token-of-a-custodian"


class Transit:
    """The engine's state: keys by name, each with its versions; what was asked."""

    def __init__(self) -> None:
        self.keys: dict[str, list[bytes]] = {"one": [AESGCM.generate_key(256)]}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.sealed = False
        self.answer: bytes | None = None
        self.url = ""

    def rotate(self, name: str) -> None:
        self.keys[name].append(AESGCM.generate_key(256))

    def encrypt(self, name: str, plaintext: bytes) -> str:
        version = len(self.keys[name])
        nonce = os.urandom(12)
        sealed = nonce + AESGCM(self.keys[name][-1]).encrypt(nonce, plaintext, b"")
        return f"vault:v{version}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, name: str, text: str) -> bytes:
        _, version, data = text.split(":")
        sealed = base64.b64decode(data)
        return AESGCM(self.keys[name][int(version[1:]) - 1]).decrypt(sealed[:12], sealed[12:], b"")

    def call(self, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != TOKEN.decode():
            return 403, {"errors": ["permission denied"]}
        verb, name = path.removeprefix("/v1/transit/").split("/")
        self.asked.append((verb, body))
        if name not in self.keys:
            return 400, {"errors": ["encryption key not found"]}
        try:
            if verb == "encrypt":
                plaintext = base64.b64decode(body["plaintext"])
                return 200, {"data": {"ciphertext": self.encrypt(name, plaintext)}}
            plaintext = self.decrypt(name, body["ciphertext"])
        except (InvalidTag, ValueError, IndexError):
            return 400, {"errors": ["invalid ciphertext"]}
        if verb == "rewrap":
            return 200, {"data": {"ciphertext": self.encrypt(name, plaintext)}}
        return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}


@contextmanager
def transit() -> Iterator[Transit]:
    """The engine, served on this machine."""
    engine = Transit()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, value = engine.call(self.path, self.headers.get("X-Vault-Token", ""), body)
            data = engine.answer if engine.answer is not None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    engine.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
