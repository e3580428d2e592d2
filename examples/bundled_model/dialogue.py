"""A dialogue: what is said, by whom, and which tools are offered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass(slots=True)
class Dialogue:
    """Messages in the order of the chat API, and the tools that the system message lists.

    An assistant's message that is measured has `kind` (what it shows) and `cites` (what its text must hold) beside the
    API's fields; the chat template reads neither.
    """

    messages: list[Message] = field(default_factory=list)
    tools: list[Message] = field(default_factory=list)

    def say(self, role: str, content: str, **more: Any) -> Dialogue:
        """Add a message."""
        self.messages.append({"role": role, "content": content, **more})
        return self

    def turn(self, question: str, answer: str, reasoning: str | None = None, **more: Any) -> Dialogue:
        """Add a question and its answer."""
        self.say("user", question)
        return self.say("assistant", answer, **({"reasoning_content": reasoning} if reasoning else {}), **more)
