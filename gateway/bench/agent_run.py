"""Replays agents over the real scheduler, tree and leases in simulated time; only the model's steps are a formula.

A closed loop: as many agents at once as make the working set, each sends a turn, waits for its answer and then for its
tool; one that ends, or never comes back, is followed by a new one. At the start they are under way.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from espalier.engine.messages import Generate, Hold, SamplingParams
from espalier.engine.scheduler import Limits, Scheduler, Work
from espalier.engine.sequence import Sequence
from espalier.gateway.bench.agent_trace import Agent, AgentMaker, AgentTurn, Ids
from espalier.radix import RecomputeCost
from espalier.sessions.wait import Waits

TENANT = "0"
MANY_TURNS = 150
"""Agents with more turns than this are found no more often than those that have as many."""


@dataclass(frozen=True, slots=True)
class StepModel:
    """Seconds of a step: a fixed part, each prompt token and all before it, each decode token."""

    fixed_s: float
    prefill: RecomputeCost
    decode_s: float

    def seconds(self, plan: list[Work]) -> float:
        """What computing a plan takes."""
        total = self.fixed_s
        for work in plan:
            is_decode = work.begin >= work.sequence.prompt_len
            total += self.decode_s if is_decode else self.prefill.seconds(work.begin, work.end)
        return total


@dataclass(slots=True)
class Figures:
    """What a replay showed; times in simulated seconds."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0
    turns: int = 0
    seconds: float = 0.0
    first_token_s: list[float] = field(default_factory=list)
    working_set: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """An agent on its way: its context so far, the turn it is at, and who waits for its end."""

    agent: Agent
    waits_for_it: Conversation | None = None
    context: Ids = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    at: int = 0
    asked_s: float = 0.0
    answered: int = 0
    called_s: float = 0.0

    @property
    def turn(self) -> AgentTurn:
        """The turn that is asked or answered now."""
        return self.agent.turns[self.at]


class Replay:
    """One run. `settle_s` are left out of the figures."""

    def __init__(
        self, maker: AgentMaker, num_agents: int, limits: Limits, model: StepModel, *, settle_s: float
    ) -> None:
        self._maker, self._model, self._settle_s = maker, model, settle_s
        self._scheduler = Scheduler(limits)
        self._scheduler.tips.cost = model.prefill
        self._waits = Waits()
        self._now = 0.0
        self._ticket = count()
        self._events: list[tuple[float, int, Conversation]] = []
        self._asking: dict[str, tuple[Conversation, Sequence]] = {}
        self._alive: dict[str, Conversation] = {}
        self.figures = Figures()
        for number in range(num_agents):
            self._begin(self._under_way(), at_s=number * 0.2)

    def _under_way(self) -> Conversation:
        """An agent at any of its turns, as one finds them: the longer ones more often."""
        rng = self._maker.rng
        while True:
            agent = self._maker.agent()
            if rng.random() * MANY_TURNS < len(agent.turns):
                break
        at = int(rng.integers(len(agent.turns)))
        parts = [part for turn in agent.turns[:at] for part in (turn.new_tokens, turn.answer_tokens)]
        conversation = Conversation(agent, at=at)
        conversation.context = np.concatenate([conversation.context, *parts])
        return conversation

    def run(self, until_s: float) -> Figures:
        """Replay up to a time."""
        while self._now < until_s:
            while self._events and self._events[0][0] <= self._now:
                self._ask(heapq.heappop(self._events)[2])
            if self._scheduler.is_idle():
                self._now = self._events[0][0]
                continue
            self._step()
        self.figures.seconds = self._now - self._settle_s
        return self.figures

    def _step(self) -> None:
        plan = self._scheduler.schedule(self._now)
        self._now += self._model.seconds(plan)
        self._scheduler.advance(plan)
        for work in plan:
            if work.wants_logits:
                self._answer(*self._asking[work.sequence.request_id])
        if self._is_counted and len(self.figures.working_set) < self._now - self._settle_s:
            self.figures.working_set.append(sum(len(one.context) for one in self._alive.values()))

    @property
    def _is_counted(self) -> bool:
        return self._now >= self._settle_s

    def _begin(self, conversation: Conversation, at_s: float) -> None:
        self._alive[conversation.agent.name] = conversation
        heapq.heappush(self._events, (at_s, next(self._ticket), conversation))

    def _ask(self, conversation: Conversation) -> None:
        if conversation.called_s:
            call = conversation.agent.turns[conversation.at - 1].call
            self._waits.observe(TENANT, [call.tool], self._now - conversation.called_s)
        turn = conversation.turn
        conversation.context = np.concatenate((conversation.context, turn.new_tokens))
        conversation.asked_s, conversation.answered = self._now, 0
        name = f"{conversation.agent.name}, turn {conversation.at}"
        params = SamplingParams(max_tokens=len(turn.answer_tokens))
        context = conversation.context.tolist()
        request = Generate(name, context, params, tenant=TENANT, session=conversation.agent.name)
        max_len = len(conversation.context) + len(turn.answer_tokens)
        sequence = Sequence(request, max_len=max_len, seed=0, arrival=0, now_s=self._now)
        self._asking[name] = (conversation, sequence)
        self._scheduler.add(sequence)

    def _answer(self, conversation: Conversation, sequence: Sequence) -> None:
        """One token of an answer."""
        turn = conversation.turn
        sequence.append(int(turn.answer_tokens[conversation.answered]))
        if self._is_counted:
            self.figures.answer_tokens += 1
            if not conversation.answered and conversation.asked_s >= self._settle_s:
                self.figures.first_token_s.append(self._now - conversation.asked_s)
                self.figures.cached_tokens += sequence.cached_tokens
                self.figures.prompt_tokens += sequence.prompt_len
        conversation.answered += 1
        if sequence.length == sequence.max_len:
            self._scheduler.finish(sequence)
            del self._asking[sequence.request_id]
            self._end_turn(conversation, turn)

    def _end_turn(self, conversation: Conversation, turn: AgentTurn) -> None:
        """The answer is there: its tool runs, or its subagent, or it was the last."""
        self.figures.turns += self._is_counted
        conversation.context = np.concatenate((conversation.context, turn.answer_tokens))
        conversation.at, conversation.called_s = conversation.at + 1, self._now
        session = conversation.agent.name
        is_last = conversation.at == len(conversation.agent.turns)
        if is_last and turn.call.wait_s is not None:
            self._scheduler.tips.drop(session)
        else:
            quantiles = self._waits.quantiles(TENANT, [turn.call.tool])
            self._scheduler.tips.hold(Hold(session, quantiles), self._now)
        if is_last:
            self._end(conversation)
        elif turn.subagent is not None:
            self._begin(Conversation(turn.subagent, conversation), at_s=self._now)
        else:
            assert turn.call.wait_s is not None
            heapq.heappush(self._events, (self._now + turn.call.wait_s, next(self._ticket), conversation))

    def _end(self, conversation: Conversation) -> None:
        del self._alive[conversation.agent.name]
        if conversation.waits_for_it is not None:
            heapq.heappush(self._events, (self._now, next(self._ticket), conversation.waits_for_it))
        else:
            self._begin(Conversation(self._maker.agent()), at_s=self._now)
