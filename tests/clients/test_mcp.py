"""Tools of an MCP server, against the package `mcp` itself, where it is installed."""

from __future__ import annotations

import pytest

from espalier.gateway.sdk import Agent, ScriptedModel, call
from espalier.gateway.sdk.mcp import KEY_META, mcp_tools
from espalier.gateway.sdk.scripted_model import Line

pytest.importorskip("mcp")

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations


@pytest.mark.anyio
async def test_a_server_in_this_process_lends_its_tools() -> None:
    server = MCPServer("shop")
    keys: list[object] = []

    def price(item: str) -> float:
        """The price of an item."""
        return {"bread": 2.5}[item]

    def buy(item: str, context: Context) -> str:
        """Buy an item."""
        keys.append(dict(context.request_context.meta or {}).get(KEY_META))
        return f"{item} is bought"

    def refund(item: str) -> str:
        """Give it back."""
        raise ToolError("it was eaten")

    server.tool(annotations=ToolAnnotations(read_only_hint=True))(price)
    server.tool(annotations=ToolAnnotations(idempotent_hint=True))(buy)
    server.tool()(refund)
    lines: list[Line] = [
        [call("shop_price", item="bread"), call("shop_buy", item="bread"), call("shop_refund", item="bread")],
        call("shop_price", what="bread"),
        "Done.",
    ]
    async with mcp_tools(server, prefix="shop_", trusted=True, timeout_s=10) as tools:
        assert [(tool.spec.name, tool.spec.effect) for tool in tools] == [
            ("shop_price", "none"),
            ("shop_buy", "keyed"),
            ("shop_refund", "once"),
        ]
        assert tools[0].spec.description == "The price of an item."
        run = await Agent(ScriptedModel(lines), tools=tools).run("Go.")
    told = [message.content or "" for message in run.messages if message.role == "tool"]
    assert told[:2] == ["2.5", "bread is bought"]
    assert "it was eaten" in told[2]
    assert told[3].startswith("error: ")
    assert len(keys) == 1
    assert isinstance(keys[0], str)
    assert len(keys[0]) == 32
    async with mcp_tools(server) as tools:
        assert {tool.spec.effect for tool in tools} == {"once"}
