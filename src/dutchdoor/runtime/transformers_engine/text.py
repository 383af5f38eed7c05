"""Text to tokens and back: the bundle's tokenizer and chat template, from memory alone.

A user cannot forge a turn: where a message spells a special token (`<|im_end|>`), it is encoded
letter by letter. Other text gets exactly the ids that `apply_chat_template` gives.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from dutchdoor.errors import Invalid
from dutchdoor.runtime.protocol import ChatMessage

__all__ = ["Prompt", "TextSide"]


class Prompt(NamedTuple):
    """token_ids: what the model sees.

    user_first: index of the first token that the caller wrote, in any turn; before it stands only
    what the chat template adds. user_last: index of the last token of the last user's turn.
    """

    token_ids: list[int]
    user_first: int
    user_last: int


class TextSide:
    """The tokenizer of one bundle."""

    def __init__(self, tokenizer_json: bytes, config: Mapping[str, Any], template: str) -> None:
        """config: of tokenizer_config.json. template: a Jinja chat template, or "".

        Raises Invalid: not a tokenizer that we can read in both directions.
        """
        import tokenizers
        import transformers

        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_buffer(tokenizer_json)
            self._literal: Any = tokenizers.Tokenizer.from_buffer(tokenizer_json)
            shape = json.loads(tokenizer_json)
        except Exception as error:  # the library raises bare exceptions of its own
            raise Invalid("not a tokenizer", code="bad_tokenizer") from error
        for tokenizer in (self._tokenizer, self._literal):
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._literal.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder()
        self._special = {n: str(token.content) for n, token in added.items() if token.special}
        self._added = {n: str(token.content) for n, token in added.items()}
        self._pieces = _pieces(self._tokenizer, shape, self._added)
        named = {name: _content(config.get(name)) for name in ("bos_token", "eos_token")}
        self._renderer: Any = transformers.PreTrainedTokenizerFast(
            tokenizer_object=self._tokenizer,
            chat_template=template or None,
            **{name: value for name, value in named.items() if value},
        )
        self._has_template = bool(template)

    def piece(self, token_id: int) -> bytes:
        """The exact bytes of one token; of a special token its name; b"" for an unused id."""
        return self._pieces.get(token_id, b"")

    def is_special(self, token_id: int) -> bool:
        """Whether the token is a sign of the format, not of the text."""
        return token_id in self._special

    @property
    def has_template(self) -> bool:
        """Whether the bundle says how a conversation is written."""
        return self._has_template

    def ids(self, text: str) -> list[int]:
        """The token ids of a piece of text, as anybody may write it: none is special."""
        return list(self._literal.encode(text, add_special_tokens=False).ids)

    def cut(self, text: str, tokens_max: int) -> str:
        """`text`, or where it has more tokens its first and its last half of so many."""
        offsets = self._literal.encode(text, add_special_tokens=False).offsets
        if len(offsets) <= tokens_max:
            return text
        half = tokens_max // 2
        return text[: offsets[half][0]] + text[offsets[-half][0] :]

    def prompt(
        self, chat: list[ChatMessage], text: str | None, token_ids: list[int] | None
    ) -> Prompt:
        """The tokens of a prompt, of which exactly one kind is given.

        Raises Invalid: a conversation, and the bundle has no chat template or it refuses this one.
        """
        if token_ids is not None:
            return Prompt(list(token_ids), 0, len(token_ids) - 1)
        if text is not None:
            ids = list(self._tokenizer.encode(text).ids)
            return Prompt(ids, 0, len(ids) - 1)
        return self._chat(chat)

    def _chat(self, chat: list[ChatMessage]) -> Prompt:
        turns = [{"role": turn.role, "content": turn.content} for turn in chat]
        users = [n for n, turn in enumerate(chat) if turn.role == "user"]
        begin = self._turn(turns, 0)[0]
        end = self._turn(turns, users[-1])[1] if users else None
        mark = _new_mark()
        spelled: list[str] = []
        for turn in turns:
            turn["content"] = self._mark_special(turn["content"], mark, spelled)
        parts = self._render(turns).split(mark)
        if len(parts) != len(spelled) + 1:
            raise Invalid("the chat template repeats or drops a message", code="bad_prompt")
        ids: list[int] = []
        first, last, position = None, 0, 0
        for part, literal in zip(parts, [*spelled, ""], strict=True):
            for tokenizer, piece in ((self._tokenizer, part), (self._literal, literal)):
                encoding = tokenizer.encode(piece, add_special_tokens=False)
                for token_id, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
                    if first is None and position + stop > begin:
                        first = len(ids)
                    if end is None or position + start < end:
                        last = len(ids)
                    ids.append(token_id)
                position += len(piece)
        return Prompt(ids, min(first or 0, last), last)

    def _turn(self, turns: list[dict[str, str]], number: int) -> tuple[int, int]:
        """Where a turn's words begin and end in the rendered text: the rest does not change."""
        mark = _new_mark()
        changed = [{**turn} for turn in turns]
        changed[number]["content"] = mark
        whole, marked = self._render(turns), self._render(changed)
        place = marked.find(mark)
        if place < 0:
            return 0, len(whole)
        return place, len(whole) - (len(marked) - place - len(mark))

    def _mark_special(self, content: str, mark: str, spelled: list[str]) -> str:
        """`content` with each special token in it replaced by `mark`, and put into `spelled`."""
        result, start = "", 0
        while True:
            places = [(content.find(name, start), -len(name)) for name in self._special.values()]
            found = min((place for place in places if place[0] >= 0), default=None)
            if found is None:
                return result + content[start:]
            place, size = found[0], -found[1]
            spelled.append(content[place : place + size])
            result += content[start:place] + mark
            start = place + size

    def _render(self, turns: list[dict[str, str]]) -> str:
        if not self._has_template:
            message = "this model has no chat template"
            raise Invalid(message, code="no_chat_template", hint="send a text prompt instead")
        try:
            rendered = self._renderer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # templates raise what they like
            message = "the model's chat template refuses this conversation"
            raise Invalid(message, code="bad_prompt", hint="check the order of roles") from error
        return str(rendered)


