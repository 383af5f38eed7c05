"""Prometheus metrics: counts and times, never people, keys, grants or content."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        # Routes are few and statuses too: what they are counted by is looked up once.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.requests = Counter(
            "dutchdoor_requests",
            "HTTP requests by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self.stops = Counter(
            "dutchdoor_stops",
            "Inferences that were refused, cut or failed, by code.",
            ["code"],
            registry=self._registry,
        )
        self.tokens = Counter(
            "dutchdoor_tokens",
            "Tokens read and released.",
            ["direction"],
            registry=self._registry,
        )
        self.read, self.written = self.tokens.labels("read"), self.tokens.labels("written")
        self.seconds = Histogram(
            "dutchdoor_request_seconds",
            "Duration of requests by route, streams to their end.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.first_token_seconds = Histogram(
            "dutchdoor_first_token_seconds",
            "From the request to the first event of a stream.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.running = Gauge(
            "dutchdoor_running", "Inferences that run now.", registry=self._registry
        )
        self.log_entries = Gauge(
            "dutchdoor_log_entries", "Entries in the evidence log.", registry=self._registry
        )
        self.log_failing = Gauge(
            "dutchdoor_log_failing",
            "1 while the evidence log cannot be written or followed.",
            registry=self._registry,
        )
        self.policies_stale = Gauge(
            "dutchdoor_policies_stale",
            "1 while the files in policies/ are not right, and older rules are in force.",
            registry=self._registry,
        )
        self.owed = Gauge(
            "dutchdoor_owed_entries",
            "Ends of inferences that wait for the log to take entries again.",
            registry=self._registry,
        )

    def served(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        known = self._known.get((route, status))
        if known is None:
            known = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._known[route, status] = known
        count, duration = known
        count.inc()
        duration.observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
