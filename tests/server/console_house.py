"""A workspace with a full audit, people with and without leases, and its console on loopback."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

from docs.examples.sign import EXAMPLE, example_trust
from dutchdoor.access.model import Budget
from dutchdoor.app.workspace import Workspace, make_workspace, open_workspace
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.trust import save_trust
from dutchdoor.ids import BundleDigest, KeyId
from dutchdoor.server.console.application import build_console
from dutchdoor.server.console.desk import Desk

K = DocumentKind
HOUR_MS = 3_600_000
AUDIT = EXAMPLE.name


class ConsoleHouse:
    """The worked example as a running audit, and the keys of people by their names."""

    def __init__(self, root: Path) -> None:
        made = make_workspace(root / "house")
        path = made.places.audits / AUDIT
        shutil.copytree(EXAMPLE, path)
        (path / "summary.json").unlink()
        # The example's people have keys and no accounts: nobody in this house would be among them.
        (path / "people.yaml").unlink()
        for name in ("P1", "P2"):
            for file in path.glob(f"*/{name}-*"):
                file.unlink()
        save_trust(made.places.trust, example_trust())
        self.workspace: Workspace = open_workspace(made.places)
        self.folder = AuditFolder(path)
        self.bundle = self.folder.subject().bundle
        self.keys: dict[str, str] = {}
        self.key_ids: dict[str, KeyId] = {}
        self.person("Ada", Depth.AUDIT)
        self.person("Rita", Depth.SAMPLING)
        self.person("Nobody")

    def person(self, name: str, *depths: Depth, bundle: str = "") -> None:
        """Somebody with a key, and a grant of these depths where there are any."""
        access = self.workspace.access
        person = access.add_person(name, "House", "auditor", record=lambda _: None)
        issued = access.issue_key(person.id, record=lambda _: None)
        self.keys[name], self.key_ids[name] = issued.secret.reveal(), issued.record.id
        if depths:
            now_ms = self.workspace.clock.now_ms()
            access.make_grant(
                person.id,
                BundleDigest(bundle or self.bundle),
                purpose="the audit",
                depths=depths,
                budget=Budget(10, 1_000),
                not_after_ms=now_ms + HOUR_MS,
                record=lambda _: None,
            )

    def path(self, kind: DocumentKind) -> Path:
        return self.folder.file(kind)


class Browser:
    """A client that sends what a browser sends, form tokens included."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=30)

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.http.post(path, data=form, headers={"origin": self.url})

    def log_in(self, key: str) -> httpx.Response:
        return self.post("/login", key=key)

    def open(self, kind: str, audit: str = AUDIT) -> dict[str, str]:
        """The fields of a document's form, as they would be sent back."""
        page = self.http.get(f"/audits/{audit}/{kind}")
        assert page.status_code == 200, page.text
        return fields(page.text)

    def save(self, kind: str, form: dict[str, str], audit: str = AUDIT) -> httpx.Response:
        return self.post(f"/audits/{audit}/{kind}", **form)


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the page's editing form."""
    found = dict(re.findall(r'name="(csrf|digest)" value="([^"]*)"', page))
    for name in ("front", "body"):
        text = re.search(rf'<textarea id="{name}"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
        assert text is not None, name
        found[name] = unescaped(text[1])
    return found


def unescaped(text: str) -> str:
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&#34;", '"'), ("&#39;", "'")):
        text = text.replace(entity, char)
    return text.replace("&amp;", "&")


@contextmanager
def console(house: ConsoleHouse) -> Iterator[str]:
    """The console of the house on a free port; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    desk = Desk(house.workspace, frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))
    config = uvicorn.Config(build_console(desk), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
