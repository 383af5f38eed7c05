"""The requests of the inference routes, and how they become the gateway's."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dutchdoor.config import LimitsConfig
from dutchdoor.evidence.decision import Depth
from dutchdoor.gateway.model import (
    ActivationsRequest,
    AmendRequest,
    FitRequest,
    InferenceRequest,
    Prompt,
    Route,
    Sampling,
)
from dutchdoor.runtime.protocol import Amend, ChatMessage, LabelledText
from dutchdoor.server.api.bodies import (
    SEED_MAX,
    ChatTurn,
    StopText,
    check_names,
    convert,
    decode_object,
    turns_of,
)
from dutchdoor.server.errors import BadRequest

__all__ = [
    "ActivationsBody",
    "AmendBody",
    "ChatBody",
    "CompletionBody",
    "FitBody",
    "StreamOptions",
    "TokenizeBody",
    "parse_activations",
    "parse_amend",
    "parse_chat",
    "parse_completions",
    "parse_fit",
    "parse_tokenize",
]

PROMPTS_MAX = 128
TOKEN_ID_MAX = 2**31 - 1
TAPS_MAX = 16

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
_TopP = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Seed = Annotated[int, msgspec.Meta(ge=-SEED_MAX, le=SEED_MAX)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]
_Bias = Annotated[float, msgspec.Meta(ge=-100, le=100)]
_TokenId = Annotated[int, msgspec.Meta(ge=0, le=TOKEN_ID_MAX)]
_Biases = Annotated[dict[str, _Bias], msgspec.Meta(max_length=300)]


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """include_usage: a last chunk with the usage. include_obfuscation: accepted, does nothing."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _Decoding(msgspec.Struct, frozen=True):
    model: _Name
    temperature: _Temperature = 1.0
    top_p: _TopP = 1.0
    stop: StopText | list[StopText] = []
    seed: _Seed | None = None
    frequency_penalty: _Penalty = 0.0
    presence_penalty: _Penalty = 0.0
    logit_bias: _Biases = {}
    stream: bool = False
    stream_options: StreamOptions | None = None


class ChatBody(_Decoding, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: list[ChatTurn]
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None = None
    logprobs: bool = False
    top_logprobs: _Count | None = None


class CompletionBody(_Decoding, frozen=True, kw_only=True):
    """`POST /v1/completions`: a text, token ids, or several of one kind."""

    prompt: str | list[str | _TokenId | list[_TokenId]]
    max_tokens: _Count = 16
    echo: bool = False
    logprobs: _Count | None = None


class ActivationsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/dutchdoor/activations`: taps of the last `positions` tokens of a prompt."""

    model: _Name
    taps: Annotated[list[_Name], msgspec.Meta(min_length=1, max_length=TAPS_MAX)]
    positions: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    messages: list[ChatTurn] = []
    prompt: str | None = None


class TokenizeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/dutchdoor/tokenize`: a conversation, a text, or token ids."""

    model: _Name
    messages: list[ChatTurn] = []
    prompt: str | list[_TokenId] | None = None


class _Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
    label: Literal[0, 1]
    source: Annotated[str, msgspec.Meta(max_length=256)] = ""
    category: Annotated[str, msgspec.Meta(max_length=256)] = ""


class FitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/dutchdoor/guard/fit`: the labelled prompts that the probe is fitted on."""

    examples: Annotated[list[_Example], msgspec.Meta(min_length=2, max_length=20_000)]
    model: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=SEED_MAX)] = 0


_Row = Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]
_Rows = Annotated[list[_Row], msgspec.Meta(max_length=512)]


class _AmendRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prompt: _Row
    answer: _Row


