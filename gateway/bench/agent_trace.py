"""Agents as `espalier bench agents` replays them: how many turns, how long, and what their tools take. All by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Ids = NDArray[np.int32]
SHORTEST_S, LONGEST_S = 0.1, 60.0
SYSTEM_TOKENS = 2000
VOCABULARY = 150_000


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool by name, and the seconds until its result is there; None: the agent never comes back."""

    tool: str
    wait_s: float | None


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """New tokens of the prompt, tokens of the answer, and what happens between this answer and the next turn.

    `subagent` runs at that time, and the agent waits for its last answer instead of a tool.
    """

    new_tokens: Ids
    answer_tokens: Ids
    call: ToolCall
    subagent: Agent | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One conversation from its first turn to its last."""

    name: str
    turns: tuple[AgentTurn, ...]

    @property
    def num_tokens(self) -> int:
        """The length of its context at its end."""
        return sum(len(turn.new_tokens) + len(turn.answer_tokens) for turn in self.turns)


def _clipped(seconds: float) -> float:
    return float(min(max(seconds, SHORTEST_S), LONGEST_S))


def short_tools(rng: Generator) -> ToolCall:
    """Log-normal around 1.5 s: reading files, searching, running a small test."""
    return ToolCall("shell", _clipped(rng.lognormal(np.log(1.5), 0.8)))


def mixed_tools(rng: Generator) -> ToolCall:
    """Three tools that differ by name: two quick ones, and one in four calls a slow one of half a minute."""
    tool, median_s = (("read", 0.3), ("search", 2.0), ("build", 30.0))[rng.choice(3, p=(0.5, 0.25, 0.25))]
    return ToolCall(tool, _clipped(rng.lognormal(np.log(median_s), 0.4)))


def vanishing_agents(rng: Generator) -> ToolCall:
    """One tool from a tenth of a second to a minute, log-uniform, and one call in four that nobody comes back from.

    Leases should lose here: nothing can be learnt of the wait, and much of what they hold is never asked for again.
    """
    if rng.random() < 0.25:
        return ToolCall("web", None)
    return ToolCall("web", _clipped(np.exp(rng.uniform(np.log(SHORTEST_S), np.log(LONGEST_S)))))


Tools = Callable[[Generator], ToolCall]
GAPS: dict[str, Tools] = {"short": short_tools, "mixed": mixed_tools, "vanishing": vanishing_agents}


@dataclass(slots=True)
class AgentMaker:
    """Makes one agent after another. Half of them share a system prompt, the others have another one."""

    rng: Generator
    tools: Tools
    median_turns: float = 43.0
    median_new_tokens: float = 200.0
    median_answer_tokens: float = 60.0
    subagents: float = 0.44
    _count: int = 0
    _systems: list[Ids] = field(default_factory=list)

    def agent(self, *, is_subagent: bool = False) -> Agent:
        """The next one. 44 % of the agents have a subagent at one of their turns, of a fifth of their length."""
        self._count += 1
        name = f"agent {self._count}"
        median = self.median_turns / 5 if is_subagent else self.median_turns
        num_turns = max(2, round(self.rng.lognormal(np.log(median), 0.5)))
        has_subagent = not is_subagent and self.rng.random() < self.subagents
        at = int(self.rng.integers(num_turns - 1)) if has_subagent else -1
        turns = []
        for number in range(num_turns):
            turns.append(self._turn(is_first=number == 0, has_subagent=number == at))
            if turns[-1].call.wait_s is None:
                break
        return Agent(name, tuple(turns))

    def _turn(self, *, is_first: bool, has_subagent: bool) -> AgentTurn:
        new = self._tokens(self.median_new_tokens)
        if is_first:
            new = np.concatenate((self._system(), new))
        subagent = self.agent(is_subagent=True) if has_subagent else None
        call = ToolCall("subagent", 0.0) if subagent is not None else self.tools(self.rng)
        return AgentTurn(new, self._tokens(self.median_answer_tokens), call, subagent)

    def _system(self) -> Ids:
        if not self._systems:
            self._systems = [self._ids(SYSTEM_TOKENS) for _ in range(2)]
        return self._systems[int(self.rng.integers(2))]

    def _tokens(self, median: float) -> Ids:
        return self._ids(int(min(max(4, self.rng.lognormal(np.log(median), 0.7)), 20 * median)))

    def _ids(self, count: int) -> Ids:
        return self.rng.integers(0, VOCABULARY, count, dtype=np.int32)
