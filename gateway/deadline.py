"""An end in time for a request: the engine is told to abort it, so its generator ends in order, wherever it waits."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from espalier.gateway.engine_client import EngineClient


class Deadline:
    """Aborts a request after `seconds`, unless the context is left before. Costs nothing while tokens come."""

    def __init__(self, client: EngineClient, request_id: str, seconds: float) -> None:
        self._client, self._request_id, self._seconds = client, request_id, seconds
        self._timer: asyncio.TimerHandle | None = None
        self._abort: asyncio.Task[None] | None = None

    @property
    def has_passed(self) -> bool:
        """Whether the request was told to end."""
        return self._abort is not None

    async def __aenter__(self) -> Self:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._abort is not None:
            await self._abort

    def _expire(self) -> None:
        self._abort = asyncio.create_task(self._client.abort(self._request_id), name="deadline")
