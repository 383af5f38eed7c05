"""The supervisor itself: killed, started again, and kept from opening what cannot be served."""

from __future__ import annotations

import os
import signal
import time

import pytest

from dutchdoor.app.background import start_background, stop_background
from dutchdoor.app.http import answers
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from tests.check_log import check_log
from tests.runtime.tiny_model import write_tiny_model
from tests.whole.house import House, make_house, served

GONE_S_MAX = 30.0
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("supervisor")
    return make_house(root / "house", write_tiny_model(root / "model"))


def kinds(house: House) -> list[str]:
    reader = LogReader(house.workspace.places.evidence)
    reader.refresh()
    return [str(Entry.decode(data).kind) for _, data in reader.entries()]


def test_killing_the_supervisor_leaves_no_orphan_and_the_port_can_be_had_again(
    house: House,
) -> None:
    places = house.workspace.places
    with served(house) as running:
        port = int(running.url.rsplit(":", 1)[1])
        assert house.ask(running.url, "/v1/chat/completions", QUESTION)[0] == 200
        os.kill(running.supervisor_pid, signal.SIGKILL)
        end_s = time.monotonic() + GONE_S_MAX
        while answers(running.url) and time.monotonic() < end_s:
            time.sleep(0.05)
        assert not answers(running.url), "the gateway serves on without a supervisor"
        again = start_background(places, port=port)
        try:
            assert again.url == running.url
            assert house.ask(again.url, "/v1/chat/completions", QUESTION)[0] == 200
        finally:
            stop_background(places)
    check_log(places.evidence, places.trust)


def test_no_key_is_released_for_a_gateway_that_cannot_serve(house: House) -> None:
    places = house.workspace.places
    before = kinds(house).count("key_released")
    broken = places.policies / "broken.cedar"
    broken.write_text("permit(")
    try:
        with pytest.raises(Unavailable) as caught:
            start_background(places, port=0)
        assert "dutchdoor gateway" in caught.value.hint
    finally:
        broken.unlink()
    assert kinds(house).count("key_released") == before


def test_two_servers_in_one_workspace_are_refused(house: House) -> None:
    from dutchdoor.errors import Refused

    with served(house), pytest.raises(Refused):
        start_background(house.workspace.places, port=0)
