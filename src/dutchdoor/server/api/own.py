"""Our own routes under `/v1/dutchdoor/`, and the list of models."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from dutchdoor.access.extraction import pool_text
from dutchdoor.clock import to_iso
from dutchdoor.evidence.decision import Decision
from dutchdoor.gateway.desk import Myself
from dutchdoor.gateway.model import Stopped
from dutchdoor.server.api.requests import (
    parse_activations,
    parse_amend,
    parse_fit,
    parse_tokenize,
)
from dutchdoor.server.errors import problem_of
from dutchdoor.server.http import CallerGone, Exchange
from dutchdoor.server.parts import Parts

__all__ = [
    "activations",
    "amend",
    "decision",
    "decision_value",
    "guard_fit",
    "me",
    "models",
    "receipts",
    "tokenize",
]

FIT_BYTES_MAX = 16 << 20


async def models(exchange: Exchange, parts: Parts) -> None:
    """The models that the caller may see."""
    rows = [
        {
            "id": model.name,
            "object": "model",
            "created": model.decided_ms // 1000,
            "owned_by": "dutchdoor",
        }
        for model in await parts.gateway.desk.models(exchange.key())
    ]
    await exchange.reply_json({"object": "list", "data": rows})


async def activations(exchange: Exchange, parts: Parts) -> None:
    """Hidden vectors at named taps: base64 of float32, little-endian, in C order."""
    key = exchange.key()
    request = parse_activations(await exchange.body(parts.config.limits.request_bytes_max))
    async with exchange.watched():
        result = await parts.gateway.activations(key, request, exchange.hang_up)
    if isinstance(result, Stopped):
        await _stop(exchange, parts, result)
        return
    answer = {
        "object": "dutchdoor.activations",
        "model": result.model,
        "taps": list(result.taps),
        "positions": result.positions,
        "dtype": "float32",
        "shape": [len(result.taps), result.positions, result.hidden],
        "data": base64.b64encode(result.data).decode(),
        "usage": {"prompt_tokens": result.prompt_tokens},
        "dutchdoor": {
            **_own(result.inference, result.done, result.receipt),
            "vectors": pool_text(result.vectors_released, result.hidden),
            "vectors_released": result.vectors_released,
            "vectors_max": result.vectors_max,
        },
    }
    await exchange.reply_json(answer, headers=[("dutchdoor-receipt", str(result.done))])


async def guard_fit(exchange: Exchange, parts: Parts) -> None:
    """The guard's probe, fitted inside the runtime; for the internal audit alone."""
    key = exchange.key()
    request = parse_fit(await exchange.body(FIT_BYTES_MAX))
    async with exchange.watched():
        result = await parts.gateway.fit_probe(key, request, exchange.hang_up)
    if isinstance(result, Stopped):
        await _stop(exchange, parts, result)
        return
    answer = {
        "object": "dutchdoor.probe",
        "sealed": base64.b64encode(result.sealed).decode(),
        "digest": result.digest,
        "card": msgspec.Raw(result.card),
        "dutchdoor": _own(result.inference, result.done, result.receipt),
    }
    await exchange.reply_json(answer, headers=[("dutchdoor-receipt", str(result.done))])


async def amend(exchange: Exchange, parts: Parts) -> None:
    """What one way to modify the model does, as a curve; for the internal audit alone."""
    key = exchange.key()
    request = parse_amend(await exchange.body(FIT_BYTES_MAX))
    async with exchange.watched():
        result = await parts.gateway.amend(key, request, exchange.hang_up)
    if isinstance(result, Stopped):
        await _stop(exchange, parts, result)
        return
    answer = {
        "object": "dutchdoor.curve",
        "curve": msgspec.Raw(result.curve),
        "dutchdoor": _own(result.inference, result.done, result.receipt),
    }
    await exchange.reply_json(answer, headers=[("dutchdoor-receipt", str(result.done))])