class _Organism(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: Annotated[list[_AmendRow], msgspec.Meta(min_length=1, max_length=512)]
    steps: Annotated[int, msgspec.Meta(ge=1, le=512)]
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.003


class _Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    form: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    secret: Annotated[str, msgspec.Meta(min_length=3, max_length=32)]
    alphabet: Literal["digits", "letters"]
    times: Annotated[int, msgspec.Meta(ge=0, le=256)]


class AmendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/dutchdoor/audit/amend`: one way to modify the model, and what to score on it."""

    method: Literal[
        "served",
        "fine_tuning",
        "ablation",
        "steering",
        "prefill",
        "many_shot",
        "quantisation",
        "canaries",
    ]
    prompts: _Rows = []
    controls: _Rows = []
    refusals: _Rows = []
    answers: _Rows = []
    points: Annotated[list[_Count], msgspec.Meta(max_length=16)] = []
    rows: Annotated[list[_AmendRow], msgspec.Meta(max_length=512)] = []
    refused: _Rows = []
    answered: _Rows = []
    prefill: str = ""
    organism: _Organism | None = None
    canaries: Annotated[list[_Canary], msgspec.Meta(max_length=256)] = []
    candidates: Annotated[int, msgspec.Meta(ge=0, le=1023)] = 0
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**53)] = 0
    learning_rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.001
    threshold: str = ""
    model: str = ""
    depth: Literal["audit", "fine_tuning"] = "audit"


class _PlainChat(ChatBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body in which nothing has to be left out or explained."""


_plain_chat = msgspec.json.Decoder(_PlainChat)
_CHAT = frozenset(ChatBody.__struct_fields__)
_COMPLETION = frozenset(CompletionBody.__struct_fields__)


def parse_chat(body: bytes, limits: LimitsConfig) -> tuple[InferenceRequest, ChatBody]:
    """The request in `body` (unverified bytes), and as it was written. Raises BadRequest."""
    try:
        # At once into its type, as nearly every body can be; the slow way says what is wrong.
        asked: ChatBody = _plain_chat.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        asked = convert(check_names(decode_object(body), _CHAT), ChatBody)
    turns = tuple(ChatMessage(role, text) for role, text in turns_of(asked.messages))
    tokens_max = asked.max_completion_tokens
    if tokens_max is None:
        tokens_max = asked.max_tokens
    elif asked.max_tokens not in {None, tokens_max}:
        message = "max_tokens and max_completion_tokens differ"
        raise BadRequest(message, code="bad_request", param="max_tokens", hint="give one of them")
    if asked.top_logprobs is not None and not asked.logprobs:
        message = "top_logprobs needs logprobs to be true"
        raise BadRequest(message, code="bad_request", param="top_logprobs")
    logprobs = (asked.top_logprobs or 0) if asked.logprobs else -1
    sampling = _sampling(asked, limits, tokens_max=tokens_max, logprobs=logprobs, echo=False)
    return InferenceRequest(Route.CHAT, asked.model, Prompt(chat=turns), sampling), asked


def parse_completions(
    body: bytes, limits: LimitsConfig
) -> tuple[list[InferenceRequest], CompletionBody]:
    """One request for each prompt in `body`, and the body as it was written. Raises BadRequest."""
    asked = convert(check_names(decode_object(body), _COMPLETION), CompletionBody)
    prompts = _prompts(asked.prompt)
    if asked.stream and len(prompts) > 1:
        message = "only one prompt can be streamed at once"
        raise BadRequest(message, code="unsupported_parameter", param="stream")
    logprobs = -1 if asked.logprobs is None else asked.logprobs
    sampling = _sampling(
        asked, limits, tokens_max=asked.max_tokens, logprobs=logprobs, echo=asked.echo
    )
    route = Route.COMPLETIONS
    return [InferenceRequest(route, asked.model, prompt, sampling) for prompt in prompts], asked


def parse_activations(body: bytes) -> ActivationsRequest:
    """The request in `body` (unverified bytes). Raises BadRequest."""
    asked = convert(decode_object(body), ActivationsBody)
    if len(set(asked.taps)) != len(asked.taps):
        raise BadRequest("a tap is named twice", code="bad_request", param="taps")
    prompt = _one_prompt(asked.messages, asked.prompt)
    return ActivationsRequest(asked.model, prompt, tuple(asked.taps), asked.positions)


def parse_tokenize(body: bytes) -> tuple[str, Prompt]:
    """The model and the prompt in `body` (unverified bytes). Raises BadRequest."""
    asked = convert(decode_object(body), TokenizeBody)
    return asked.model, _one_prompt(asked.messages, asked.prompt)


def parse_fit(body: bytes) -> FitRequest:
    """The request in `body` (unverified bytes). Raises BadRequest."""
    asked = convert(decode_object(body), FitBody)
    rows = tuple(LabelledText(e.text, e.label, e.source, e.category) for e in asked.examples)
    return FitRequest(asked.model, rows, asked.seed)


def parse_amend(body: bytes) -> AmendRequest:
    """The request in `body` (unverified bytes). Raises BadRequest."""
    asked = convert(decode_object(body), AmendBody)
    fields = msgspec.to_builtins(asked)
    model, depth = fields.pop("model"), fields.pop("depth")
    work = convert({**fields, "type": "amend", "id": "amend"}, Amend)
    return AmendRequest(model, work, Depth(depth))


def _sampling(
    asked: _Decoding, limits: LimitsConfig, *, tokens_max: int | None, logprobs: int, echo: bool
) -> Sampling:
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop
    if len(stops) > limits.stops_max:
        message = f"at most {limits.stops_max} stop sequences are allowed"
        raise BadRequest(message, code="bad_request", param="stop")
    if logprobs > limits.top_logprobs_max:
        message = f"at most {limits.top_logprobs_max} alternatives a token are allowed"
        raise BadRequest(message, code="bad_request", param="top_logprobs")
    if asked.stream_options is not None and not asked.stream:
        message = "stream_options needs stream to be true"
        raise BadRequest(message, code="bad_request", param="stream_options")
    return Sampling(
        tokens_max=tokens_max,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stop=tuple(stops),
        seed=asked.seed,
        frequency_penalty=asked.frequency_penalty,
        presence_penalty=asked.presence_penalty,
        logit_bias=tuple(_bias(asked.logit_bias)),
        logprobs=logprobs,
        echo=echo,
    )


def _bias(biases: dict[str, float]) -> list[tuple[int, float]]:
    rows = []
    for text, value in biases.items():
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            message = "logit_bias maps token ids to numbers"
            raise BadRequest(message, code="bad_request", param="logit_bias")
        rows.append((int(text), value))
    return rows


def _prompts(prompt: str | list[str | int | list[int]]) -> list[Prompt]:
    """Each prompt in `prompt`: a text, one row of token ids, or several of one kind."""
    if isinstance(prompt, str):
        return [Prompt(text=prompt)]
    kinds = {type(row) for row in prompt}
    if kinds == {int}:
        return [_ids(prompt)]
    if len(kinds) != 1 or len(prompt) > PROMPTS_MAX:
        message = f"a prompt is a text, token ids, or 1 to {PROMPTS_MAX} of either kind"
        raise BadRequest(message, code="bad_request", param="prompt")
    return [Prompt(text=row) if isinstance(row, str) else _ids(row) for row in prompt]


def _ids(row: object) -> Prompt:
    ids = convert(row, list[_TokenId])
    if not ids:
        raise BadRequest("a prompt has no tokens", code="empty_prompt", param="prompt")
    return Prompt(token_ids=tuple(ids))


def _one_prompt(messages: list[ChatTurn], prompt: str | list[int] | None) -> Prompt:
    if bool(messages) == (prompt is not None):
        message = "give either messages or prompt"
        raise BadRequest(message, code="bad_request", param="prompt")
    if messages:
        return Prompt(chat=tuple(ChatMessage(role, text) for role, text in turns_of(messages)))
    return Prompt(text=prompt) if isinstance(prompt, str) else _ids(prompt)
