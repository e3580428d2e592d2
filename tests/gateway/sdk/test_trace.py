"""Spans by OpenTelemetry's names; the tracer here is a double of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from espalier.gateway.sdk import Agent, Reply, ScriptedModel, Session, Settings, Turns, TurnsReached, Usage, call
from espalier.gateway.sdk.trace import Value

pytestmark = pytest.mark.anyio


@dataclass
class Recorded:
    """A span, and the span that was current when it began."""

    name: str
    attributes: dict[str, Value]
    parent: str | None
    error: str | None = None

    def set_attribute(self, key: str, value: Value) -> None:
        self.attributes[key] = value


@dataclass
class Recorder:
    """Keeps spans; what is current is a stack, since the tools here run one at a time."""

    spans: list[Recorded] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    @contextmanager
    def start_as_current_span(self, name: str, *, attributes: Mapping[str, Value] | None = None) -> Iterator[Recorded]:
        span = Recorded(name, dict(attributes or {}), self.open[-1] if self.open else None)
        self.spans.append(span)
        self.open.append(name)
        try:
            yield span
        except Exception as error:
            span.error = type(error).__name__
            raise
        finally:
            self.open.pop()


def weather(city: str) -> str:
    raise LookupError(city)


async def test_a_run_its_turns_and_its_calls_are_spans() -> None:
    recorder = Recorder()
    model = ScriptedModel([call("weather", city="Oslo"), Reply("Rain.", usage=Usage(9, 4, 2), id="c1", model="m1")])
    agent = Agent(model, tools=[weather], name="guide", tracer=recorder, settings=Settings(model="m"))
    await agent.run("Oslo?", session=Session("trip-42"))
    run, first, tool, second = recorder.spans
    assert [(span.name, span.parent) for span in recorder.spans] == [
        ("invoke_agent guide", None),
        ("chat m", "invoke_agent guide"),
        ("execute_tool weather", "invoke_agent guide"),
        ("chat m", "invoke_agent guide"),
    ]
    common = {
        "gen_ai.provider.name": "espalier",
        "gen_ai.agent.name": "guide",
        "gen_ai.conversation.id": "trip-42",
    }
    assert all(common.items() <= span.attributes.items() for span in recorder.spans)
    assert second.attributes == {
        **common,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.id": "c1",
        "gen_ai.response.model": "m1",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": 2,
    }
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert (tool.attributes["gen_ai.tool.name"], tool.attributes["gen_ai.tool.call.id"]) == ("weather", "call_1")
    assert tool.attributes["error.type"] == "failed"
    assert run.attributes["gen_ai.usage.input_tokens"] == 9
    assert "Oslo" not in str(recorder.spans)


async def test_how_a_run_stopped_is_the_error_of_its_span() -> None:
    recorder = Recorder()
    agent = Agent(ScriptedModel([call("weather", city="a")]), tools=[weather], tracer=recorder, limits=[Turns(1)])
    with pytest.raises(TurnsReached):
        await agent.run("Go.")
    assert recorder.spans[0].error == "TurnsReached"