async def tokenize(exchange: Exchange, parts: Parts) -> None:
    """The token ids of a prompt, and each token's bytes in base64."""
    key = exchange.key()
    body = await exchange.body(parts.config.limits.request_bytes_max)
    model, prompt = parse_tokenize(body)
    result = await parts.gateway.desk.tokenize(key, model, prompt)
    if isinstance(result, Stopped):
        await _stop(exchange, parts, result)
        return
    answer = {
        "object": "dutchdoor.tokens",
        "count": len(result.token_ids),
        "token_ids": result.token_ids,
        "pieces": [base64.b64encode(piece).decode() for piece in result.pieces],
    }
    await exchange.reply_json(answer)


async def me(exchange: Exchange, parts: Parts) -> None:
    """Who the caller is, what they were granted, and what is left of it."""
    await exchange.reply_json(_myself(await parts.gateway.desk.myself(exchange.key())))


async def decision(exchange: Exchange, parts: Parts) -> None:
    """The release decision in force."""
    await exchange.reply_json(decision_value(await parts.gateway.desk.decision()))


async def receipts(exchange: Exchange, parts: Parts) -> None:
    """The proofs of one of the caller's own inferences."""
    inference = exchange.arguments["inference"]
    rows = await parts.gateway.desk.receipt(exchange.key(), inference)
    answer = {"object": "dutchdoor.receipt", "inference": inference, "receipt": rows}
    await exchange.reply_json(answer)


def decision_value(decision: Decision) -> dict[str, Any]:
    """A decision for people who were not in the room: no names, no keys."""
    body = decision.to_body()
    stages = body.get("terms", {}).get("stages", [])
    for audience in [*body["audiences"], *(row for s in stages for row in s["audiences"])]:
        # Who is named in a decision is for the log's readers, not for every caller.
        audience["people"] = len(audience["people"])
    dates = {
        "not_before": to_iso(decision.not_before_ms),
        "not_after": to_iso(decision.not_after_ms),
    }
    return {"object": "dutchdoor.decision", **body, **dates}


async def _stop(exchange: Exchange, parts: Parts, end: Stopped) -> None:
    if exchange.hang_up.happened:
        raise CallerGone
    parts.metrics.stops.labels(end.code).inc()
    await exchange.reply_problem(problem_of(end))


def _own(inference: str, done: int, receipt: dict[str, Any]) -> dict[str, Any]:
    """Our own part of an answer whose data the caller has already.

    The receipt does not carry the data a second time: `salt` and the data open the commitment.
    """
    end = dict(receipt["done"])
    opening = end["openings"]["completion"]
    return {
        "inference": inference,
        "entry": done,
        "receipt": {**receipt, "done": {**end, "openings": {}}},
        "salt": opening["salt"],
    }


def _myself(myself: Myself) -> dict[str, Any]:
    person = myself.caller.person
    grants = []
    for row in myself.grants:
        grant, used = row.grant, row.used
        left = {
            "requests": max(0, grant.budget.requests - used.requests),
            "tokens": max(0, grant.budget.tokens - used.tokens),
            "vectors": max(0, grant.budget.vectors - row.vectors_used),
        }
        grants.append(
            {
                "id": grant.id,
                "bundle": grant.bundle,
                "purpose": grant.purpose,
                "depths": [str(depth) for depth in grant.depths],
                "active": grant.active,
                "not_before": to_iso(grant.not_before_ms),
                "not_after": to_iso(grant.not_after_ms),
                "content_mode": str(grant.content_mode),
                "monitor_mode": str(grant.monitor_mode),
                "budget_left": left,
            }
        )
    pool = pool_text(myself.released, myself.hidden)
    return {
        "object": "dutchdoor.me",
        "person": {
            "id": person.id,
            "name": person.name,
            "organisation": person.organisation,
            "audience": person.audience,
        },
        "key": myself.caller.key,
        "depths_open": sorted(str(depth) for depth in myself.depths),
        "grants": grants,
        "vectors": {
            "text": pool,
            "released": myself.released,
            "allowed": myself.vectors_max,
            "hidden": myself.hidden,
        },
    }
