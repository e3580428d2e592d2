"""GET /metrics: names, and that they count what happened."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from espalier.engine.errors import EngineDiedError
from espalier.engine.messages import Output, Stats, Timings, Usage

pytestmark = pytest.mark.anyio


async def read(api: Any) -> dict[str, float]:
    """Samples by name and the labels other than the model's."""
    page = (await api.http.get("/metrics")).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = [value for name, value in sample.labels.items() if name not in ("gen_ai_request_model", "le")]
            found[" ".join([sample.name, *labels])] = sample.value
    return found


async def test_a_request_is_counted_with_its_times(make_api: Any) -> None:
    def script(request: Any) -> Any:
        yield Output(request.request_id, "ab", [1, 2], usage=Usage(8, 4, 2))
        yield Output(
            request.request_id, "c", [3], finish_reason="stop", usage=Usage(8, 4, 3), timings=Timings(0.5, 1, 5)
        )

    api = make_api(script)
    await api.chat()
    found = await read(api)
    assert found["gen_ai_server_time_to_first_token_seconds_sum"] == 1
    assert found["gen_ai_server_time_per_output_token_seconds_sum"] == 2
    assert found["gen_ai_server_request_duration_seconds_sum"] == 5
    assert found["espalier_queue_time_seconds_sum"] == 0.5
    assert found["gen_ai_client_token_usage_sum input"] == 8
    assert found["gen_ai_client_token_usage_sum output"] == 3
    assert found["espalier_requests_total stop"] == 1


async def test_gauges_and_totals_are_the_engine_s_own(api: Any) -> None:
    api.engine.stats = Stats(
        step=9, running=1, waiting=2, slots_total=100, slots_used=60, slots_cached=40, prompt_tokens=50,
        cached_tokens=30, computed_tokens=25, generated_tokens=7, preemptions=3, failed=1,
    )  # fmt: skip
    found = await read(api)
    assert found["espalier_requests_running"] == 1 and found["espalier_requests_waiting"] == 2
    assert [found[f"espalier_kv_slots_{name}"] for name in ("total", "used", "cached")] == [100, 60, 40]
    assert found["espalier_prompt_tokens_total"] == 50 and found["espalier_prefix_hit_tokens_total"] == 30
    assert found["espalier_preemptions_total"] == 3 and found["espalier_engine_steps_total"] == 9


async def test_failures_are_counted_by_their_code(make_api: Any) -> None:
    api = make_api(lambda request: [EngineDiedError("it ended")])
    await api.chat()
    assert (await read(api))["espalier_requests_total error:engine_died"] == 1
