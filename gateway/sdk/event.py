"""What happens in a run, as `agent.stream()` tells it.

In one turn: TurnStarted, then deltas and calls as they come, Replied; then ToolStarted and ToolFinished of each call.
The tools of a turn run side by side. The last event of a run is RunEnded; a run that stops otherwise raises a `Stop`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from espalier.gateway.sdk.call import Call, ToolResult
from espalier.gateway.sdk.reply import Reply
from espalier.gateway.sdk.run import Run

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The model is asked; turns count from 1."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnRestarted:
    """The server lost the turn before it was acknowledged: what was streamed of it is void, it begins anew."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """The model has begun a call; `index` is its place in the turn, from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the arguments' text of the call at `index`."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallReady:
    """The call at `index` is whole, though the turn may go on."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Replied:
    """The turn is over and acknowledged."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool runs."""

    call: Call


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """What a tool said, or why it said nothing."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class RunEnded(Generic[A]):
    """The answer is there."""

    run: Run[A]


ModelEvent: TypeAlias = TextDelta | ReasoningDelta | CallStarted | ArgumentsDelta | CallReady | TurnRestarted | Replied
Event: TypeAlias = ModelEvent | TurnStarted | ToolStarted | ToolFinished | RunEnded[A]
