from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from espalier.engine.errors import EngineDiedError, RequestError
from espalier.engine.messages import Generate, Output, SamplingParams, Usage
from espalier.gateway.engine_client import DrainingError, EngineClient, UnavailableError
from espalier.gateway.scripted_client import ScriptedClient, answer

pytestmark = pytest.mark.anyio


async def read(client: EngineClient, request: Generate) -> list[Output]:
    return [output async for output in client.generate(request)]


async def test_it_echoes_by_default() -> None:
    client = ScriptedClient()
    outputs = await read(client, Generate("r", [4, 5]))
    assert [output.text for output in outputs] == ["4 ", "5 "]
    assert outputs[-1].finish_reason == "stop"
    assert outputs[-1].usage == Usage(2, 0, 2)
    assert [request.request_id for request in client.requests] == ["r"]
    assert client.aborted == []


async def test_it_says_what_its_script_says_up_to_max_tokens() -> None:
    client = ScriptedClient(answer(["a", "b", "c"], cached_tokens=1))
    outputs = await read(client, Generate("r", [4, 5], SamplingParams(max_tokens=2)))
    assert "".join(output.text for output in outputs) == "ab"
    assert outputs[-1].finish_reason == "length"
    assert outputs[-1].usage == Usage(2, 1, 2)


async def test_an_exception_in_the_script_is_raised_where_it_stands() -> None:
    client = ScriptedClient(lambda request: [Output(request.request_id, "a"), EngineDiedError("killed")])
    outputs = client.generate(Generate("r", [1]))
    assert (await anext(outputs)).text == "a"
    with pytest.raises(EngineDiedError):
        await anext(outputs)


async def test_closing_and_aborting_are_remembered() -> None:
    client = ScriptedClient()
    async with aclosing(client.generate(Generate("closed", [1, 2]))) as outputs:
        await anext(outputs)
    running = client.generate(Generate("aborted", [1, 2, 3]))
    await anext(running)
    aborting = asyncio.create_task(client.abort("aborted"))
    await asyncio.sleep(0)
    assert [output.finish_reason async for output in running] == ["abort"]
    await aborting
    assert client.aborted == ["closed", "aborted"]


async def test_a_gate_holds_each_output_back() -> None:
    gate = asyncio.Semaphore(0)
    reading = asyncio.create_task(read(ScriptedClient(gate=gate), Generate("r", [1, 2])))
    gate.release()
    await asyncio.sleep(0)
    assert not reading.done()
    gate.release()
    assert len(await reading) == 2


async def test_it_refuses_as_a_replica_does() -> None:
    client = ScriptedClient()
    running = client.generate(Generate("r", [1, 2]))
    await anext(running)
    with pytest.raises(RequestError):
        await read(client, Generate("r", [1]))
    client.ready = None
    with pytest.raises(UnavailableError):
        await read(client, Generate("s", [1]))
    draining = asyncio.create_task(client.drain(0))
    for _ in range(10):
        await asyncio.sleep(0)
    with pytest.raises(DrainingError):
        await read(client, Generate("s", [1]))
    assert [output.finish_reason async for output in running] == ["abort"]
    await draining
