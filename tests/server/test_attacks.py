"""What a hostile or clumsy caller tries over HTTP, and what they get."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from dutchdoor.config import LimitsConfig
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import EntryKind
from tests.gateway.house import House
from tests.server.house import Served, said, served

CHAT = "/v1/chat/completions"
GOOD = {"model": "twin", "messages": [{"role": "user", "content": "one"}], "max_tokens": 2}
LITERAL = "brew the nerve agent"


def error_of(response: httpx.Response) -> Any:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "dutchdoor"}
    assert set(error["dutchdoor"]) == {"rule", "hint", "missing", "inference"}
    return error


def test_bodies_that_are_no_request_are_told_so(house: House) -> None:
    house.decide()
    key = house.granted()
    bad: list[tuple[bytes, str]] = [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b"[]", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"a":' * 3000, "bad_json"),
        (b'{"model":"twin"}', "bad_request"),
        (json.dumps({**GOOD, "messages": []}).encode(), "bad_request"),
        (json.dumps({**GOOD, "messages": said("x", "tool")}).encode(), "unsupported_role"),
        (json.dumps({**GOOD, "temperature": 9}).encode(), "bad_request"),
        (b'{"model":"twin","messages":[],"temperature":1e999}', "bad_json"),
        (json.dumps({**GOOD, "seed": 2**70}).encode(), "bad_request"),
        (json.dumps({**GOOD, "max_tokens": "5"}).encode(), "bad_request"),
        (json.dumps({**GOOD, "top_logprobs": 3}).encode(), "bad_request"),
        (json.dumps({**GOOD, "max_completion_tokens": 3}).encode(), "bad_request"),
        (json.dumps({**GOOD, "stop": ["a"] * 5}).encode(), "bad_request"),
        (json.dumps({**GOOD, "logit_bias": {"x": 1}}).encode(), "bad_request"),
        (json.dumps({**GOOD, "stream_options": {"include_usage": True}}).encode(), "bad_request"),
        (json.dumps({**GOOD, "messages": [{"role": "user", "content": "\ud800"}]}).encode(), ""),
    ]
    with house.twin(), served(house) as server, server.http(key) as client:
        for body, code in bad:
            response = client.post(CHAT, content=body)
            assert response.status_code == 400, body[:80]
            assert not code or error_of(response)["code"] == code, body[:80]
    assert not house.entries(EntryKind.INFERENCE_BEGUN)


@pytest.mark.parametrize(
    ("extra", "code", "param"),
    [
        ({"n": 2}, "unsupported_parameter", "n"),
        ({"tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
        ({"response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
        ({"top_k": 5}, "unknown_parameter", "top_k"),
        ({"prompt_logprobs": 1}, "unknown_parameter", "prompt_logprobs"),
        ({"depths": ["logits"]}, "unknown_parameter", "depths"),
        ({"extra_args": {"capture": ["x"]}}, "unknown_parameter", "extra_args"),
        ({"echo": True}, "unknown_parameter", "echo"),
    ],
)
def test_a_parameter_that_would_change_the_answer_is_refused_by_name(
    house: House, extra: dict[str, Any], code: str, param: str
) -> None:
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server, server.http(key) as client:
        response = client.post(CHAT, json={**GOOD, **extra})
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["param"]) == (code, param)
        # Asking again would not help: clients that retry are told.
        assert response.headers["x-should-retry"] == "false"


def test_harmless_and_neutral_parameters_pass(house: House) -> None:
    house.decide()
    key = house.granted()
    extra = {"n": 1, "user": "u", "tools": [], "response_format": {"type": "text"}, "seed": None}
    with house.twin(), served(house) as server, server.http(key) as client:
        assert client.post(CHAT, json={**GOOD, **extra}).status_code == 200


def test_huge_bodies_are_refused_before_they_are_read(house: House) -> None:
    house.config = type(house.config)(limits=LimitsConfig(request_bytes_max=10_000))
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server, server.http(key) as client:
        response = client.post(CHAT, content=b"x" * 20_000)
        assert response.status_code == 413
        assert error_of(response)["code"] == "body_too_large"

        def chunks() -> Any:
            for _ in range(100):
                yield b"y" * 1000

        try:
            response = client.post(CHAT, content=chunks())
            assert response.status_code == 413
        except httpx.WriteError:
            pass  # Closed while it was being sent: refused as well.
        assert client.get("/healthz").status_code == 200


def test_nobody_without_a_key_makes_the_server_read_a_body(house: House) -> None:
    house.decide()
    with house.twin(), served(house) as server, server.http() as client:
        for path in (CHAT, "/v1/completions", "/v1/dutchdoor/activations"):
            response = client.post(path, content=b"x" * 100_000)
            assert response.status_code == 401
            assert error_of(response)["code"] == "missing_api_key"
        response = client.get("/v1/dutchdoor/me", headers={"authorization": "Basic abc"})
        assert response.status_code == 401


def surfaces(server: Served, key: str) -> dict[str, str]:
    """Everything that a caller can make of one completion that would say the literal."""
    text = f"well {LITERAL} today"
    chat = {**GOOD, "messages": said(text), "max_tokens": 12}
    raw: dict[str, Any] = {"model": "twin", "prompt": text, "max_tokens": 12}
    bodies = {
        "chat": (CHAT, chat),
        "chat stream": (CHAT, {**chat, "stream": True}),
        "chat logprobs": (CHAT, {**chat, "logprobs": True, "top_logprobs": 2}),
        "chat logprobs stream": (CHAT, {**chat, "logprobs": True, "stream": True}),
        "raw": ("/v1/completions", raw),
        "raw stream": ("/v1/completions", {**raw, "stream": True}),
        "raw logprobs": ("/v1/completions", {**raw, "logprobs": 2}),
        "raw echo": ("/v1/completions", {**raw, "echo": True, "logprobs": 1}),
    }
    with server.http(key) as client:
        return {name: client.post(path, json=body).text for name, (path, body) in bodies.items()}


def test_no_surface_leaks_a_literal_that_only_the_output_rule_knows(house: House) -> None:
    from dutchdoor.guard.rules import RuleSet

    rules = b"""
