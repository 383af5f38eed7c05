"""The real server is opened by custodians on machines of their own: with the real processes."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from pathlib import Path

from dutchdoor.access.model import Budget, MonitorMode
from dutchdoor.app.background import stop_background
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.people import ensure_person
from dutchdoor.app.running import find_running
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.decision import Depth
from tests.app.apart import Apart
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import DAY_MS

QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def test_the_server_waits_for_its_custodians_and_is_opened_by_two_of_them(tmp_path: Path) -> None:
    apart = Apart(tmp_path, write_tiny_model(tmp_path / "model"))
    key = key_of_auditor(apart)
    alone = apart.home("serve", "--background", "--port", "0")
    assert alone.error == "cannot_start"
    assert "no_quorum" in alone.said, "no custodian's key is here"
    request = tmp_path / "opening.request"
    given = ("custody", "request", "--reason", "the weekly service", "--expires", "10m")
    try:
        asked = apart.home(*given, "--out", str(request), "--port", "0")
        assert asked.code == 0, asked.said
        told = apart.home("status")
        assert told.value.get("ready") is False, (told.said, told.result)
        shares = [apart.share(name, request) for name in ("one", "three")]
        assert "runtime_started" not in apart.kinds()
        ran = apart.home("custody", "open", *shares, "--wait", "120")
        assert ran.value["decision"] == apart.decision().id, ran.said
        kinds = apart.kinds()
        order = [kinds.index(kind) for kind in ("key_requested", "key_released", "runtime_started")]
        assert order == sorted(order)
        assert ask(find_running(apart.places).url, key) == 200
    finally:
        with contextlib.suppress(Unavailable):
            stop_background(apart.places)
    check_log(apart.places.evidence, apart.places.trust)


def key_of_auditor(apart: Apart) -> str:
    workspace = apart.workspace
    auditor = ensure_person(workspace, "Ada", "auditor")
    workspace.access.make_grant(
        auditor.id,
        find_bundle(workspace, None).digest,
        purpose="test",
        depths=(Depth.SAMPLING, Depth.LOGPROBS, Depth.AUDIT),
        budget=Budget(requests=100, tokens=1_000_000),
        not_after_ms=workspace.clock.now_ms() + DAY_MS,
        monitor_mode=MonitorMode.OBSERVE,
        concurrency_max=4,
        record=workspace.record,
    )
    return workspace.access.issue_key(auditor.id, record=workspace.record).secret.reveal()


def ask(url: str, key: str) -> int:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(QUESTION).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return int(response.status)
