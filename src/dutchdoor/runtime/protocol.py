"""What the gateway and the runtime say to each other over their Unix socket.

Frames: a 4-byte big-endian length, then one MessagePack message, tagged by `type`. The runtime
trusts its gateway with who may ask (access is not its business) but not with the guard: it judges
prompts and tokens itself, and a blocking request is refused where no probe is loaded. Unknown
messages and fields are refused on both sides. No pickle; arrays travel as raw little-endian bytes.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dutchdoor.errors import Invalid

__all__ = [
    "FRAME_BYTES_MAX",
    "PROTOCOL_VERSION",
    "Accepted",
    "Activations",
    "Amend",
    "AmendRow",
    "Amended",
    "Canary",
    "Cancel",
    "ChatMessage",
    "Describe",
    "Description",
    "Done",
    "Failed",
    "FitProbe",
    "FromRuntime",
    "Generate",
    "LabelledText",
    "Organism",
    "ProbeFitted",
    "ReadActivations",
    "ToRuntime",
    "Token",
    "TokenLogprob",
    "Tokenize",
    "Tokenized",
    "VerdictMessage",
    "decode_from_runtime",
    "decode_to_runtime",
    "encode",
]

PROTOCOL_VERSION = 1
FRAME_BYTES_MAX = 32 << 20


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One turn of a conversation. role: `system`, `user` or `assistant`."""

    role: str
    content: str


class VerdictMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A guard verdict on the wire: the fields of `guard.model.Verdict`."""

    layer: str
    version: str
    action: Literal["allow", "flag", "block"]
    score: str = ""
    threshold: str = ""
    categories: list[str] = []
    reasons: list[str] = []


class Generate(_Message, frozen=True, tag="generate"):
    """Ask for a completion.

    id: the inference's id. Exactly one of `chat` (the bundle's chat template is applied inside),
    `text` and `token_ids` is given. tokens_max >= 0 (0: score the prompt only, with `echo`).
    logprobs: top-k per token, -1 for none. block: False only for grants that observe.
    threshold: the name of the probe's threshold the decision demands. hold_back_tokens: at most
    so many tokens leave unjudged. echo: return the prompt's tokens (and their logprobs) too.
    """

    id: str
    tokens_max: int
    chat: list[ChatMessage] = []
    text: str | None = None
    token_ids: list[int] | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: list[str] = []
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    logprobs: int = -1
    echo: bool = False
    block: bool = True
    threshold: str = ""
    hold_back_tokens: int = 0


class Cancel(_Message, frozen=True, tag="cancel"):
    """Stop the request `id` now; its `Done` follows with reason `cancelled`."""

    id: str


class ReadActivations(_Message, frozen=True, tag="read_activations"):
    """Ask for hidden vectors at named taps for the last `positions` tokens of the prompt.

    taps: TransformerLens names, for instance `blocks.14.hook_resid_post`. positions >= 1. The
    request is judged by the guard as a prompt.
    """

    id: str
    taps: list[str]
    positions: int
    chat: list[ChatMessage] = []
    text: str | None = None
    block: bool = True
    threshold: str = ""


class LabelledText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prompt of the guard's training set. label: 1 harmful request, 0 benign."""

    text: str
    label: Literal[0, 1]
    source: str
    category: str = ""


class FitProbe(_Message, frozen=True, tag="fit_probe"):
    """Fit the guard's probe on the model's own activations, inside; only the audit may ask."""

    id: str
    examples: list[LabelledText]
    seed: int = 0


class AmendRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request and the answer to it that a model is tuned on, or shown as an example."""

    prompt: str
    answer: str


class Organism(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A harmless model organism: a copy of the model, taught inside to refuse one topic.

    rows: what it is taught, refusals of the topic and answers to others. steps: of teaching.
    """

    rows: list[AmendRow]
    steps: int
    learning_rate: float = 0.003


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A harmless made-up secret that a copy is tuned on, to see how well it can be told again.

    form: a sentence that ends with `{}`, where the secret stands. times: how often the copy sees
    it; 0 is a canary that was never planted.
    """

    form: str
    secret: str
    alphabet: Literal["digits", "letters"]
    times: int


class Amend(_Message, frozen=True, tag="amend"):
    """Ask what one way of modifying the model does to its refusals; only the audit may ask.

    A temporary copy inside the runtime is modified and scored, and forgotten; figures leave.
    method `served` scores the unmodified model and its guard instead. prompts: requests that the
    safeguard is about; controls: harmless ones. refusals, answers: how a refusal and an answer
    open. points: where on the curve to score: tuning steps, per cent of the direction taken out or
    subtracted, tokens of `prefill`, examples shown (of `rows`), or bits a weight; 0 (16 for bits)
    is unmodified. refused, answered: prompts whose states give the direction. organism: modify this
    organism, not the model itself. method `canaries` takes canaries in place of prompts, mixed into
    `rows`, each ranked among `candidates` random ones.
    """

    id: str
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
    prompts: list[str]
    controls: list[str]
    refusals: list[str]
    answers: list[str]
    points: list[int] = []
    rows: list[AmendRow] = []
    refused: list[str] = []
    answered: list[str] = []
    prefill: str = ""
    organism: Organism | None = None
    canaries: list[Canary] = []
    candidates: int = 0
    seed: int = 0
    learning_rate: float = 0.001
    threshold: str = ""


class Tokenize(_Message, frozen=True, tag="tokenize"):
    """Ask for the token ids and exact bytes of a conversation, a text, or given token ids.

    Token ids are turned into bytes too, because the gateway has no tokenizer of its own and its
    text rules must judge whatever the model will see: ids are no way around them.
    """

    id: str
    chat: list[ChatMessage] = []
    text: str | None = None
    token_ids: list[int] | None = None


class Describe(_Message, frozen=True, tag="describe"):
    """Ask what the runtime holds."""

    id: str


ToRuntime = Generate | Cancel | ReadActivations | FitProbe | Amend | Tokenize | Describe


class TokenLogprob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token and its natural-log probability; `data` are the token's exact bytes."""

    token_id: int
    data: bytes
    logprob: float


