"""Whole answers as JSON."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from espalier.gateway.prompter import Prompt


class JsonResponse(Response):
    """A struct, or anything that msgspec writes, as JSON."""

    media_type = "application/json"

    def __init__(self, value: Any, headers: list[tuple[bytes, bytes]] | None = None, status: int = 200) -> None:
        super().__init__(msgspec.json.encode(value), status)
        self.raw_headers += headers or []


def truncation_headers(prompts: list[Prompt]) -> list[tuple[bytes, bytes]]:
    """Says in a header, too, that something was left out."""
    cuts = [prompt.truncation for prompt in prompts if prompt.truncation is not None]
    if not cuts:
        return []
    messages, tokens = sum(cut.dropped_messages for cut in cuts), sum(cut.dropped_tokens for cut in cuts)
    return [(b"x-espalier-truncated", f"messages={messages}, tokens={tokens}".encode())]
