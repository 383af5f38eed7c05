"""What callers are told: enough to go on, and nothing that measures how close they came."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from dutchdoor.evidence.model import EntryKind
from dutchdoor.server.console.markdown import html_of
from tests.gateway.house import House
from tests.runtime.twin import FORBIDDEN_PROMPT
from tests.server.house import said, served

BY_RULE = "brew the nerve agent"
BY_PROBE = f"say {FORBIDDEN_PROMPT}"
SECRET = re.compile(r"nerve-recipe|rules-|0\.99|fpr_|threshold|score|layer|rephrase", re.IGNORECASE)


def surfaces(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Each way to send `text` to the model."""
    chat = {"model": "twin", "messages": said(text), "max_tokens": 2}
    raw = {"model": "twin", "prompt": text, "max_tokens": 2}
    tap = {"model": "twin", "taps": ["blocks.0.hook_resid_post"], "positions": 1}
    return [
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
        ("/v1/completions", raw),
        ("/v1/completions", {**raw, "prompt": ["one", text]}),
        ("/v1/completions", {**raw, "stream": True}),
        ("/v1/dutchdoor/activations", {**tap, "prompt": text}),
    ]


@pytest.mark.parametrize(
    ("text", "hazard"),
    [(BY_RULE, "weapons that kill indiscriminately"), (BY_PROBE, "does not name further")],
)
def test_a_refusal_names_the_hazard_and_never_how_it_was_found(
    house: House, text: str, hazard: str
) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server, server.http(key) as client:
        for path, body in surfaces(text):
            response = client.post(path, json=body)
            assert response.status_code == 400, path
            error = response.json()["error"]
            assert error["code"] == "content_filter", path
            assert hazard in error["message"], path
            own = error["dutchdoor"]
            assert own["rule"] == "", path
            assert own["inference"].startswith("inf_"), path
            assert "operator" in own["hint"], path
            assert "inference" in own["hint"], path
            told = response.text.replace(own["inference"], "") + str(dict(response.headers))
            assert not SECRET.search(told), (path, told)
    kinds = (EntryKind.INFERENCE_REFUSED, EntryKind.INFERENCE_DONE)
    rows = [json.dumps(entry.body) for entry in house.entries(*kinds)]
    named = "nerve-recipe" if text == BY_RULE else "0.990"
    assert sum(named in row for row in rows) == len(surfaces(text)), "the record keeps everything"


def test_who_is_nobody_gets_no_inference_to_quote(house: House) -> None:
    house.decide()
    before = len(house.entries())
    with house.twin(), served(house) as server, server.http("dd_" + "a" * 40) as client:
        for path, body in surfaces("one"):
            response = client.post(path, json=body)
            assert response.status_code == 401, path
            assert response.json()["error"]["dutchdoor"]["inference"] == "", path
    assert len(house.entries()) == before


def test_a_bad_request_names_the_field_and_where_it_is_described(house: House) -> None:
    house.decide()
    good = {"model": "twin", "messages": said("one")}
    bad: list[tuple[dict[str, Any], str]] = [
        ({**good, "temperature": 9}, "temperature"),
        ({**good, "max_tokens": "5"}, "max_tokens"),
        ({"model": "twin"}, "messages"),
        ({**good, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({**good, "top_logprobs": 3}, "top_logprobs"),
        ({**good, "stop": ["a"] * 9}, "stop"),
    ]
    key = house.granted()
    with house.twin(), served(house) as server, server.http(key) as client:
        for body, field in bad:
            error = client.post("/v1/chat/completions", json=body).json()["error"]
            assert (error["code"], error["param"]) == ("bad_request", field)
            assert "`" not in error["message"]
            assert "$" not in error["message"]
            hint = error["dutchdoor"]["hint"]
            assert "/openapi.json" in hint
            assert field in hint


def _troubles(client: httpx.Client) -> tuple[int, str, list[str]]:
    answer = client.get("/readyz")
    value = answer.json()
    return answer.status_code, value["status"], [row["code"] for row in value["troubles"]]


def test_rules_that_are_not_right_are_seen_on_every_page(house: House) -> None:
    house.decide()
    with house.twin(), served(house) as server, server.http() as client:
        assert _troubles(client) == (200, "ready", [])
        assert "dutchdoor_policies_stale 0.0" in client.get("/metrics").text
        (house.places.policies / "x.cedar").write_text("permit (principal, action, resource")
        server.wait(lambda: _troubles(client)[1] == "degraded")
        assert _troubles(client) == (200, "degraded", ["policies_stale"])
        assert "policies_stale" in client.get("/").text
        assert "dutchdoor_policies_stale 1.0" in client.get("/metrics").text


def test_the_status_page_shows_the_reasons_as_text_for_people(house: House) -> None:
    reasons = "## Why <b>now</b>\n\nIt is **small**.\n\n- one\n- two\n\n<img src=x onerror=y>"
    house.decide(reasons=reasons)
    with house.twin(), served(house) as server, server.http() as client:
        page = client.get("/").text
    assert "##" not in page
    assert "<h5>Why &lt;b&gt;now&lt;/b&gt;</h5>" in page
    assert "<li>one</li><li>two</li>" in page
    assert "<strong>small</strong>" in page
    assert "<img" not in page


def test_no_tag_of_the_texts_own_survives() -> None:
    for text in ("# <script>", "- <a href='x'>", "`</code><script>`", '**"><svg onload=x>**', "<"):
        tags = re.findall(r"<\s*([^>\s]*)", html_of(text))
        known = {"h4", "/h4", "ul", "/ul", "li", "/li", "p", "/p", "code", "/code", "strong"}
        assert set(tags) <= {*known, "/strong"}, text
