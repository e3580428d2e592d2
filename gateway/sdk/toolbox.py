"""Runs the tools of an agent. Whatever goes wrong with a call becomes a result that the model can use: what was
expected, what came, and what there is instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from espalier.gateway.sdk.call import Call, Outcome, ToolResult
from espalier.gateway.sdk.errors import DefinitionError, ShapeError, ToolError
from espalier.gateway.sdk.tool import Tool, ToolSpec, as_tool

_LOG = logging.getLogger("espalier.sdk")

UNKNOWN = (
    "error: the process ended while this ran, so nobody knows whether it was done. It was not repeated. "
    "Find out, before you call it again."
)


class Toolbox:
    """The tools of one agent by name. Raises DefinitionError for two of one name."""

    def __init__(self, tools: Sequence[Tool | Callable[..., object]]) -> None:
        found = [as_tool(tool) for tool in tools]
        self._tools = {tool.spec.name: tool for tool in found}
        if len(self._tools) < len(found):
            names = [tool.spec.name for tool in found]
            raise DefinitionError(f"two tools are named {next(name for name in names if names.count(name) > 1)!r}")

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        return tuple(tool.spec for tool in self._tools.values())

    def spec(self, name: str) -> ToolSpec | None:
        """What is known of a tool; None for one that is not here."""
        tool = self._tools.get(name)
        return tool.spec if tool else None

    async def execute(self, call: Call) -> ToolResult:
        """Do a call; never raises but for a cancellation."""
        tool = self._tools.get(call.name)
        if tool is None:
            there = ", ".join(self._tools) or "none"
            return ToolResult(call, f"error: there is no tool {call.name!r}; there are: {there}", "failed")
        try:
            async with asyncio.timeout(tool.spec.timeout_s) as timeout:
                return ToolResult(call, await tool.execute(call))
        except ToolError as error:
            return _failure(call, str(error))
        except ShapeError as error:
            return _failure(call, f"the arguments of {call.name} don't fit: {error}")
        except TimeoutError as error:
            if timeout.expired():
                return _failure(call, f"{call.name} did not end within {tool.spec.timeout_s:g} s", "timed_out")
            return _raised(call, error)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            return _raised(call, error)  # it came from within the tool: what the tool waited for was cancelled
        except Exception as error:  # the edge: a tool's failure is the model's to deal with, and ends no run
            return _raised(call, error)


def unknown(call: Call) -> ToolResult:
    """The result of a call that a crash interrupted."""
    return ToolResult(call, UNKNOWN, "unknown")


def _raised(call: Call, error: BaseException) -> ToolResult:
    _LOG.warning("the tool %s failed", call.name, exc_info=error)
    text = str(error)
    return _failure(call, f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _failure(call: Call, text: str, outcome: Outcome = "failed") -> ToolResult:
    return ToolResult(call, f"error: {text}", outcome)
