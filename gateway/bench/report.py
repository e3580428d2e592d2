"""What a run is told as: a table for people, one line of JSON for programs, panels for a plot."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from rich.table import Table

from espalier.gateway.bench.plot import Panel, Series
from espalier.gateway.bench.quantile import Spread
from espalier.gateway.bench.sample import Level


def table(levels: Sequence[Level], title: str) -> Table:
    """One row for each load. Times are p50 / p95 / p99 in milliseconds."""
    has_cost = any(level.cost_per_million is not None for level in levels)
    report = Table(title=title, title_justify="left")
    report.add_column("load")
    for name in (
        "requests",
        "errors",
        "tokens/s",
        "cached",
        "TTFT ms",
        "ITL ms",
        "latency ms",
        "tokens/s each",
        "good/s",
    ):
        report.add_column(name, justify="right")
    if has_cost:
        report.add_column("$/M tokens", justify="right")
    for level in levels:
        report.add_row(*_row(level), *([_dollars(level.cost_per_million)] if has_cost else []))
    return report


def _row(level: Level) -> list[str]:
    share = level.cached_tokens / level.prompt_tokens if level.prompt_tokens else 0.0
    return [
        level.load,
        f"{level.requests:,}",
        " ".join(f"{kind} {count}" for kind, count in sorted(level.errors.items())) or "0",
        f"{level.tokens_per_s:,.1f}" + ("" if level.tokens_are_counted else " (events)"),
        f"{share:.0%}",
        _milliseconds(level.first_token_s),
        _milliseconds(level.token_s),
        _milliseconds(level.latency_s),
        f"{level.speed.p50:,.1f}" if level.speed else "-",
        f"{level.goodput_per_s:,.2f} ({level.good_share:.0%})",
    ]


def _milliseconds(times: Spread | None) -> str:
    if times is None:
        return "-"
    return " / ".join(f"{value * 1000:,.0f}" if value >= 0.1 else f"{value * 1000:.3g}" for value in _quantiles(times))


def _quantiles(times: Spread) -> tuple[float, float, float]:
    return times.p50, times.p95, times.p99


def _dollars(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:,.2f}"


def line(levels: Sequence[Level], about: dict[str, object]) -> str:
    """Everything, as one line of JSON."""
    return json.dumps({**about, "levels": [dataclasses.asdict(level) for level in levels]})


def panels(levels: Sequence[Level]) -> list[Panel]:
    """Throughput, time to first token and time per token against the load."""
    closed = [level for level in levels if level.users is not None]
    shown = closed or list(levels)
    across = [float(level.users if level.users is not None else level.rate or 0) for level in shown]
    label = "users" if closed else "conversations a second"
    panels = [Panel("tokens per second", label, across, [Series("all users", [level.tokens_per_s for level in shown])])]
    for title, times in (
        ("time to first token, ms", [level.first_token_s for level in shown]),
        ("time per token, ms", [level.token_s for level in shown]),
    ):
        if all(some is not None for some in times):
            known = [some for some in times if some is not None]
            lines = [Series(name, [getattr(some, name) * 1000 for some in known]) for name in ("p50", "p95", "p99")]
            panels.append(Panel(title, label, across, lines))
    return panels
