"""What a type checker knows of an agent: `assert_type` does nothing when it runs, mypy reads it."""

from __future__ import annotations

from typing import TypedDict, assert_type

import msgspec
import pytest

from espalier.gateway.sdk import Agent, Limit, RunEnded, ScriptedModel, Seconds, ToolSpec, Turns, tool

pytestmark = pytest.mark.anyio


class Trip(msgspec.Struct):
    city: str


class Place(TypedDict):
    city: str


@tool
def double(number: int, times: int = 1) -> float:
    """Double a number."""
    return number * 2.0**times


@tool(timeout_s=3)
async def shout(word: str) -> str:
    """Say it loudly."""
    return word.upper()


async def test_the_answer_has_the_type_that_was_asked_for() -> None:
    agent = Agent(ScriptedModel(["words", '{"city":"Oslo"}', '{"city":"Oslo"}', "[1]", "{}"]))
    assert_type((await agent.run("a")).answer, str)
    assert_type((await agent.run("b", answer=Trip)).answer, Trip)
    assert_type((await agent.run("c", answer=Place)).answer, Place)
    assert_type((await agent.run("d", answer=list[int])).answer, list[int])
    assert_type((await agent.run("e", answer={"type": "object"})).answer, object)


async def test_limits_and_schemas_may_stand_in_variables() -> None:
    limits = [Turns(3), Seconds(60)]
    assert_type(limits, list[Limit])
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    agent = Agent(ScriptedModel(['{"city":"Oslo"}']), limits=limits)
    assert_type((await agent.run("a", answer=schema)).answer, object)
    assert ToolSpec("find", "Find a city.", schema).parameters == schema


async def test_the_last_event_of_a_stream_knows_the_answers_type() -> None:
    agent = Agent(ScriptedModel(['{"city":"Oslo"}']))
    async for event in agent.stream("a", answer=Trip):
        if isinstance(event, RunEnded):
            assert_type(event.run.answer, Trip)


async def test_a_tool_is_still_the_function_that_it_was() -> None:
    assert_type(double(3), float)
    assert_type(await shout("hey"), str)
