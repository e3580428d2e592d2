"""Whatever goes wrong with a call is a result that the model can use."""

from __future__ import annotations

import asyncio
import threading

import pytest

from espalier.gateway.sdk import Call, DefinitionError, ToolError, ToolResult, tool
from espalier.gateway.sdk.thread import in_thread
from espalier.gateway.sdk.toolbox import Toolbox

pytestmark = pytest.mark.anyio


def boom(kind: str) -> str:
    match kind:
        case "told":
            raise ToolError("the shop is closed until nine")
        case "bare":
            raise KeyError
        case "timeout":
            raise TimeoutError("the other side")
        case "stop":
            raise StopIteration("end")
        case _:
            raise ValueError("no such city")


@tool(timeout_s=0.01)
async def slow() -> str:
    await asyncio.Event().wait()
    return "never"


@tool(timeout_s=0.01)
def stuck() -> str:
    threading.Event().wait()
    return "never"


def opaque() -> object:
    return object()


async def gone() -> None:
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waited.cancel()
    await waited


BOX = Toolbox([boom, slow, stuck, opaque, gone])


def asked(name: str, arguments: str = "{}") -> Call:
    return Call("call_1", name, arguments, "key")


@pytest.mark.parametrize(
    ("call", "content", "outcome"),
    [
        (asked("boom", '{"kind":"x"}'), "error: ValueError: no such city", "failed"),
        (asked("boom", '{"kind":"told"}'), "error: the shop is closed until nine", "failed"),
        (asked("boom", '{"kind":"bare"}'), "error: KeyError", "failed"),
        (asked("boom", '{"kind":"timeout"}'), "error: TimeoutError: the other side", "failed"),
        (asked("boom", '{"kind":"stop"}'), "error: RuntimeError: the function raised StopIteration: end", "failed"),
        (
            asked("boom", '{"kind":3}'),
            "error: the arguments of boom don't fit: kind: Expected `str`, got `int`",
            "failed",
        ),
        (asked("bom"), "error: there is no tool 'bom'; there are: boom, slow, stuck, opaque, gone", "failed"),
        (asked("slow"), "error: slow did not end within 0.01 s", "timed_out"),
        (asked("stuck"), "error: stuck did not end within 0.01 s", "timed_out"),
        (asked("gone"), "error: CancelledError", "failed"),
        (asked("opaque"), "error: what opaque returned can't be told: the object can't be told as JSON", "failed"),
    ],
)
async def test_a_failure_says_what_was_expected_and_what_came(call: Call, content: str, outcome: str) -> None:
    result = await BOX.execute(call)
    assert (result.content.split(": no JSON")[0], result.outcome) == (content, outcome)


async def test_a_cancellation_is_no_failure() -> None:
    started = asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(Toolbox([wait]).execute(asked("wait")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two tools are named 'boom'"):
        Toolbox([boom, tool(name="boom")(opaque)])


def test_a_toolbox_knows_its_tools() -> None:
    assert [spec.name for spec in BOX.specs] == ["boom", "slow", "stuck", "opaque", "gone"]
    assert BOX.spec("slow") == slow.spec
    assert BOX.spec("no") is None


async def test_a_thread_that_never_returns_holds_up_nothing() -> None:
    entered, forever = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        forever.wait()

    task = asyncio.ensure_future(in_thread(wait))
    await in_thread(entered.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "espalier tool"]
    forever.set()


def test_results_compare_by_value() -> None:
    assert ToolResult(asked("a"), "x") == ToolResult(asked("a"), "x", "done")
