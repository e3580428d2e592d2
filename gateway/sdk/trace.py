"""Spans of a run, named by OpenTelemetry's semantic conventions for generative AI.

A `Tracer` is what `opentelemetry.trace.get_tracer(...)` returns; nothing of OpenTelemetry is imported, so it need not
be installed. Contents (prompts, arguments, answers) are not put into spans.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeAlias

from espalier.gateway.sdk.call import Call, ToolResult
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.run import Run

Value: TypeAlias = str | int | float | bool | list[str]

PROVIDER = "espalier"


class Span(Protocol):
    """OpenTelemetry's span, as far as it is needed."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Say something of the span."""
        ...


class Tracer(Protocol):
    """OpenTelemetry's tracer, as far as it is needed."""

    def start_as_current_span(
        self, name: str, *, attributes: Mapping[str, Value] | None = None
    ) -> AbstractContextManager[Span]:
        """A span for as long as a block runs; an exception that leaves the block is recorded in it."""
        ...


class _NoSpan:
    def set_attribute(self, key: str, value: Value) -> None:
        return


class Trace:
    """The spans of one run: invoke_agent around all, chat for each turn, execute_tool for each call."""

    def __init__(self, tracer: Tracer | None, *, agent: str, session_id: str | None, model: str | None) -> None:
        self._tracer, self._agent, self._model = tracer, agent, model
        self._common: dict[str, Value] = {"gen_ai.provider.name": PROVIDER, "gen_ai.agent.name": agent}
        if session_id is not None:
            self._common["gen_ai.conversation.id"] = session_id

    def run(self) -> AbstractContextManager[Span]:
        """Around a whole run."""
        return self._span("invoke_agent", self._agent)

    def turn(self) -> AbstractContextManager[Span]:
        """Around one turn."""
        more: dict[str, Value] = {"gen_ai.request.model": self._model} if self._model else {}
        return self._span("chat", self._model or "", more)

    @contextmanager
    def call(self, call: Call) -> Iterator[Span]:
        """Around one call of a tool."""
        more: dict[str, Value] = {
            "gen_ai.tool.name": call.name,
            "gen_ai.tool.call.id": call.id,
            "gen_ai.tool.type": "function",
        }
        with self._span("execute_tool", call.name, more) as span:
            yield span

    def _span(self, operation: str, of: str, more: Mapping[str, Value] | None = None) -> AbstractContextManager[Span]:
        if self._tracer is None:
            return nullcontext(_NoSpan())
        attributes = {"gen_ai.operation.name": operation, **self._common, **(more or {})}
        return self._tracer.start_as_current_span(f"{operation} {of}".strip(), attributes=attributes)


def tell_reply(span: Span, reply: Reply) -> None:
    """Say of a turn's span what the model answered with."""
    span.set_attribute("gen_ai.response.finish_reasons", [reply.finish_reason])
    for name, value in (("gen_ai.response.id", reply.id), ("gen_ai.response.model", reply.model)):
        if value:
            span.set_attribute(name, value)
    span.set_attribute("gen_ai.usage.input_tokens", reply.usage.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", reply.usage.completion_tokens)
    span.set_attribute("gen_ai.usage.cache_read.input_tokens", reply.usage.cached_tokens)


def tell_result(span: Span, result: ToolResult) -> None:
    """Say of a call's span why it came to nothing."""
    if result.outcome != "done":
        span.set_attribute("error.type", result.outcome)


def tell_run(span: Span, run: Run[object]) -> None:
    """Say of a run's span what it used."""
    span.set_attribute("gen_ai.usage.input_tokens", run.usage.prompt_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", run.usage.completion_tokens)
