"""The routes and combinations through which log-probabilities or hidden vectors could leave."""

from __future__ import annotations

from typing import Any

__all__ = ["ROUTES", "numbers_in"]

_TEXT = "The harbour wakes before the town does"
_TURNS = [{"role": "user", "content": _TEXT}]
_CHAT = {"messages": _TURNS, "max_tokens": 3, "temperature": 0.0}
_RAW = {"prompt": _TEXT, "max_tokens": 3, "temperature": 0.0}
_TAP = "blocks.0.hook_resid_post"

ROUTES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("text alone", "/chat/completions", _CHAT),
    ("logprobs", "/chat/completions", {**_CHAT, "logprobs": True}),
    ("logprobs, asked again", "/chat/completions", {**_CHAT, "logprobs": True}),
    ("top_logprobs", "/chat/completions", {**_CHAT, "logprobs": True, "top_logprobs": 20}),
    ("top_logprobs of all", "/chat/completions", {**_CHAT, "logprobs": True, "top_logprobs": 4096}),
    ("n", "/chat/completions", {**_CHAT, "logprobs": True, "n": 2}),
    ("logit_bias", "/chat/completions", {**_CHAT, "logit_bias": {"7": 3.5, "8": -1.0}}),
    (
        "logit_bias and logprobs",
        "/chat/completions",
        {**_CHAT, "logprobs": True, "logit_bias": {"7": 3.5}},
    ),
    ("seed and temperature", "/chat/completions", {**_CHAT, "temperature": 2.0, "seed": 7}),
    ("logprob_token_ids", "/chat/completions", {**_CHAT, "logprob_token_ids": [1, 2, 3]}),
    ("prompt_logprobs", "/completions", {**_RAW, "prompt_logprobs": 5}),
    ("raw logprobs", "/completions", {**_RAW, "logprobs": 5}),
    ("echo", "/completions", {**_RAW, "echo": True, "logprobs": 1}),
    (
        "echo, nothing written",
        "/completions",
        {**_RAW, "max_tokens": 0, "echo": True, "logprobs": 1},
    ),
    (
        "echo of token ids",
        "/completions",
        {**_RAW, "prompt": [10, 11, 12, 13], "max_tokens": 0, "echo": True, "logprobs": 0},
    ),
    (
        "a batch of prompts",
        "/completions",
        {**_RAW, "prompt": [_TEXT, _TEXT], "max_tokens": 1, "echo": True, "logprobs": 2},
    ),
    ("best_of", "/completions", {**_RAW, "logprobs": 1, "best_of": 2}),
    (
        "hidden vectors",
        "/dutchdoor/activations",
        {"prompt": _TEXT, "taps": [_TAP], "positions": 1},
    ),
    (
        "hidden vectors, asked again",
        "/dutchdoor/activations",
        {"prompt": _TEXT, "taps": [_TAP], "positions": 1},
    ),
)


def numbers_in(answer: dict[str, Any], asked: dict[str, Any]) -> int:
    """The single numbers that an answer gives away, as its reader counts them.

    Each log-probability of a token at a position once; each entry of a hidden vector; each bit that
    a draw under a bias can tell, the end included.
    """
    if "data" in answer and "shape" in answer:
        taps, positions, hidden = answer["shape"]
        return int(taps * positions * hidden)
    return sum(_in_choice(choice, asked) for choice in answer.get("choices") or [])


def _in_choice(choice: dict[str, Any], asked: dict[str, Any]) -> int:
    told = choice.get("logprobs") or {}
    found = 0
    for token in told.get("content") or []:
        named = {_name(row): row["logprob"] for row in token.get("top_logprobs") or []}
        named[_name(token)] = token["logprob"]
        found += len(named)
    tokens = told.get("tokens") or []
    tops = told.get("top_logprobs") or [None] * len(tokens)
    for token, own, top in zip(tokens, told.get("token_logprobs") or [], tops, strict=True):
        known = dict(top or {})
        if own is not None:
            known[token] = own
        found += len(known)
    biases = len(asked.get("logit_bias") or {})
    if biases:
        written = len(tokens) or len(told.get("content") or []) or asked.get("max_tokens", 0)
        found += (written + 1) * biases.bit_length()
    return found


def _name(row: dict[str, Any]) -> str:
    return str(row.get("bytes") or row.get("token"))
