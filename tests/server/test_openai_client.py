"""The unmodified openai client against the real server: what it gets and what it is refused."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from dutchdoor.evidence.decision import Depth
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
