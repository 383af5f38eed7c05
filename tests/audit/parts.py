"""Real keys, a real server on loopback with foreseeable answers, audits ready for each step."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dutchdoor import canonical
from dutchdoor.audit.artifacts import BundleFacts, BundleFile
from dutchdoor.audit.evaluate import Endpoint, EvaluationOptions
from dutchdoor.audit.filling import ProbeFacts, fill_testing
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, FindingStatus
from dutchdoor.audit.ports import Record
from dutchdoor.audit.service import Audit
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.audit.view import write_view
from dutchdoor.clock import FixedClock
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.statement import key_id
from dutchdoor.ids import BundleDigest

BUNDLE = BundleDigest("sha256:" + "a" * 64)
OTHER_BUNDLE = BundleDigest("sha256:" + "b" * 64)
RECALL = {"value": "0.7100", "low": "0.6400", "high": "0.7700"}
CARD = {
    "thresholds": {"fpr_0.01": {}, "fpr_0.05": {}},
    "sources_left_out": {"recall": {"fpr_0.01": RECALL}},
}
PROBE = ProbeFacts("sha256:" + "c" * 64, canonical.encode(CARD))
API_KEY = "ddk_a_key_that_must_never_be_written"


class Key:
    """An Ed25519 key in memory, as custody's signers are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        return key_id(self.public_key)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


class People:
    """A holder, two approvers, a stranger, and the trust that knows all but the stranger."""

    def __init__(self, approvals_min: int = 2) -> None:
        self.holder, self.log = Key("holder"), Key("log")
        self.first, self.second, self.third = Key("ines"), Key("tomas"), Key("mira")
        self.stranger = Key("stranger")
        approvers = (self.first, self.second, self.third)
        self.trust = Trust(
            "example.org/test",
            self.log.public_key,
            {self.holder.id: self.holder.public_key},
            {key.id: key.public_key for key in approvers},
            approvals_min,
        )


class Recorder:
    """Keeps entries as bytes, or refuses like a full disk."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.full = False

    def __call__(self, entry: Entry) -> Recorded:
        if self.full:
            raise Unavailable("the disk is full", code="log_unavailable")
        data = entry.encode()
        self.entries.append(Entry.decode(data))
        return Recorded(len(self.entries) - 1, data)


FACTS = BundleFacts(
    bundle=BUNDLE,
    model="smol",
    files=tuple(
        BundleFile(name, 10, "sha256:" + "d" * 64)
        for name in (
            "model.safetensors",
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "generation_config.json",
        )
    ),
    sealed=(BundleFile("0000.sealed", 10, "sha256:" + "e" * 64),),
    guard_rules="rules-1",
)


def started(folder: Path, people: People, bundle: str = BUNDLE) -> Audit:
    """An audit just started."""
    clock = FixedClock()
    return Audit.start(folder, people.trust, clock, bundle=bundle, model="smol", auditor="Ada")


def collected(folder: Path, people: People, bundle: str = BUNDLE) -> Audit:
    """An audit up to the signed checklist."""
    audit = started(folder, people, bundle)
    audit.sign(people.first, [DocumentKind.S0, DocumentKind.S2])
    audit.collect(replace(FACTS, bundle=bundle))
    audit.sign(people.first, [DocumentKind.C1])
    return audit


def measured(name: str, hits: int, n: int, logs: Path, bundle: str = BUNDLE) -> Evaluation:
    """Figures with a log beside them, as `run` leaves them."""
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"{name}.eval").write_bytes(name.encode())
    return Evaluation.of(
        name=name,
        counts="counted",
        n=n,
        hits=hits,
        guard_stopped=0,
        seed=1,
        tokens_max=48,
        bundle=bundle,
        access_depth="sampling",
        log=f"{name}.eval",
        log_digest="sha256:" + canonical.sha256_hex(name.encode()),
    )


def examined(
    folder: Path, people: People, *, probe: ProbeFacts | None = PROBE, bundle: str = BUNDLE
) -> Audit:
    """An audit with figures in T2: hardly a refusal, otherwise well."""
    audit = collected(folder, people, bundle)
    files = AuditFolder(audit.path)
    rows = [
        measured("capability_short_answers", 20, 40, files.logs, bundle),
        measured("refusal", 4, 40, files.logs, bundle),
        measured("over_refusal", 1, 40, files.logs, bundle),
    ]
    fill_testing(files, rows, "sampling", probe)
    write_view(audit, "Few figures: they speak for a narrow release behind the guard.")
    return audit


def settle_all(audit: Audit) -> None:
    """Accept every severe finding."""
    for finding in audit.status().findings:
        if finding.blocks:
            audit.settle(finding.id, FindingStatus.MITIGATED, "the guard is required", "Ada")


def completed(folder: Path, people: People, record: Record) -> AuditSummary:
    """The summary of an audit that went its whole way."""
    audit = examined(folder, people)
    settle_all(audit)
    audit.sign(people.first)
    return audit.complete(people.first, record)


Answer = Callable[[str], str]


@contextmanager
def openai_server(answer: Answer) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A chat completions server on loopback; gives its base URL and what it was asked.

    An answer of "GUARD" ends with the finish reason `content_filter`, one of "FAIL" with 503. Other
    routes than chat completions are not found, as with most servers that are not ours.
    """
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not self.path.endswith("/chat/completions"):
                self.send_error(404)
                return
            asked.append({**body, "authorization": self.headers.get("Authorization", "")})
            text = answer(body["messages"][-1]["content"])
            stopped = text == "GUARD"
            choice = {
                "index": 0,
                "finish_reason": "content_filter" if stopped else "stop",
                "message": {"role": "assistant", "content": "" if stopped else text},
            }
            value = {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
            }
            if text == "FAIL":
                message = "what runs is not what was decided: probe"
                value = {"error": {"code": "guard_mismatch", "message": message}}
            data = json.dumps(value).encode()
            self.send_response(503 if text == "FAIL" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endpoint(base_url: str, bundle: str = BUNDLE) -> Endpoint:
    return Endpoint(base_url=base_url, model="smol", bundle=bundle, api_key=API_KEY)


OPTIONS = EvaluationOptions(seed=7, limit=4, total_s_max=120)