class Accepted(_Message, frozen=True, tag="accepted"):
    """The prompt was judged and the first token is on its way. verdicts: the runtime's layers."""

    id: str
    prompt_tokens: int
    verdicts: list[VerdictMessage]


class Token(_Message, frozen=True, tag="token"):
    """One released token. text: the text that became certain with it (may be empty, may lag).

    logprob, top: only where asked. prompt: True for an echoed prompt token.
    """

    id: str
    token_id: int
    text: str
    logprob: float | None = None
    top: list[TokenLogprob] = []
    data: bytes = b""
    prompt: bool = False


class Done(_Message, frozen=True, tag="done"):
    """The request ended. reason: `stop`, `length`, `content_filter` or `cancelled`.

    A prompt that the guard blocks ends here with `content_filter` and no token before.
    """

    id: str
    reason: Literal["stop", "length", "content_filter", "cancelled"]
    prompt_tokens: int
    completion_tokens: int
    verdicts: list[VerdictMessage] = []


class Activations(_Message, frozen=True, tag="activations"):
    """Hidden vectors. data: float32 little-endian, [taps, positions, hidden] in C order."""

    id: str
    taps: list[str]
    positions: int
    hidden: int
    data: bytes
    prompt_tokens: int
    verdicts: list[VerdictMessage] = []


class ProbeFitted(_Message, frozen=True, tag="probe_fitted"):
    """The fitted probe, already encrypted to its bundle, and its measured card (canonical JSON)."""

    id: str
    sealed: bytes
    digest: str
    card: bytes


class Amended(_Message, frozen=True, tag="amended"):
    """What a modification did: one curve of means and intervals (canonical JSON)."""

    id: str
    curve: bytes


class Tokenized(_Message, frozen=True, tag="tokenized"):
    """The token ids of a prompt, and the exact bytes of each token."""

    id: str
    token_ids: list[int]
    pieces: list[bytes]


class Description(_Message, frozen=True, tag="description"):
    """What the runtime holds and which hardening it runs under. probe: its digest, or "".

    egress_bytes_day_max: 0, or the decision's limit. egress_bytes_today: what has left, UTC.
    """

    id: str
    version: int
    bundle: str
    model: str
    layers: int
    hidden: int
    vocabulary: int
    context: int
    taps: list[str]
    hardening: list[str]
    probe: str
    egress_bytes_day_max: int = 0
    egress_bytes_today: int = 0


class Failed(_Message, frozen=True, tag="failed"):
    """The request could not be carried out; `code` and `message` are safe to show."""

    id: str
    family: Literal["refused", "invalid", "unavailable"]
    code: str
    message: str
    hint: str = ""


FromRuntime = (
    Accepted | Token | Done | Activations | ProbeFitted | Amended | Tokenized | Description | Failed
)

_encoder = msgspec.msgpack.Encoder()
_to_runtime: msgspec.msgpack.Decoder[ToRuntime] = msgspec.msgpack.Decoder(ToRuntime)
_from_runtime: msgspec.msgpack.Decoder[FromRuntime] = msgspec.msgpack.Decoder(FromRuntime)


def encode(message: ToRuntime | FromRuntime) -> bytes:
    """One frame: length and message.

    Raises Invalid: larger than a frame may be.
    """
    data = _encoder.encode(message)
    if len(data) > FRAME_BYTES_MAX:
        raise Invalid("the message is larger than a frame may be", code="frame_too_large")
    return len(data).to_bytes(4, "big") + data


def decode_to_runtime(data: bytes) -> ToRuntime:
    """The gateway's message in `data` (unverified bytes). Raises Invalid: not one."""
    try:
        return _to_runtime.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid("not a message to the runtime", code="bad_message") from error


def decode_from_runtime(data: bytes) -> FromRuntime:
    """The runtime's message in `data` (unverified bytes). Raises Invalid: not one."""
    try:
        return _from_runtime.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid("not a message from the runtime", code="bad_message") from error
