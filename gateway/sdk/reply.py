"""What a model answered in one turn. It is journaled before anything is done about it."""

from __future__ import annotations

from msgspec import Struct

from espalier.gateway.sdk.message import CallMade, Message
from espalier.gateway.sdk.usage import Usage


class Reply(Struct, frozen=True, omit_defaults=True):
    """One turn of the model: text, or calls, or both.

    `finish_reason` is "stop", "tool_calls", "length" or "content_filter"; `calls` are complete ones only. `turn_id` and
    `session_id` are the server's, for turns of a session.
    """

    text: str = ""
    calls: tuple[CallMade, ...] = ()
    finish_reason: str = "stop"
    usage: Usage = Usage()
    reasoning: str = ""
    id: str = ""
    model: str = ""
    turn_id: str = ""
    session_id: str = ""

    def message(self) -> Message:
        """The reply as the conversation keeps it."""
        return Message("assistant", self.text or None, self.calls, reasoning_content=self.reasoning or None)
