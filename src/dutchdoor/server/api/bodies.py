"""JSON bodies into typed requests: what is not understood is refused, never quietly dropped."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
import msgspec.inspect

from dutchdoor.server.errors import BadRequest

__all__ = [
    "SEED_MAX",
    "ChatTurn",
    "StopText",
    "TextPart",
    "Turn",
    "check_names",
    "convert",
    "decode_object",
    "turns_of",
]

SEED_MAX = 2**63 - 1
TEXT_CHARACTERS_MAX = 1 << 20
STOP_CHARACTERS_MAX = 256
TURNS_MAX = 512

_Body = TypeVar("_Body")
_Info = TypeVar("_Info", bound=msgspec.inspect.Type)
StopText = Annotated[str, msgspec.Meta(min_length=1, max_length=STOP_CHARACTERS_MAX)]

# Fields of OpenAI's API that change nothing about the answer's content.
HARMLESS = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
)
# Fields that would change the meaning, with the values at which they do not.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "suffix": ("",),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "reasoning_effort": (),
    "verbosity": (),
}


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a turn's content; only text is understood."""

    type: str
    text: Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)] = ""


class ChatTurn(msgspec.Struct, frozen=True):
    """One turn: `system`, `developer`, `user` or `assistant`."""

    role: str
    content: Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)] | list[TextPart]
    tool_calls: list[Any] = []
    function_call: Any = None
    audio: Any = None


Turn = tuple[str, str]

_WORDS = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "of length": "of a length",
}


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body` (unverified bytes), without the fields that are null.

    Raises BadRequest: not JSON, or not an object.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("the body is not JSON", code="bad_json") from error
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object", code="bad_json")
    return {name: item for name, item in value.items() if item is not None}


def check_names(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields of `value` that are understood.

    Raises BadRequest: a field that would change the answer's meaning and is not supported, or that
    nobody here knows.
    """
    kept = {}
    for name, item in value.items():
        if name in known:
            kept[name] = item
        elif name in HARMLESS:
            continue
        elif name in NEUTRAL:
            if item not in NEUTRAL[name]:
                message = f"'{name}' is not supported, or not with this value"
                hint = "leave it out"
                raise BadRequest(message, code="unsupported_parameter", param=name, hint=hint)
        else:
            shown = name[:64]
            message = f"there is no parameter '{shown}' here"
            hint = "leave it out: an ignored parameter would quietly change the answer"
            raise BadRequest(message, code="unknown_parameter", param=shown, hint=hint)
    return kept


def convert(value: Any, kind: type[_Body]) -> _Body:
    """`value` as a `kind`. Raises BadRequest: a field is missing, of the wrong type or range."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        param, reason = _explained(str(error))
        message = f"{param}: {reason}" if param else reason
        known = _known(kind, param) if "unknown field" in reason else ()
        hint = f"known fields: {', '.join(known)}" if known else ""
        raise BadRequest(message, code="bad_request", param=param, hint=hint) from error


def _known(kind: type[Any], place: str) -> tuple[str, ...]:
    """The fields of the object at `place` in a `kind`; none where there is no such object."""
    found: msgspec.inspect.Type | None = msgspec.inspect.type_info(kind)
    for part in re.findall(r"[^.\[\]]+|\[", place):
        if part == "[":
            rows = _one_of(found, msgspec.inspect.ListType)
            found = None if rows is None else rows.item_type
        else:
            row = _one_of(found, msgspec.inspect.StructType)
            fields = () if row is None else row.fields
            found = next((field.type for field in fields if field.encode_name == part), None)
    row = _one_of(found, msgspec.inspect.StructType)
    return () if row is None else tuple(field.encode_name for field in row.fields)


def _one_of(info: msgspec.inspect.Type | None, kind: type[_Info]) -> _Info | None:
    """`info`, or the one of its alternatives, that is a `kind`."""
    rows = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return next((row for row in rows if isinstance(row, kind)), None)


def _explained(text: str) -> tuple[str, str]:
    """The field that the decoder's `text` is about ("" for none), and what is wrong, in words."""
    missing = re.search(r"missing required field `([^`]*)`", text)
    place = re.search(r" - at `\$\.?([^`]*)`", text)
    around = place.group(1) if place else ""
    if missing:
        return ".".join(part for part in (around, missing.group(1)) if part), "it is missing"
    reason = re.sub(r" - at `.*", "", text).replace("`", "").replace(" | ", " or ")
    for kind, word in _WORDS.items():
        reason = re.sub(rf"\b{kind}\b", word, reason)
    return around[:256], (reason[:1].lower() + reason[1:])[:256]


def turns_of(messages: list[ChatTurn]) -> list[Turn]:
    """The conversation as (role, text).

    Raises BadRequest: empty, too long, an unknown role, or content other than text.
    """
    if not 1 <= len(messages) <= TURNS_MAX:
        message = f"a conversation has 1 to {TURNS_MAX} turns"
        raise BadRequest(message, code="bad_request", param="messages")
    turns = []
    for place, turn in enumerate(messages):
        role = "system" if turn.role == "developer" else turn.role
        param = f"messages[{place}]"
        if role not in {"system", "user", "assistant"}:
            raise BadRequest("unknown role", code="unsupported_role", param=f"{param}.role")
        if turn.tool_calls or turn.function_call is not None:
            message = "tool calls are not supported"
            where = f"{param}.tool_calls"
            raise BadRequest(message, code="unsupported_content", param=where)
        if turn.audio is not None:
            message = "audio is not supported"
            raise BadRequest(message, code="unsupported_content", param=param)
        turns.append((role, _text(turn.content, param)))
    return turns


def _text(content: str | list[TextPart], param: str) -> str:
    if isinstance(content, str):
        return content
    if any(part.type != "text" for part in content):
        message = "only text is supported"
        raise BadRequest(message, code="unsupported_content", param=f"{param}.content")
    return "".join(part.text for part in content)
