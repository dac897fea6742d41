"""Prometheus metrics: requests counted here, the engine's figures read at scrape time."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gateway.services import health
from models.database import StoreUnavailable

_log = logging.getLogger("commandpost.web")

_REQUESTS = Counter("commandpost_http_requests", "HTTP requests answered", ["method", "route", "status"])
_SECONDS = Histogram(
    "commandpost_http_request_seconds",
    "Time to answer an HTTP request",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


@functools.cache
def _series(method: str, route: str, status: int) -> Counter:
    """Finding a series by its labels costs more than counting."""
    return _REQUESTS.labels(method, route, str(status))


def register(app: Flask) -> None:
    """Count every request by method, route (never by path: a scanner would make endless series) and status."""

    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        _series(method, route, response.status_code).inc()
        if "begun" in g:
            _SECONDS.observe(time.perf_counter() - g.begun)
        return response


class _Engine(Collector):
    """The engine's figures, read from the database when asked."""

    def collect(self) -> Iterator[Metric]:
        try:
            figures = health.snapshot()
        except StoreUnavailable:
            _log.warning("metrics_without_store")
            yield GaugeMetricFamily("commandpost_store_up", "1 while the database answers", value=0)
            return
        yield GaugeMetricFamily("commandpost_store_up", "1 while the database answers", value=1)
        queue = GaugeMetricFamily("commandpost_queue_deliveries", "Deliveries waiting, by state", labels=["state"])
        for state, n in figures["queue"].items():
            queue.add_metric([state], n)
        yield queue
        yield GaugeMetricFamily(
            "commandpost_queue_oldest_overdue_seconds",
            "How long the oldest due delivery has waited beyond its time",
            value=figures["overdue_seconds"],
        )
        events = CounterMetricFamily("commandpost_events", "Events written, by kind", labels=["kind"])
        for kind, n in figures["events"].items():
            events.add_metric([kind], n)
        yield events
        yield GaugeMetricFamily(
            "commandpost_webhook_backlog", "Webhook deliveries waiting", value=figures["webhook_backlog"]
        )
        yield GaugeMetricFamily(
            "commandpost_handed_over_deliveries",
            "Taken by providers that have not said yet what became of them",
            value=figures["handed_over"],
        )
        times = figures["delivery_times"]
        waited = GaugeMetricFamily(
            "commandpost_delivery_time_seconds",
            "From acceptance to the 250 of the next hop, since yesterday (UTC)",
            labels=["quantile"],
        )
        for quantile, ms in (("0.5", times.p50_ms), ("0.95", times.p95_ms), ("0.99", times.p99_ms)):
            if ms is not None:
                waited.add_metric([quantile], ms / 1000)
        yield waited
        yield GaugeMetricFamily("commandpost_limits", "Limits on destinations that hold now", value=figures["limits"])
        yield GaugeMetricFamily(
            "commandpost_paused_destinations", "Destinations that are paused", value=figures["paused"]
        )


def exposition() -> tuple[bytes, str]:
    """The text of all metrics and its content type; of all processes where PROMETHEUS_MULTIPROC_DIR is set."""
    engine = CollectorRegistry()
    engine.register(_Engine())
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counted = CollectorRegistry()
        MultiProcessCollector(counted)
    else:
        counted = REGISTRY
    return generate_latest(counted) + generate_latest(engine), CONTENT_TYPE_LATEST
