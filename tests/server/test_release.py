"""What a decision makes possible, over HTTP: for people with a key, and without doing anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.openness import Audience, Depth
from tests.gateway.house import House
from tests.server.house import served

NOW = "/v1/dutchdoor/release/combinations"
WHAT_IF = "/v1/dutchdoor/release/what-if"


def test_what_is_possible_now_is_told_with_its_flags_and_its_class(house: House) -> None:
    decision = house.decide()
    _, key = house.person()
    with house.twin(), served(house) as server, server.http(key) as client:
        value = client.get(NOW).json()
    assert value["decision"] == decision.id
    assert value["activities"]["study"]["circle"] == "users"
    assert value["activities"]["modify"] == {
        "enabled": False,
        "circle": "",
        "people": "",
        "ways": [],
    }
    assert value["activities"]["rescind"]["enabled"]
    assert value["openness"]["class"] == 0
    named = {flag["name"] for flag in value["flags"]}
    assert {"free_scores_at_known_states", "distilled"} <= named
    assert not value["forbidden"]


def test_names_of_people_are_not_told(house: House) -> None:
    house.decide(audiences=(Audience("researcher", (Depth.SAMPLING,), ("person_hidden",)),))
    _, key = house.person()
    with house.twin(), served(house) as server, server.http(key) as client:
        assert "person_hidden" not in client.get(NOW).text
        assert "person_hidden" not in client.post(WHAT_IF, json={}).text


def test_asking_what_if_tells_and_changes_nothing(house: House) -> None:
    house.decide()
    _, key = house.person()
    with house.twin(), served(house) as server, server.http(key) as client:
        before = (client.get("/v1/dutchdoor/decision").json(), house.log.refresh().size)
        change = {"depths": {"researcher": ["interventions"]}}
        value = client.post(WHAT_IF, json={"change": change}).json()
        (told,) = value["changes"]
        assert told["forbidden"]
        assert [move["activity"] for move in told["moves"]] == ["modify"]
        assert "states_chosen_and_scores" in {flag["name"] for flag in told["flags"]}
        steps = client.post(WHAT_IF, json={}).json()["changes"]
        assert "Model parameters (Final): public" in {step["change"] for step in steps}
        assert (client.get("/v1/dutchdoor/decision").json(), house.log.refresh().size) == before


def test_a_stated_opening_needs_no_decision_and_a_key_all_the_same(house: House) -> None:
    house.decide()
    _, key = house.person()
    asked = {
        "base": {"level": "downloadable", "components": {"Model card": "public"}},
        "change": {"level": "fully_open", "components": {"Datasets": "public"}},
    }
    with house.twin(), served(house) as server:
        with server.http(key) as client:
            value = client.post(WHAT_IF, json=asked).json()
            assert not value["decision"]
            assert not value["now"]["activities"]["rescind"]["enabled"]
            assert value["changes"][0]["forbidden"]
        for wrong in ("", "dd_nobody"):
            with server.http(wrong) as client:
                assert client.post(WHAT_IF, json=asked).status_code == 401
                assert client.get(NOW).status_code == 401


def test_the_body_that_the_page_on_combinations_shows_is_understood(house: House) -> None:
    house.decide()
    _, key = house.person()
    page = (Path(__file__).parents[2] / "docs" / "concepts" / "combinations.md").read_text()
    (body,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    with house.twin(), served(house) as server, server.http(key) as client:
        answer = client.post(WHAT_IF, content=body)
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["changes"]
    assert "weights_alone_are_tuned" in {flag["name"] for flag in told["flags"]}


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ({"open": {}}, "base, change"),
        ({"base": {"level": "hosted", "depth": {}}}, "level, components, depths"),
        ({"change": {"component": {}}}, "components, depths, level"),
    ],
)
def test_an_unknown_field_is_told_beside_the_known_ones(
    house: House, body: dict[str, Any], known: str
) -> None:
    house.decide()
    _, key = house.person()
    with house.twin(), served(house) as server, server.http(key) as client:
        answer = client.post(WHAT_IF, json=body)
    assert answer.status_code == 400
    assert f"known fields: {known}" in answer.text


def test_without_a_decision_in_force_there_is_nothing_to_tell(house: House) -> None:
    decision: Decision = house.decide()
    _, key = house.person()
    house.revoke(decision)
    with house.twin(), served(house) as server, server.http(key) as client:
        answer = client.get(NOW)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "decision_revoked"
        assert client.post(WHAT_IF, json={}).status_code == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "bad_json"),
        (b"{", "bad_json"),
        (b'{"open": {}}', "bad_request"),
        (b'{"change": {"components": {"Weights": "public"}}}', "unknown_component"),
        (b'{"change": {"components": {"Datasets": "sold"}}}', "unknown_access"),
        (b'{"change": {"depths": {"friends": ["sampling"]}}}', "unknown_audience"),
        (b'{"change": {"depths": {"public": []}}}', "bad_request"),
        (b'{"change": {"depths": {"public": ["' + b"x" * 99 + b'"]}}}', "bad_request"),
        (b'{"base": {"level": "ajar"}}', "unknown_level"),
        (b'{"base": {"level": "hosted", "vectors_max": -1}}', "bad_request"),
        (b'{"change": "' + b"x" * (1 << 16) + b'"}', "body_too_large"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(house: House, body: bytes, code: str) -> None:
    house.decide()
    _, key = house.person()
    with house.twin(), served(house) as server, server.http(key) as client:
        answer: Any = client.post(WHAT_IF, content=body)
    assert answer.status_code in {400, 413}
    assert answer.json()["error"]["code"] == code
