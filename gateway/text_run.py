"""A text completion that has a key: made as a live turn, so that it outlives its connection and the key replays it."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from espalier.engine.errors import EngineError
from espalier.gateway.errors import ApiError, from_engine
from espalier.gateway.event_log import EventLog
from espalier.gateway.sse import UNNAMED, event
from espalier.gateway.text_answer import TextAnswer


class TextRun:
    """Makes one answer; `whole` is the answer, where it is not streamed."""

    def __init__(self, answer: TextAnswer, *, is_streamed: bool) -> None:
        self._answer, self._is_streamed = answer, is_streamed
        self.whole = b""

    async def produce(self, log: EventLog) -> None:
        """Make it. Raises ApiError for what failed, told in the log or not."""
        try:
            if not self._is_streamed:
                self.whole = msgspec.json.encode(await self._answer.whole())
                return
            async with aclosing(self._answer.chunks()) as chunks:
                async for chunk in chunks:
                    log.append(event(chunk))
        except (ApiError, EngineError) as error:
            told = from_engine(error) if isinstance(error, EngineError) else error
            if log.next:
                log.append(UNNAMED.fail(told))
            raise told from None
