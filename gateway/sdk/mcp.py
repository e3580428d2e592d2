"""Tools of an MCP server as an agent's tools; needs the package `mcp`, which the extra `espalier[mcp]` brings.

async with mcp_tools("http://127.0.0.1:9000/mcp") as tools:
    run = await Agent(tools=[*tools, my_own_tool]).run("...")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, cast

import msgspec

from espalier.gateway.sdk.call import Call
from espalier.gateway.sdk.errors import DefinitionError, ShapeError, ToolError
from espalier.gateway.sdk.schema import JsonObject
from espalier.gateway.sdk.shape import encode_json
from espalier.gateway.sdk.tool import Effect, ToolSpec

# Where a server that knows of it finds the idempotency key, among what a request says of itself.
KEY_META = "espalier/idempotency-key"


class _Hints(Protocol):
    read_only_hint: bool | None
    idempotent_hint: bool | None


class _Listed(Protocol):
    name: str
    description: str | None
    input_schema: JsonObject
    annotations: _Hints | None


class _Page(Protocol):
    tools: Sequence[_Listed]
    next_cursor: str | None


class _Result(Protocol):
    content: Sequence[object]
    structured_content: object
    is_error: bool


class _Client(Protocol):
    """`mcp.Client`, as far as it is needed."""

    async def list_tools(self, *, cursor: str | None = None) -> _Page: ...

    async def call_tool(
        self, name: str, arguments: JsonObject | None = None, *, meta: Mapping[str, object] | None = None
    ) -> _Result: ...


class McpTool:
    """One tool of a server."""

    def __init__(self, client: _Client, listed: _Listed, spec: ToolSpec) -> None:
        self._client, self._name = client, listed.name
        self.spec = spec

    async def execute(self, call: Call) -> str:
        """See `Tool.execute`; an error that the server tells is one that the model reads."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, object])
        except msgspec.DecodeError as error:
            raise ShapeError(f"this is not a JSON object: {error}") from None
        result = await self._client.call_tool(self._name, arguments, meta={KEY_META: call.key})
        text = _text(result)
        if result.is_error:
            raise ToolError(text)
        return text


@asynccontextmanager
async def mcp_tools(
    server: object, *, prefix: str = "", timeout_s: float | None = None, trusted: bool = False
) -> AsyncIterator[tuple[McpTool, ...]]:
    """The tools of a server, for as long as a block runs.

    `server` is whatever `mcp.Client` connects to: a URL, `mcp.StdioServerParameters`, or a server in this process.
    `prefix` goes before the names of its tools, so that those of two servers differ. Only what a `trusted` server says
    of the effects of its tools is believed (read-only ones start early, idempotent ones are repeated after a crash).
    Raises DefinitionError without the package.
    """
    async with _connected(server) as client:
        listed: list[_Listed] = []
        cursor: str | None = None
        while True:
            page = await client.list_tools(cursor=cursor)
            listed += page.tools
            if (cursor := page.next_cursor) is None:
                break
        yield tuple(McpTool(client, one, _spec(one, prefix, timeout_s, trusted)) for one in listed)


def _connected(server: object) -> AbstractAsyncContextManager[_Client]:
    try:
        from mcp import Client
    except ImportError:
        raise DefinitionError("tools of an MCP server need the package mcp: pip install 'espalier[mcp]'") from None
    return cast(AbstractAsyncContextManager[_Client], Client(server))


def _spec(listed: _Listed, prefix: str, timeout_s: float | None, trusted: bool) -> ToolSpec:
    effect: Effect = "once"
    if trusted and (hints := listed.annotations) is not None:
        effect = "none" if hints.read_only_hint else "keyed" if hints.idempotent_hint else "once"
    return ToolSpec(f"{prefix}{listed.name}", listed.description or "", listed.input_schema, timeout_s, effect)


def _text(result: _Result) -> str:
    """What the model reads: the texts of the result, its structure where it has no text."""
    texts = [text for part in result.content if isinstance(text := getattr(part, "text", None), str)]
    others = [str(getattr(part, "type", "content")) for part in result.content if not hasattr(part, "text")]
    if not texts and result.structured_content is not None:
        return encode_json(result.structured_content)
    return "\n".join([*texts, *(f"[{kind} left out: only texts are read]" for kind in others)])
