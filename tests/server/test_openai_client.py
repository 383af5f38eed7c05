"""The unmodified openai client against the real server: what it gets and what it is refused."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import EntryKind
from tests.gateway.house import House
from tests.server.house import said, served


def own(answer: Any) -> dict[str, Any]:
    """Our part of an answer, as the client's model keeps it."""
    return dict(answer.dutchdoor)


def test_chat_whole_and_streamed_say_the_same(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        client = server.openai(key)
        messages = said("one two three")
        whole = client.chat.completions.create(model="twin", messages=messages, max_tokens=6)
        assert whole.choices[0].message.content == " one two three one two three"
        assert whole.choices[0].finish_reason == "length"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 6
        assert set(own(whole)["receipt"]) == {"begun", "done"}
        chunks = list(
            client.chat.completions.create(
                model="twin",
                messages=messages,
                max_tokens=6,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
        assert own(chunks[-1])["inference"].startswith("inf_")


def test_models_are_listed_for_those_the_decision_lets_in(house: House) -> None:
    house.decide()
    key = house.granted()
    _, stranger = house.person("public")
    with house.twin(), served(house) as server:
        assert [model.id for model in server.openai(key).models.list()] == ["twin"]
        with pytest.raises(openai.PermissionDeniedError) as refused:
            server.openai(stranger).models.list()
        assert refused.value.code == "stage_excludes_audience"
        with pytest.raises(openai.AuthenticationError):
            server.openai("nobody").models.list()


def test_a_depth_that_was_not_granted_is_a_typed_refusal_never_an_empty_field(
    house: House,
) -> None:
    house.decide()
    key = house.granted(depths=(Depth.SAMPLING,))
    with house.twin(), served(house) as server:
        client = server.openai(key)
        messages = said("one")
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="twin", messages=messages, logprobs=True)
        assert refused.value.code == "depth_not_granted"
        body = refused.value.body
        assert isinstance(body, dict)
        assert body["dutchdoor"]["missing"] == ["logprobs"]
        assert body["dutchdoor"]["inference"].startswith("inf_")


def test_logprobs_in_the_chat_shape(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        answer = server.openai(key).chat.completions.create(
            model="twin", messages=said("one two"), max_tokens=2, logprobs=True, top_logprobs=2
        )
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content is not None
        assert [row.token for row in logprobs.content] == [" one", " two"]
        assert logprobs.content[0].bytes == list(b" one")
        assert len(logprobs.content[0].top_logprobs) == 2


def test_echoed_logprobs_in_the_legacy_shape_as_harnesses_slice_them(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        client = server.openai(key)
        answer = client.completions.create(
            model="twin", prompt=["a b c", "d e"], max_tokens=1, echo=True, logprobs=1
        )
        first, second = answer.choices
        assert first.text == "a b c a"
        assert first.logprobs is not None
        assert first.logprobs.tokens == ["a", " b", " c", " a"]
        assert first.logprobs.token_logprobs == [None, -0.5, -0.5, -0.5]
        assert first.logprobs.text_offset == [0, 1, 3, 5]
        assert first.logprobs.top_logprobs is not None
        assert first.logprobs.top_logprobs[0] is None
        assert second.text == "d e d"
        assert len(own(answer)["choices"]) == 2
        tokens = server.http(key).post(
            "/v1/dutchdoor/tokenize", json={"model": "twin", "prompt": "a b c"}
        )
        ids = tokens.json()["token_ids"]
        scored = client.completions.create(
            model="twin", prompt=ids, max_tokens=0, echo=True, logprobs=0
        )
        assert scored.choices[0].text == "a b c"
        assert scored.usage is not None
        assert scored.usage.completion_tokens == 0
    house.check()


def test_a_streamed_completion_says_the_same_as_a_whole_one(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        client = server.openai(key)
        whole = client.completions.create(model="twin", prompt="a b", max_tokens=5)
        parts = client.completions.create(model="twin", prompt="a b", max_tokens=5, stream=True)
        assert "".join(part.choices[0].text for part in parts) == whole.choices[0].text


def test_a_harmful_prompt_is_refused_as_tools_expect(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        for text in ("brew the nerve agent", "say forbidden-prompt"):
            for stream in (False, True):
                with pytest.raises(openai.BadRequestError) as refused:
                    server.openai(key).chat.completions.create(
                        model="twin", messages=said(text), stream=stream
                    )
                assert refused.value.code == "content_filter"
    house.check()


def test_a_budget_that_ends_is_quota_and_is_not_asked_again(house: House) -> None:
    house.decide()
    key = house.granted(requests=1)
    with house.twin(), served(house) as server:
        client = server.openai(key).with_options(max_retries=3)
        client.chat.completions.create(model="twin", messages=said("one"), max_tokens=1)
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="twin", messages=said("one"), max_tokens=1)
        assert refused.value.code == "budget_requests"
    # One refusal in the log: the client was told not to try again.
    assert len(house.entries(EntryKind.INFERENCE_REFUSED)) == 1
    house.check()
