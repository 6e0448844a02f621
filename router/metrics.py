"""Prometheus series of the gateway, all workers together (prometheus_client's multiprocess files)."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.registry import Collector

from policies.prices import NANO
from router.baseline import baselines
from router.bill import lost_attempts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.embedding_call import EmbeddingCall
    from router.exchange import Exchange
    from router.store.balances import Balance
    from router.store.ledger import Window

_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """The series, with children looked up once: `labels()` costs more than the increment itself.

    Label values come from the configuration (tenants, arms, models) or from closed sets, so their number is bounded.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"gearshift_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"gearshift_{name}", text, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Client requests that ended, by how", "tenant", "arm", "status")
        self.rejected = counter("rejected", "Requests refused before a decision", "code")
        self.decisions = counter("decisions", "Decisions", "policy", "kind", "late", "far")
        self.tokens = counter("tokens", "Tokens billed", "model", "kind")
        self.cost_usd = counter("cost_usd", "USD billed", "tenant", "model", "mode")
        self.baseline_usd = counter(
            "baseline_usd", "USD that answers are guessed to have cost on the reference arm", "tenant", "by"
        )
        self.baseline_paid_usd = counter("baseline_paid_usd", "USD that the same answers cost", "tenant", "by")
        self.budget_refusals = counter(
            "budget_refusals", "Reservations that did not fit a budget, by what came of it", "tenant", "outcome"
        )
        self.usage_flags = counter("usage_flags", "Answers with odd usage, by what was odd", "model", "flag")
        self.limit_refusals = counter("limit_refusals", "Requests that a limit refused, by which", "tenant", "limit")
        self.unpriced = counter("unpriced_requests", "Answers whose price is unknown", "model")
        self.fallbacks = counter("fallbacks", "Answers by another arm than the one drawn", "reason")
        self.retries = counter("retries", "Attempts after the first of a request", "kind")
        self.feedback = counter("feedback", "Feedback received", "metric")
        self.arm_alarms = counter("arm_alarms", "Arms whose scores are no longer those predicted", "arm", "direction")
        self.trials_ended = counter("trials_ended", "Arms whose trial's money is spent", "arm")
        self.online_dropped = counter("online_dropped", "Decisions and feedback nothing was learned from", "reason")
        self.encoder_cache_hits = counter("encoder_cache_hits", "Embeddings served from the cache")
        self.encoder_cache_misses = counter("encoder_cache_misses", "Embeddings computed")
        self.request_seconds = histogram("request_seconds", "Whole request", buckets=_SLOW)
        self.overhead_seconds = histogram(
            "overhead_seconds", "Gateway's own time before the upstream call", buckets=_FAST
        )
        self.upstream_seconds = histogram("upstream_seconds", "Time of answering attempts", "model", buckets=_SLOW)
        self.ttft_seconds = histogram("ttft_seconds", "Time to the first streamed content", "model", buckets=_SLOW)
        self.encoder_seconds = histogram("encoder_seconds", "Wait for an embedding", buckets=_FAST)
        self.store_seconds = histogram("store_seconds", "Store calls", "call", buckets=_FAST)
        self.store_begin = self.store_seconds.labels("begin")
        self.store_settle = self.store_seconds.labels("settle")
        self._children: dict[tuple[str, ...], Any] = {}
        self.breaker_open = Gauge(
            "gearshift_breaker_open",
            "1 while a deployment is not called",
            ["deployment"],
            registry=registry,
            multiprocess_mode="livemax",  # what a dead worker thought of a deployment is no news
        )

        def newest(name: str, text: str) -> Gauge:
            """Every worker reads the same number from the store; one may be behind."""
            return Gauge(f"gearshift_online_{name}", text, registry=registry, multiprocess_mode="livemax")

        self.online_sequence = newest("sequence", "Number of the learned state that serves")
        self.online_lessons = newest("lessons", "Decisions whose feedback was learned from")
        self.online_waiting = newest("waiting_decisions", "Decisions that wait for feedback")
        self.online_lag = newest("lag_seconds", "Since the learner last stood at the log's end")

        def window(name: str, text: str) -> Gauge:
            return Gauge(
                f"gearshift_budget_{name}", text, ["owner", "per"], registry=registry,
                multiprocess_mode="livemostrecent",
            )  # fmt: skip

        self.budget_spent = window("spent_usd", "USD spent in the budget's current window")
        self.budget_reserved = window("reserved_usd", "USD reserved in it by requests under way")
        self.budget_limit = window("limit_usd", "USD that may be spent in it")
        self.budget_pace = window("pace", "Multiplier of λ at which a paced budget lasts its window, at least 1")
        self.outage_left = Gauge(
            "gearshift_outage_left_usd", "USD that may be spent while the store is down", ["tenant"],
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self._set_aside: set[str] = set()
        self._budgets: dict[tuple[Gauge, ...], set[tuple[str, str]]] = {
            (self.budget_spent, self.budget_reserved, self.budget_limit): set(),
            (self.budget_pace,): set(),
        }
        self.inflight = Gauge(
            "gearshift_inflight_requests", "Requests being answered", registry=registry, multiprocess_mode="livesum"
        )
        self.spool_rows = Gauge(
            "gearshift_log_spool_rows", "Rows waiting for the store", registry=registry, multiprocess_mode="livesum"
        )

    def decided(self, exchange: "Exchange") -> None:
        """Count a decision once its row is written."""
        ruling = exchange.ruling
        far, late = str(ruling.decision.scores.predictions.far).lower(), str(ruling.kind == "late").lower()
        self._child(self.decisions, exchange.setup.policy_series, ruling.kind, late, far).inc()
        self.overhead_seconds.observe(exchange.overhead_s)

    def budget_refused(self, tenant: str, outcome: str) -> None:
        """Count a refused reservation: ``redrawn``, ``overdrawn`` (as `when_spent` allows) or ``rejected``."""
        self._child(self.budget_refusals, tenant, outcome).inc()

    def limit_refused(self, tenant: str, limit: str) -> None:
        """Count a refusal by ``requests``, ``tokens``, ``concurrency`` or ``share``; ``share_redrawn``: another arm."""
        self._child(self.limit_refusals, tenant, limit).inc()

    def balanced(self, balance: "Balance") -> None:
        """Show a budget's window."""
        labels = balance.window.owner, balance.window.per
        amounts = balance.spent, balance.reserved, balance.window.limit
        for gauge, nano in zip((self.budget_spent, self.budget_reserved, self.budget_limit), amounts, strict=True):
            gauge.labels(*labels).set(nano / NANO)

    def paced(self, window: "Window", multiplier: float) -> None:
        """Show a budget's pace."""
        self.budget_pace.labels(window.owner, window.per).set(multiplier)

    def keep_budgets(self, windows: "Iterable[Window]", *, paced: "Iterable[Window]") -> None:
        """Take the series of budgets that are no more, or that are no longer paced, out of what `render` shows.

        Files that processes share forget no series, so NaN stands for one that is gone.
        """
        for gauges, standing in zip(self._budgets, (windows, paced), strict=True):
            labels: set[tuple[str, str]] = {(window.owner, window.per) for window in standing}
            for gone in self._budgets[gauges] - labels:
                for gauge in gauges:
                    gauge.labels(*gone).set(math.nan)
            self._budgets[gauges] = labels

    def set_aside(self, left: "Mapping[tuple[str, str], int]") -> None:
        """Show what is left, in nano-USD by organisation and tenant, of what this worker reserved for an outage."""
        by_tenant = {tenant: nano for (_, tenant), nano in left.items()}
        self._set_aside |= by_tenant.keys()
        for tenant in self._set_aside:
            self.outage_left.labels(tenant).set(by_tenant.get(tenant, 0) / NANO)

    def ended(self, exchange: "Exchange", status: str) -> None:
        """Count how a request ended, with its tokens and money."""
        tenant, model, usage = exchange.caller.tenant, exchange.served.arm.model, exchange.usage
        self._child(self.requests, tenant, exchange.served.name, status).inc()
        self.request_seconds.observe(perf_counter() - exchange.started)
        if exchange.usage_source != "none":
            self._child(self.tokens, model, "input").inc(usage.input)
            self._child(self.tokens, model, "output").inc(usage.output)
        for flag in exchange.usage_flags:
            self._child(self.usage_flags, model, flag).inc()
        if exchange.usage_source != "none" or lost_attempts(exchange):
            usd = exchange.usd
            if usd is None:
                self._child(self.unpriced, model).inc()
            else:
                self._child(self.cost_usd, tenant, model, exchange.served.mode).inc(usd)
                for by, baseline in baselines(exchange):
                    self._child(self.baseline_usd, tenant, by).inc(baseline)
                    self._child(self.baseline_paid_usd, tenant, by).inc(usd)
        if exchange.ttft_s is not None:
            self._child(self.ttft_seconds, model).observe(exchange.ttft_s)
        if exchange.fallback_reason is not None:
            self._child(self.fallbacks, exchange.fallback_reason).inc()
        for number, attempt in enumerate(exchange.attempts):
            if number:
                self._child(self.retries, exchange.attempts[number - 1].kind).inc()
            if attempt.kind == "ok":
                self._child(self.upstream_seconds, model).observe(attempt.seconds)

    def embedded(self, call: "EmbeddingCall", status: str) -> None:
        """Count how a request to an embedding model ended."""
        tenant, model = call.caller.tenant, call.asked.model
        self._child(self.requests, tenant, call.facts.name, status).inc()
        self._child(self.tokens, model, "input").inc(call.usage.input)
        for flag in call.usage_flags:
            self._child(self.usage_flags, model, flag).inc()
        if (nano := call.nano_usd) is not None:
            self._child(self.cost_usd, tenant, model, call.facts.mode).inc(nano / NANO)
        elif call.usage_source != "none":
            self._child(self.unpriced, model).inc()

    def _child(self, metric: "Counter | Histogram", *labels: str) -> Any:
        key = (metric._name, *labels)  # a dict of our own: `labels()` takes a lock and converts every value each time
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


def settle_process_id() -> None:
    """Tell prometheus_client once who this process is: by default it asks the kernel at every increment.

    A worker never forks. Call it before the first ``Metrics``.
    """
    pid = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]


def render(directory: Path) -> bytes:
    """The text exposition of all workers whose files are in ``directory``."""
    registry = CollectorRegistry()
    registry.register(_Standing(directory))
    return generate_latest(registry)


class _Standing(Collector):
    """All series of all workers but those that are gone: `Metrics.keep_budgets`."""

    def __init__(self, directory: Path) -> None:
        self._all = multiprocess.MultiProcessCollector(None, path=str(directory))  # type: ignore[no-untyped-call]

    def collect(self) -> "Iterator[Metric]":
        for metric in self._all.collect():  # type: ignore[no-untyped-call]
            metric.samples = [sample for sample in metric.samples if not math.isnan(sample.value)]
            yield metric
