"""What everybody may ask: is it up, is it ready, what runs here. No secrets, no people."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from dutchdoor.access.extraction import pool_text
from dutchdoor.clock import to_iso
from dutchdoor.errors import DutchdoorError, NotFound
from dutchdoor.evidence.decision import Decision
from dutchdoor.runtime.protocol import Description
from dutchdoor.server.console.markdown import html_of
from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["greeting", "health", "metrics", "ready", "static", "status"]


class Standing(NamedTuple):
    """How things stand: code and message of each trouble.

    troubles: what keeps inferences away. warnings: what needs somebody's eyes while they go on.
    released: vectors of the model, over all people; -1 where that is not known.
    """

    description: Description | None
    decision: Decision | None
    entries: int
    running: int
    troubles: list[tuple[str, str]]
    warnings: list[tuple[str, str]]
    released: int


async def standing_of(parts: Parts) -> Standing:
    """How things stand now; raises nothing: what cannot be known is a trouble."""
    gateway = parts.gateway
    troubles: list[tuple[str, str]] = []
    description, decision, released = None, None, -1
    try:
        description = await gateway.desk.description()
        decision = await gateway.desk.decision()
        released = await gateway.desk.released(decision.bundle)
    except DutchdoorError as error:
        troubles.append((error.code, error.message))
    differs = gateway.enforcement.trouble
    if differs is not None:
        troubles.insert(0, (differs.code, differs.message))
    trouble = gateway.watch.trouble
    if trouble is not None:
        troubles.append((trouble.code, trouble.message))
    if gateway.recorder.failing:
        troubles.append(("evidence_unavailable", "the evidence log cannot record"))
    try:
        entries = (await asyncio.to_thread(parts.log.view)).size
    except (DutchdoorError, OSError):
        entries = gateway.index.size
        troubles.append(("evidence_unavailable", "the evidence log cannot be read"))
    stale = gateway.policies.trouble
    warnings = [(stale.code, stale.message)] if stale is not None else []
    running = gateway.watch.running_count
    return Standing(description, decision, entries, running, troubles, warnings, released)


async def greeting(exchange: Exchange, parts: Parts) -> None:
    """For tools that look whether anybody is there."""
    await exchange.reply_json({"object": "dutchdoor.api", "version": parts.version})


async def health(exchange: Exchange, parts: Parts) -> None:
    """The process is up; says nothing of the runtime."""
    await exchange.reply_json({"status": "up"})


async def ready(exchange: Exchange, parts: Parts) -> None:
    """Whether inferences can begin now, and what keeps them away or needs somebody's eyes."""
    standing = await standing_of(parts)
    found = [*standing.troubles, *standing.warnings]
    rows = [{"code": code, "message": message} for code, message in found]
    status_text = "degraded" if found else "ready"
    if standing.troubles:
        status_text = "not_ready"
    await exchange.reply_json(
        {"status": status_text, "troubles": rows}, status=503 if standing.troubles else 200
    )


async def metrics(exchange: Exchange, parts: Parts) -> None:
    """Prometheus' text format."""
    gateway, gauges = parts.gateway, parts.metrics
    gauges.running.set(gateway.watch.running_count)
    gauges.log_entries.set(gateway.index.size)
    failing = gateway.watch.trouble is not None or gateway.recorder.failing
    gauges.log_failing.set(1 if failing else 0)
    gauges.policies_stale.set(1 if gateway.policies.trouble is not None else 0)
    gauges.owed.set(len(gateway.recorder.owed))
    await exchange.reply(200, gauges.text(), "text/plain; version=0.0.4; charset=utf-8")


async def status(exchange: Exchange, parts: Parts) -> None:
    """The status page."""
    from dutchdoor.server.console.page import render_status  # Jinja is for this page alone.

    page = render_status(_facts(await standing_of(parts), parts.version))
    policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"
    headers = [("content-security-policy", policy), ("x-frame-options", "DENY")]
    await exchange.reply(200, page, "text/html; charset=utf-8", headers)


async def static(exchange: Exchange, parts: Parts) -> None:
    """The status page's style; no other file."""
    from dutchdoor.server.console.page import style

    if exchange.arguments["rest"] != "status.css":
        raise NotFound("there is no such page", code="not_found")
    await exchange.reply(200, style(), "text/css; charset=utf-8")


def _facts(standing: Standing, version: str) -> dict[str, Any]:
    decision, description = standing.decision, standing.description
    facts: dict[str, Any] = {
        "version": version,
        "entries": standing.entries,
        "running": standing.running,
        "troubles": standing.troubles,
        "warnings": standing.warnings,
        "decision": None,
        "runtime": None,
    }
    if decision is not None:
        facts["decision"] = {
            "id": decision.id,
            "model": decision.model,
            "bundle": decision.bundle,
            "level": str(decision.level).replace("_", " "),
            "stage": decision.stage,
            "reasons": html_of(decision.reasons),
            "not_before": to_iso(decision.not_before_ms),
            "not_after": to_iso(decision.not_after_ms),
            "audiences": [
                {
                    "name": audience.name,
                    "named": len(audience.people),
                    "depths": ", ".join(str(d).replace("_", " ") for d in audience.depths),
                }
                for audience in decision.audiences
            ],
            "probe": decision.guard.probe,
            "threshold": decision.guard.threshold,
            "limitations": list(decision.terms.limitations),
            "vectors": pool_text(standing.released, decision.hidden_size)
            if standing.released >= 0
            else "how many were released is not known now",
            "vectors_max": decision.vectors_max,
        }
    if description is not None:
        facts["runtime"] = {
            "model": description.model,
            "layers": description.layers,
            "hidden": description.hidden,
            "context": description.context,
            "hardening": ", ".join(description.hardening) or "none",
            "probe": description.probe,
        }
    return facts
