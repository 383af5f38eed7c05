"""An audit that becomes overdue cuts what a real runtime is writing, and no token follows."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.app import keys
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.reaudit import DUE_KIND, Due
from dutchdoor.evidence.statement import sign_statement
from tests.check_log import check_log
from tests.whole.house import House, make_house, served
from tests.whole.researchers import AUDIT, Opened, open_to_researcher

GRACE_MS = 1_000
CUT_S_MAX = 5.0
TOKENS = 512


def bring_up(house: House) -> None:
    """An incident whose grace is a second."""
    workspace = house.workspace
    now_ms = workspace.clock.now_ms()
    bundle = house.bundle.digest
    due = Due("due_1", AUDIT, bundle, "incident", "it leaked", now_ms, GRACE_MS)
    signer = keys.approver(workspace.places, "approver-1")
    envelope = sign_statement(DUE_KIND, due.to_body(), [signer])
    body = {**due.to_body(), "envelope": base64.b64encode(envelope).decode()}
    workspace.record(Entry(EntryKind.AUDIT_DUE, now_ms, body))


class Stream(threading.Thread):
    """One stream as any client reads it. lines: when each came, and what it said."""

    def __init__(self, opened: Opened) -> None:
        super().__init__()
        self._opened = opened
        self.lines: list[tuple[float, dict[str, Any]]] = []

    def run(self) -> None:
        """Read to the end."""
        question = "Count from one to five hundred in words, without stopping."
        body = {
            "model": "tiny",
            "stream": True,
            "max_tokens": TOKENS,
            "temperature": 0,
            "messages": [{"role": "user", "content": question}],
        }
        request = urllib.request.Request(
            f"{self._opened.url}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self._opened.key}",
                "content-type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            for line in response:
                if line.startswith(b"data: {"):
                    self.lines.append((time.monotonic(), json.loads(line[6:])))


@pytest.mark.model
@pytest.mark.slow
def test_an_overdue_audit_cuts_a_stream_of_the_real_runtime(
    tmp_path: Path, model_folder: Path
) -> None:
    house = make_house(tmp_path / "house", model_folder)
    with served(house) as running:
        opened = open_to_researcher(house, running, examples=100, threshold="fpr_0.001")
        stream = Stream(opened)
        stream.start()
        end_s = time.monotonic() + 60
        while len(stream.lines) < 3 and stream.is_alive() and time.monotonic() < end_s:
            time.sleep(0.01)
        assert stream.is_alive(), f"it ended before it could be cut: {stream.lines[-1:]}"
        due_s = time.monotonic()
        bring_up(house)
        stream.join(timeout=60)
        assert not stream.is_alive()
        last_s, last = stream.lines[-1]
        assert last["error"]["code"] == "audit_overdue", last
        assert GRACE_MS / 1000 - 0.1 < last_s - due_s < GRACE_MS / 1000 + CUT_S_MAX
    reader = LogReader(house.workspace.places.evidence)
    reader.refresh()
    done = [
        entry.body
        for _, data in reader.entries()
        if (entry := Entry.decode(data)).kind is EntryKind.INFERENCE_DONE
    ]
    assert done[-1]["outcome"] == "revoked"
    assert 0 < done[-1]["counts"]["released_tokens"] < TOKENS
    check_log(house.workspace.places.evidence, house.workspace.places.trust)
