"""Metrics in Prometheus's format; names follow OpenTelemetry's GenAI conventions where they exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from espalier.engine.messages import Output, Stats
from espalier.gateway.engine_client import EngineClient

# Boundaries of the conventions, in seconds.
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
EACH_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(float(4**power) for power in range(14))

GAUGES: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("espalier_requests_running", "Requests in the batch", lambda s: s.running),
    ("espalier_requests_waiting", "Requests that wait for admission", lambda s: s.waiting),
    ("espalier_kv_slots_total", "KV slots of the pool, in tokens", lambda s: s.slots_total),
    ("espalier_kv_slots_used", "KV slots that hold something", lambda s: s.slots_used),
    (
        "espalier_kv_slots_cached",
        "Used KV slots that no request holds: they go when room is needed",
        lambda s: s.slots_cached,
    ),
    ("espalier_kv_slots_leased", "Used KV slots that sessions hold while their tools run", lambda s: s.slots_leased),
    ("espalier_leases", "Sessions that hold their state while their tools run", lambda s: s.leases),
    ("espalier_kv_host_tokens", "Tokens whose state lies in host memory", lambda s: s.host_tokens),
    ("espalier_kv_disk_tokens", "Tokens whose state lies on disk", lambda s: s.disk_tokens),
    ("espalier_prefill_tokens_per_second", "Prompt tokens computed in a second", lambda s: s.prefill_tokens_per_s),
)
TOTALS: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("espalier_prompt_tokens", "Prompt tokens of admitted requests", lambda s: s.prompt_tokens),
    ("espalier_prefix_hit_tokens", "Prompt tokens found in the prefix tree", lambda s: s.cached_tokens),
    ("espalier_computed_tokens", "Tokens computed, recomputed ones included", lambda s: s.computed_tokens),
    ("espalier_generated_tokens", "Tokens generated", lambda s: s.generated_tokens),
    ("espalier_forced_tokens", "Generated tokens that a grammar forced", lambda s: s.forced_tokens),
    ("espalier_drafted_tokens", "Tokens computed before it was certain that they come", lambda s: s.drafted_tokens),
    (
        "espalier_confirmed_tokens",
        "Drafted tokens that came, and behind which the answer went on",
        lambda s: s.confirmed_tokens,
    ),
    ("espalier_redrawn_tokens", "Tokens drawn again because no budget was left for them", lambda s: s.redrawn_tokens),
    ("espalier_preemptions", "Requests set back to make room", lambda s: s.preemptions),
    ("espalier_requests_failed", "Requests that the engine failed on", lambda s: s.failed),
    ("espalier_kv_evicted_tokens", "Tokens whose state was given up for others", lambda s: s.evicted_tokens),
    ("espalier_kv_loaded_tokens", "Prompt tokens whose state came up from host or disk", lambda s: s.loaded_tokens),
    ("espalier_leases_demoted", "Leases given up for the budget or a request", lambda s: s.leases_demoted),
    ("espalier_engine_steps", "Steps of the engine", lambda s: s.step),
)


class EngineCollector(Collector):
    """Reads the engine's gauges and totals when somebody asks; totals restart with the engine."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    def collect(self) -> Iterator[Metric]:
        """All of them, as of now."""
        stats = self._client.stats
        for name, text, read in GAUGES:
            yield GaugeMetricFamily(name, text, read(stats))
        for name, text, read in TOTALS:
            yield CounterMetricFamily(name, text, read(stats))
        # Only an engine that is a process of its own restarts.
        restarts = getattr(self._client, "restarts", 0)
        yield CounterMetricFamily("espalier_engine_restarts", "Restarts of the engine's process", restarts)
        yield GaugeMetricFamily(
            "espalier_engine_ready", "1 while the engine takes requests", self._client.ready is not None
        )


class Metrics:
    """The registry of one application and what requests record in it."""

    def __init__(self, client: EngineClient, model: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(client))
        ProcessCollector(registry=self._registry)
        names = ["gen_ai_request_model"]
        self._first = self._histogram(
            "gen_ai_server_time_to_first_token_seconds", "Time to first token", names, FIRST_TOKEN, model
        )
        self._each = self._histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per output token after the first",
            names,
            EACH_TOKEN,
            model,
        )
        self._whole = self._histogram(
            "gen_ai_server_request_duration_seconds", "Time of a request in the engine", names, DURATION, model
        )
        self._queue = self._histogram(
            "espalier_queue_time_seconds", "Time from arrival to admission", names, FIRST_TOKEN, model
        )
        tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request",
            [*names, "gen_ai_token_type"],
            buckets=TOKENS,
            registry=self._registry,
        )
        self._input, self._output = tokens.labels(model, "input"), tokens.labels(model, "output")
        self._ended = Counter(
            "espalier_requests", "Requests by how they ended", ["finish_reason"], registry=self._registry
        )

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...], model: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry).labels(model)

    def record(self, last: Output) -> None:
        """A request ended with this output."""
        self._ended.labels(last.finish_reason).inc()
        self._input.observe(last.usage.prompt_tokens)
        self._output.observe(last.usage.completion_tokens)
        if last.timings is None or not last.usage.completion_tokens:
            return
        times = last.timings
        self._queue.observe(times.queue_s)
        self._first.observe(times.first_token_s)
        self._whole.observe(times.total_s)
        if last.usage.completion_tokens > 1:
            self._each.observe((times.total_s - times.first_token_s) / (last.usage.completion_tokens - 1))

    def failed(self, code: str) -> None:
        """A request ended with an error."""
        self._ended.labels(f"error:{code}").inc()

    def render(self) -> bytes:
        """The page of GET /metrics."""
        return generate_latest(self._registry)
