"""Every door says who may open it, and each body can be read."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import msgspec
import pytest

from dutchdoor.evidence.tiles import decode_bundle, decode_tile
from dutchdoor.server.doors import Router, Who
from dutchdoor.server.routes import ROUTES
from tests.gateway.house import House
from tests.server.house import said, served


def test_a_route_that_does_not_say_who_may_call_it_stops_the_start() -> None:
    who: Any = "everybody"
    bad = dataclasses.replace(ROUTES[0], path="/v1/secret", who=who)
    with pytest.raises(AssertionError, match="does not say who"):
        Router([*ROUTES, bad])
    with pytest.raises(AssertionError, match="twice"):
        Router([*ROUTES, ROUTES[0]])


def test_what_runs_the_model_needs_a_grant() -> None:
    for route in ROUTES:
        # What only computes on what a decision says runs nothing; a key is enough.
        if route.method == "POST" and not route.path.startswith("/v1/dutchdoor/release/"):
            assert route.who is Who.GRANTED, route.path


@pytest.mark.parametrize("route", [r for r in ROUTES if r.body], ids=lambda r: r.path)
def test_each_body_is_a_type_that_can_be_decoded(route: Any) -> None:
    msgspec.json.Decoder(route.body)


def test_each_door_that_needs_a_key_is_shut_without_one(house: House) -> None:
    house.decide()
    with house.twin(), served(house) as server, server.http() as client:
        for route in ROUTES:
            path = route.path.replace("{inference}", "inf_x").replace("{level}", "0")
            path = path.replace("{rest}", "000.p/1")
            response = client.request(route.method, path)
            if route.who is Who.ANYBODY:
                assert response.status_code in {200, 404}, path
            else:
                assert response.status_code == 401, path


def test_the_log_is_served_in_the_paths_of_tlog_tiles(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server, server.http(key) as client:
        server.openai(key).chat.completions.create(model="twin", messages=said("one"), max_tokens=2)
        base = "/v1/dutchdoor/log"
        note = client.get(f"{base}/checkpoint").content
        size = int(note.split(b"\n")[1])
        bundle = client.get(f"{base}/tile/entries/000.p/{size}")
        rows = decode_bundle(bundle.content, size)
        assert rows == [data for _, data in house.log.refresh().entries()]
        tile = client.get(f"{base}/tile/0/000.p/{size}")
        assert len(decode_tile(tile.content, size)) == size
        for bad in ("000", f"000.p/{size + 1}", "0.p/1", "x000/000.p/1", "000.p/0", "001.p/1"):
            assert client.get(f"{base}/tile/0/{bad}").status_code == 404, bad
            assert client.get(f"{base}/tile/entries/{bad}").status_code == 404, bad


def test_the_status_page_shows_the_decision_and_no_secret(house: House) -> None:
    decision = house.decide(reasons="<script>alert(1)</script>")
    person, key = house.person()
    house.grant(person.id)
    with house.twin(), served(house) as server, server.http() as client:
        page = client.get("/")
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert decision.id in page.text
        assert "open under a decision" in page.text
        assert "<script" not in page.text
        assert key not in page.text
        assert person.id not in page.text
        assert client.get("/console/status.css").headers["content-type"].startswith("text/css")
        assert client.get("/readyz").json() == {"status": "ready", "troubles": []}
        house.revoke(decision)
        time.sleep(0.3)  # The log is followed every 50 ms; until then its gate refuses entries.
        assert "closed" in client.get("/").text
        assert client.get("/healthz").status_code == 200


def test_readiness_names_what_is_wrong(house: House) -> None:
    with served(house) as server, server.http() as client:
        response = client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["troubles"][0]["code"] == "runtime_down"
        assert "does not answer" in client.get("/").text


def test_metrics_count_and_name_nobody(house: House) -> None:
    house.decide()
    person, key = house.person()
    house.grant(person.id)
    with house.twin(), served(house) as server, server.http(key) as client:
        server.openai(key).chat.completions.create(
            model="twin", messages=said("swordfish"), max_tokens=2
        )
        text = client.get("/metrics").text
    assert 'dutchdoor_tokens_total{direction="written"} 2.0' in text
    for secret in (person.id, key, "Ada", "swordfish"):
        assert secret not in text


def test_people_see_what_they_were_granted_and_what_is_left(house: House) -> None:
    house.decide()
    key = house.granted(tokens=100)
    with house.twin(), served(house) as server, server.http(key) as client:
        body = {"model": "twin", "prompt": "a b c d", "taps": ["blocks.0.hook_resid_post"]}
        answer = client.post("/v1/dutchdoor/activations", json={**body, "positions": 2}).json()
        assert answer["shape"] == [1, 2, 576]
        assert answer["dutchdoor"]["vectors_released"] == 2
        me = client.get("/v1/dutchdoor/me").json()
        assert me["vectors"]["text"] == "2 of 576 independent vectors released"
        assert me["grants"][0]["budget_left"] == {"requests": 999, "tokens": 96, "vectors": 98}
        decision = client.get("/v1/dutchdoor/decision").json()
        assert decision["level"] == "cloud_api"
    house.check()
