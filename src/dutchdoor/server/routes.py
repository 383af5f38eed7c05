"""Every route, and who may call it. A route that does not say so keeps the server from starting."""

from __future__ import annotations

from dutchdoor.server import pages
from dutchdoor.server.api import chat, completions, limitations, log, own, release, requests
from dutchdoor.server.doors import Route, Who
from dutchdoor.server.http import Exchange
from dutchdoor.server.openapi import document
from dutchdoor.server.parts import Parts

__all__ = ["ROUTES"]


async def openapi(exchange: Exchange, parts: Parts) -> None:
    """The OpenAPI document, of this very table."""
    await exchange.reply_json(document(parts.version, ROUTES))


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1", pages.greeting, Who.ANYBODY, "Say that this is the API."),
    Route("GET", "/v1/", pages.greeting, Who.ANYBODY, "Say that this is the API."),
    Route("GET", "/v1/models", own.models, Who.PERSON, "List the models open to the caller."),
    Route(
        "POST",
        "/v1/chat/completions",
        chat.chat_completions,
        Who.GRANTED,
        "Complete a conversation, whole or streamed.",
        requests.ChatBody,
    ),
    Route(
        "POST",
        "/v1/completions",
        completions.completions,
        Who.GRANTED,
        "Complete raw text or token ids; needs the depth decoding_control.",
        requests.CompletionBody,
    ),
    Route(
        "POST",
        "/v1/dutchdoor/activations",
        own.activations,
        Who.GRANTED,
        "Read hidden vectors at named taps, within the budget of independent vectors.",
        requests.ActivationsBody,
    ),
    Route(
        "POST",
        "/v1/dutchdoor/guard/fit",
        own.guard_fit,
        Who.GRANTED,
        "Fit the guard's probe inside the runtime; only for the internal audit.",
        requests.FitBody,
    ),
    Route(
        "POST",
        "/v1/dutchdoor/audit/amend",
        own.amend,
        Who.GRANTED,
        "Measure what one way to modify the model does, inside; only for the internal audit.",
        requests.AmendBody,
    ),
    Route(
        "POST",
        "/v1/dutchdoor/tokenize",
        own.tokenize,
        Who.GRANTED,
        "Give the token ids of a conversation or a text.",
        requests.TokenizeBody,
    ),
    Route("GET", "/v1/dutchdoor/me", own.me, Who.PERSON, "Say what the caller was granted."),
    Route(
        "GET",
        "/v1/dutchdoor/decision",
        own.decision,
        Who.PERSON,
        "Give the release decision in force.",
    ),
    Route(
        "GET",
        "/v1/dutchdoor/limitations",
        limitations.limitations,
        Who.PERSON,
        "Say what the model cannot do, by the release decision in force.",
    ),
    Route(
        "GET",
        "/v1/dutchdoor/release/combinations",
        release.combinations,
        Who.PERSON,
        "Say what the decision in force makes possible, and which combinations it flags.",
    ),
    Route(
        "POST",
        "/v1/dutchdoor/release/what-if",
        release.try_change,
        Who.PERSON,
        "Say what would change if a component or a depth were opened; opens nothing.",
        release.WhatIfBody,
    ),
    Route(
        "GET",
        "/v1/dutchdoor/receipts/{inference}",
        own.receipts,
        Who.PERSON,
        "Give the proofs of one of the caller's own inferences.",
    ),
    Route(
        "GET",
        "/v1/dutchdoor/log/checkpoint",
        log.checkpoint,
        Who.ANYBODY,
        "Give the log's newest signed checkpoint (C2SP tlog-checkpoint).",
        gives="text/plain",
    ),
    Route(
        "GET",
        "/v1/dutchdoor/log/tile/entries/{rest}",
        log.entries,
        Who.PERSON,
        "Give a bundle of the log's entries (C2SP tlog-tiles).",
        gives="application/octet-stream",
    ),
    Route(
        "GET",
        "/v1/dutchdoor/log/tile/{level}/{rest}",
        log.tile,
        Who.ANYBODY,
        "Give a tile of the log's hashes (C2SP tlog-tiles).",
        gives="application/octet-stream",
    ),
    Route("GET", "/healthz", pages.health, Who.ANYBODY, "Say that the process is up."),
    Route("GET", "/readyz", pages.ready, Who.ANYBODY, "Say whether inferences can begin now."),
    Route(
        "GET",
        "/metrics",
        pages.metrics,
        Who.ANYBODY,
        "Give Prometheus metrics; no people, no content.",
        gives="text/plain",
    ),
    Route("GET", "/openapi.json", openapi, Who.ANYBODY, "Give this document."),
    Route("GET", "/", pages.status, Who.ANYBODY, "Show the status page.", gives="text/html"),
    Route(
        "GET",
        "/console/{rest}",
        pages.static,
        Who.ANYBODY,
        "Give the status page's style.",
        gives="text/css",
    ),
)
