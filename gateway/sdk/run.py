"""What became of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from espalier.gateway.sdk.message import Message
from espalier.gateway.sdk.usage import Usage

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Run(Generic[A]):
    """A run's answer, in the type that was asked for, and what it took.

    `messages` are this run's own, the prompt first and the answer last: `agent.run([*run.messages, user("...")])` goes
    on without a session. `cost` is None where neither the server nor `Agent(price=...)` knows one.
    """

    answer: A
    id: str
    messages: tuple[Message, ...]
    turns: int
    usage: Usage
    elapsed_s: float

    @property
    def cost(self) -> float | None:
        """What the run cost, in the currency of the price."""
        return self.usage.cost
