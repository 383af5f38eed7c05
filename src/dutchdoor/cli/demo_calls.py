"""The demo's three people, with the unmodified `openai` client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai

from dutchdoor import canonical

__all__ = ["Answer", "Caller", "Problem", "Vectors"]

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Problem:
    """An error as the server told it. vectors: the pool's figure, where it is about vectors."""

    status: int
    code: str
    message: str
    hint: str
    rule: str


@dataclass(frozen=True)
class Answer:
    """A completion. entry: its place in the log. logprobs: of its tokens, where asked."""

    text: str
    finish_reason: str
    entry: int
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Vectors:
    """Activations read. shape: taps, positions, hidden. told: "x of h independent vectors…"."""

    shape: tuple[int, ...]
    told: str


@dataclass
class Caller:
    """One person with a key. receipts: a folder; each receipt the server gives is kept there."""

    name: str
    api_key: str = field(repr=False)
    receipts: Path
    model: str
    _client: openai.OpenAI = field(init=False, repr=False)

    def connect(self, base_url: str) -> None:
        """Where the server is; before the first question."""
        self._client = openai.OpenAI(
            base_url=base_url, api_key=self.api_key, timeout=TIMEOUT_S, max_retries=0
        )

    def models(self) -> list[str] | Problem:
        """The models this person sees."""
        try:
            return [model.id for model in self._client.models.list().data]
        except openai.APIStatusError as error:
            return _problem(error)

    def chat(self, prompt: str, tokens: int = 40, logprobs: int | None = None) -> Answer | Problem:
        """One question, one answer."""
        more: dict[str, Any] = {}
        if logprobs is not None:
            more = {"logprobs": True, "top_logprobs": logprobs}
        try:
            reply = self._client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt}],
                max_tokens=tokens,
                temperature=0,
                **more,
            )
        except openai.APIStatusError as error:
            return _problem(error)
        choice = reply.choices[0]
        rows = choice.logprobs.content if choice.logprobs and choice.logprobs.content else []
        entry = self._keep((reply.model_extra or {}).get("dutchdoor"))
        return Answer(
            choice.message.content or "",
            str(choice.finish_reason),
            entry,
            tuple(row.logprob for row in rows),
        )

    def stream(
        self, prompt: str, tokens: int = 40, on_text: Callable[[str, int], None] | None = None
    ) -> Answer | Problem:
        """One question, the answer as it comes. on_text: hears each piece and how many came."""
        pieces: list[str] = []
        reason, entry = "", -1
        try:
            for chunk in self._chunks(prompt, tokens):
                entry = max(entry, self._keep((chunk.model_extra or {}).get("dutchdoor")))
                if not chunk.choices:
                    continue
                reason = str(chunk.choices[0].finish_reason or reason)
                text = chunk.choices[0].delta.content or ""
                if text:
                    pieces.append(text)
                    if on_text is not None:
                        on_text(text, len(pieces))
        except openai.APIStatusError as error:
            return _problem(error)
        except openai.APIError as error:
            return _stream_problem(error)
        return Answer("".join(pieces), reason, entry)

    def activations(self, prompt: str, taps: list[str], positions: int) -> Vectors | Problem:
        """Hidden vectors of the last `positions` tokens."""
        body = {"model": self.model, "prompt": prompt, "taps": taps, "positions": positions}
        try:
            reply = self._client.post("/dutchdoor/activations", cast_to=httpx.Response, body=body)
        except openai.APIStatusError as error:
            return _problem(error)
        value = json.loads(reply.text)
        self._keep(value["dutchdoor"])
        return Vectors(tuple(value["shape"]), str(value["dutchdoor"]["vectors"]))

    def _chunks(self, prompt: str, tokens: int) -> Iterator[Any]:
        yield from self._client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": prompt}],
            max_tokens=tokens,
            temperature=0,
            stream=True,
        )

    def _keep(self, told: Any) -> int:
        """Keep the receipt in `told`; the index of its entry, -1 where there is none."""
        if not isinstance(told, dict) or "receipt" not in told:
            return -1
        self.receipts.mkdir(parents=True, exist_ok=True)
        index = int(told.get("entry", -1))
        for name, receipt in told["receipt"].items():
            path = self.receipts / f"{told['inference']}-{name}.json"
            path.write_bytes(canonical.encode(receipt))
        return index


def _problem(error: openai.APIStatusError) -> Problem:
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("dutchdoor") or {}
    return Problem(
        status=error.status_code,
        code=str(body.get("code", "")),
        message=str(body.get("message", "")),
        hint=str(told.get("hint", "")),
        rule=str(told.get("rule", "")),
    )


def _stream_problem(error: openai.APIError) -> Problem:
    body = error.body if isinstance(error.body, dict) else {}
    told = body.get("dutchdoor") or {}
    return Problem(
        status=0,
        code=str(error.code or body.get("code", "")),
        message=error.message,
        hint=str(told.get("hint", "")),
        rule=str(told.get("rule", "")),
    )