def _new_mark() -> str:
    """A text that no message holds, because nobody can guess it."""
    return f"\ue000{secrets.token_hex(16)}\ue001"


def _content(value: Any) -> str:
    """A token's text in tokenizer_config.json, which writes it plain or as an object."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _pieces(tokenizer: Any, shape: Mapping[str, Any], added: Mapping[int, str]) -> dict[int, bytes]:
    """The bytes of every token, by the tokenizer's kind of decoder."""
    decoder = json.dumps(shape.get("decoder") or {})
    if '"ByteLevel"' in decoder:
        spell = _byte_level_bytes
    elif '"Metaspace"' in decoder or "\\u2581" in decoder:
        spell = _sentencepiece_bytes
    else:
        message = "a tokenizer whose tokens have no exact bytes"
        hint = "byte-level and SentencePiece tokenizers are supported"
        raise Invalid(message, code="bad_tokenizer", hint=hint)
    pieces: dict[int, bytes] = {}
    for token, token_id in tokenizer.get_vocab(with_added_tokens=True).items():
        if token_id in added:
            pieces[token_id] = added[token_id].encode()
            continue
        try:
            pieces[token_id] = spell(token)
        except KeyError:
            pieces[token_id] = token.encode()
    return pieces


def _sentencepiece_bytes(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def _byte_level_bytes(token: str) -> bytes:
    letters = _byte_letters()
    return bytes(letters[letter] for letter in token)


@lru_cache(maxsize=1)
def _byte_letters() -> dict[str, int]:
    """Which byte each letter of a byte-level vocabulary stands for. Source: GPT-2's encoder.py."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    return letters | {chr(256 + n): byte for n, byte in enumerate(others)}
