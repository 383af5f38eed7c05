"""Users are told what the model cannot do, and not whom else a decision names."""

from __future__ import annotations

from dutchdoor.evidence.decision import Audience, Depth, Level
from dutchdoor.evidence.terms import StageTerms, Terms
from tests.gateway.house import House
from tests.server.house import served

TEXTS = ("It invents facts.", "<b>It</b> knows no law.")


def test_limitations_are_told_in_the_api_and_on_the_status_page(house: House) -> None:
    decision = house.decide(terms=Terms(limitations=TEXTS))
    with house.twin(), served(house) as server, server.http() as client:
        page = client.get("/").text
        assert "It invents facts." in page
        assert "<b>It</b>" not in page
        assert client.get("/v1/dutchdoor/limitations").status_code == 401
    with house.twin(), served(house) as server, server.http(house.person()[1]) as client:
        told = client.get("/v1/dutchdoor/limitations").json()
        assert told["limitations"] == list(TEXTS)
        assert told["decision"] == decision.id


def test_a_decision_without_limitations_says_that_it_names_none(house: House) -> None:
    house.decide()
    with house.twin(), served(house) as server, server.http() as client:
        assert "names no limitations" in client.get("/").text


def test_who_is_named_in_a_plan_of_stages_is_not_told_to_every_caller(house: House) -> None:
    named = Audience("researcher", (Depth.SAMPLING,), ("person_secret",))
    plan = StageTerms("1", Level.CLOUD_API, (named,))
    house.decide(stage="1", audiences=(named,), terms=Terms(stages=(plan,)))
    with house.twin(), served(house) as server, server.http(house.person()[1]) as client:
        answer = client.get("/v1/dutchdoor/decision")
        assert answer.status_code == 200
        assert "person_secret" not in answer.text
