"""A whole answer, gathered from its events: what APIs without a stream show."""

from __future__ import annotations

from dataclasses import dataclass, field

from espalier.engine.messages import TokenLogprob
from espalier.gateway.answer_event import (
    AnswerEvent,
    ArgumentsDelta,
    CallBegun,
    CallEnded,
    Finished,
    ReasoningDelta,
    TextDelta,
)


@dataclass(slots=True)
class GatheredCall:
    """A call; `is_complete` False says that the token budget closed it, so that nobody may run it."""

    index: int
    call_id: str
    name: str
    arguments: str = ""
    is_complete: bool = False


@dataclass(slots=True)
class Gathered:
    """What was told so far; `finished` at the end."""

    text: str = ""
    reasoning: str = ""
    calls: list[GatheredCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finished: Finished | None = None

    def add(self, event: AnswerEvent) -> None:
        """Take the next event."""
        match event:
            case TextDelta(text=text, logprobs=logprobs):
                self.text += text
                self.logprobs += logprobs
            case ReasoningDelta(text=text):
                self.reasoning += text
            case CallBegun(index=index, call_id=call_id, name=name):
                self.calls.append(GatheredCall(index, call_id, name))
            case ArgumentsDelta(index=index, text=text):
                self.calls[index].arguments += text
            case CallEnded(index=index):
                self.calls[index].is_complete = True
            case Finished():
                self.finished = event
