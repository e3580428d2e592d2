"""Tools of MCP servers, without the package that connects to them; with it: `tests/clients/test_mcp.py`."""

from __future__ import annotations

import sys

import pytest

from espalier.gateway.sdk import DefinitionError
from espalier.gateway.sdk.mcp import mcp_tools


@pytest.mark.anyio
async def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(DefinitionError, match=r"pip install 'espalier\[mcp\]'"):
        async with mcp_tools("http://127.0.0.1:1/mcp"):
            pass