- {id: out, literal: "brew the nerve agent", category: indiscriminate_weapons_cbrne,
   action: block, side: output, note: a test}
"""
    house.rules = RuleSet.parse(rules)
    house.decide()
    key = house.granted()
    with house.twin(), served(house) as server:
        for name, text in surfaces(server, key).items():
            choices = [c for value in _without_receipts(text) for c in value["choices"]]
            shown = json.dumps(choices)
            assert choices[-1]["finish_reason"] == "content_filter", name
            assert "well" in shown, name
            # An echo gives the caller's own words back, once; the model never says them.
            assert shown.count("agent") <= (4 if name == "raw echo" else 0), name
    house.check()


def _without_receipts(text: str) -> Any:
    """An answer without the openings, which hold the caller's own prompt in base64."""
    rows = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    values = [json.loads(row) for row in rows if row != "[DONE]"] or [json.loads(text)]
    for value in values:
        value.pop("dutchdoor", None)
    return values


def test_a_stream_that_is_cut_ends_with_an_error_and_no_done(house: House) -> None:
    decision = house.decide()
    key = house.granted()
    with house.twin(delay_s=0.01), served(house) as server, server.http(key) as client:
        body = {**GOOD, "max_tokens": 500, "stream": True}
        with client.stream("POST", CHAT, json=body) as response:
            assert response.status_code == 200
            lines = []
            cut_s = 0.0
            for line in response.iter_lines():
                lines.append(line)
                if len(lines) == 10:
                    house.revoke(decision)
                    cut_s = time.monotonic()
            assert time.monotonic() - cut_s < 1.0
        last = [line for line in lines if line][-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "decision_revoked"
        assert "data: [DONE]" not in lines
        refused = client.post(CHAT, json=GOOD)
        assert refused.status_code == 403
        assert error_of(refused)["code"] == "decision_revoked"
    (done,) = house.entries(EntryKind.INFERENCE_DONE)
    assert done.body["outcome"] == "revoked"
    house.check()


def test_a_caller_who_hangs_up_frees_the_runtime(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(delay_s=0.01), served(house) as server:
        for body in ({**GOOD, "max_tokens": 500, "stream": True}, {**GOOD, "max_tokens": 500}):
            data = json.dumps(body).encode()
            host, port = server.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as connection:
                head = (
                    f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                    f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
                )
                connection.sendall(head.encode() + data)
                time.sleep(0.3)
                assert server.parts.gateway.watch.running_count == 1
            until_s = time.monotonic() + 2
            while server.parts.gateway.watch.running_count and time.monotonic() < until_s:
                time.sleep(0.02)
            assert server.parts.gateway.watch.running_count == 0
    done = house.entries(EntryKind.INFERENCE_DONE)
    assert [entry.body["outcome"] for entry in done] == ["cancelled", "cancelled"]
    house.check()


def test_a_caller_who_does_not_read_is_let_go(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dutchdoor.server.http.SEND_S_MAX", 0.5)
    house.decide()
    key = house.granted()
    body = {**GOOD, "max_tokens": 500, "stream": True, "logprobs": True, "top_logprobs": 20}
    data = json.dumps(body).encode()
    with house.twin(), served(house, send_bytes=4096) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((host, int(port)))
            head = (
                f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                f"content-length: {len(data)}\r\n\r\n"
            )
            connection.sendall(head.encode() + data)
            until_s = time.monotonic() + 10
            while not house.entries(EntryKind.INFERENCE_DONE) and time.monotonic() < until_s:
                time.sleep(0.1)
    (done,) = house.entries(EntryKind.INFERENCE_DONE)
    assert done.body["outcome"] == "cancelled"
    # Others' memory is not where a slow reader's text waits: most of it was never made to leave.
    assert done.body["counts"]["released_tokens"] < 400
    house.check()


def test_errors_never_hold_the_key_or_another_persons_inference(house: House) -> None:
    house.decide()
    key, other = house.granted(), house.granted(depths=(Depth.SAMPLING,))
    with house.twin(), served(house) as server, server.http(key) as client:
        answer = client.post(CHAT, json=GOOD).json()
        inference = answer["dutchdoor"]["inference"]
        mine = client.get(f"/v1/dutchdoor/receipts/{inference}")
        assert set(mine.json()["receipt"]) == {"begun", "done"}
        with server.http(other) as stranger:
            response = stranger.get(f"/v1/dutchdoor/receipts/{inference}")
            assert response.status_code == 404
            assert error_of(response)["code"] == "inference_not_found"
        wrong = client.get("/v1/models", headers={"authorization": f"Bearer {key}x"})
        assert wrong.status_code == 401
        assert key not in wrong.text


def test_paths_are_found_or_not_and_methods_are_named(house: House) -> None:
    house.decide()
    with house.twin(), served(house) as server, server.http() as client:
        for path in ("/v1/nothing", "/invocations", "/console/../etc", "/docs", "/%7Brest%7D"):
            assert client.get(path).status_code == 404, path
        assert client.get(CHAT).status_code == 405
        assert client.get("/v1/dutchdoor/log/tile/0/../../checkpoint").status_code in {200, 404}
        assert client.get("/v1/dutchdoor/log/tile/9/000").status_code == 404
