"""What an answer is made of while it grows; chat completions, Responses and Messages each show it in their way.

In order: reasoning, text, and calls one after the other, each `CallBegun`, `ArgumentsDelta`s, `CallEnded`; at last one
`Finished`. Text and arguments never change once they are told. A call that was closed by the token budget begins, and
its arguments are told, but it never ends: nobody may run it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from espalier.engine.messages import Missed, Timings, TokenLogprob, Usage

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text, and the log-probabilities of its tokens where they were asked for.

    A token that adds no text yet (half a character) has an empty one with its log-probability.
    """

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool call whose name is complete; `index` counts the calls of this answer from 0."""

    index: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of a call's arguments, which together are one JSON text."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call is complete and may be run; told at the byte that completes it. `arguments` is the whole JSON text."""

    index: int
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer. `stop_reason` is the stop string or token that ended it, None for the model's own end.

    `reason` is "tool_calls" if calls ended and the answer by itself. `missed` says where the prompt was not warm.
    """

    reason: FinishReason
    usage: Usage
    stop_reason: str | int | None = None
    closed_by_budget: bool = False
    timings: Timings | None = None
    missed: Missed | None = None


AnswerEvent: TypeAlias = TextDelta | ReasoningDelta | CallBegun | ArgumentsDelta | CallEnded | Finished
